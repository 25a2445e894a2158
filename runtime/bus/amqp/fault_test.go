package amqp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	raw "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/servertest"
)

// world is a bus under load with two members of one component and one that
// subscribes without a name.
type world struct {
	load      *load
	consumers []*consumer
}

func newWorld(t *testing.T, options amqp.Options) *world {
	t.Helper()
	options = names(options)
	l := &log{}
	w := &world{}
	for _, name := range []string{"projector/one", "projector/one", ""} {
		w.consumers = append(w.consumers, startConsumer(t, l, open(t, options), name, 0))
	}
	w.load = startLoad(t, l, open(t, options))
	w.load.more(t)
	return w
}

// complete checks that everybody sees all there is.
func (w *world) complete(t *testing.T) {
	t.Helper()
	w.load.more(t)
	last := w.load.end()
	for _, c := range w.consumers {
		c.await(t, last)
		c.end(t)
	}
}

func TestABrokerThatRestartsUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit()
	t.Cleanup(own.Close)
	w := newWorld(t, amqp.Options{URL: own.Use(t)})
	for _, end := range []func() error{own.Stop, own.Kill} {
		check(t, end())
		check(t, own.Restart())
		w.load.more(t)
	}
	w.complete(t)
}

func TestABrokerThatLosesItsDataLosesNothing(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit()
	t.Cleanup(own.Close)
	w := newWorld(t, amqp.Options{URL: own.Use(t), QueueType: amqp.QueueClassic})
	check(t, own.Lose())
	check(t, own.Restart())
	w.complete(t)
}

func TestAConnectionThatIsCutAgainAndAgainLosesNothing(t *testing.T) {
	t.Parallel()
	shared.Use(t)
	line := newWire(t, shared.Address())
	w := newWorld(t, amqp.Options{URL: line.url()})
	for range 5 {
		line.set(true)
		line.set(false)
		w.load.more(t)
	}
	w.complete(t)
}

func TestConfirmedMessagesSurviveTheEndOfTheBroker(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit()
	t.Cleanup(own.Close)
	for kind, end := range map[string]func() error{
		amqp.QueueClassic: own.Kill,
		// RabbitMQ 3.10 does not find a leader for a quorum queue if it is killed
		// within seconds after the queue was declared.
		amqp.QueueQuorum: own.Stop,
	} {
		options := names(amqp.Options{URL: own.Use(t), QueueType: kind})
		b := open(t, options)
		check(t, subscribe(t, b, "projector/one").Close())
		l := &log{}
		for range 300 {
			publish(t, b, l.append())
		}
		check(t, end())
		check(t, own.Restart())
		again := subscribe(t, b, "projector/one")
		for position := uint64(1); position <= 300; position++ {
			if got := next(t, again); got.Book.Position != position {
				t.Fatalf("%s: got position %d, want %d", kind, got.Book.Position, position)
			}
		}
	}
}

func TestAnOverflowingQueueDropsItsOldestAndTheLogRepairsIt(t *testing.T) {
	t.Parallel()
	options := names(amqp.Options{URL: shared.Use(t), MaxLength: 20, Prefetch: 5})
	b := open(t, options)
	check(t, subscribe(t, b, "projector/one").Close())
	l := &log{}
	for range 500 {
		publish(t, b, l.append())
	}
	count, err := client(t, options.URL).QueueDeclarePassive(options.QueuePrefix+"projector-one", true, false, false, false, nil)
	if err != nil || count.Messages > 25 {
		t.Errorf("the queue keeps %d messages, %v", count.Messages, err)
	}
	if left, err := client(t, options.URL).QueueDeclarePassive(options.QueuePrefix+"angzarr.dead-letters", true, false, false, false, nil); err != nil || left.Messages > 0 {
		t.Errorf("dropped messages have become %d dead letters, %v", left.Messages, err)
	}
	c := startConsumer(t, l, b, "projector/one", 0)
	publish(t, b, l.append())
	c.await(t, 501)
	c.end(t)
}

func TestWrongCredentialsAreSaidWithoutThePassword(t *testing.T) {
	t.Parallel()
	shared.Use(t)
	said := newRecord()
	b, err := amqp.Open(amqp.Options{URL: "amqp://guest:s3cr3t@" + shared.Address() + "/", Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	said.await(t, "check the user and the password in the URL of the bus")
	err = b.Publish(t.Context(), []bus.Message{(&log{}).append()})
	if err == nil || !strings.Contains(err.Error(), "check the user and the password") {
		t.Errorf("publish: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, subscribed := b.Subscribe(ctx, "projector/one"); !errors.Is(subscribed, context.DeadlineExceeded) {
		t.Errorf("subscribe: %v", subscribed)
	}
	check(t, b.Close())
	if all := said.String() + err.Error(); strings.Contains(all, "s3cr3t") {
		t.Errorf("the password is told:\n%s", all)
	}
	if n := strings.Count(said.String(), "\n"); n > 2 {
		t.Errorf("%d lines of log:\n%s", n, said)
	}
}

func TestMistakesInOptionsAreErrorsWithoutTheSecret(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]amqp.Options{
		"no URL":         {},
		"not a URL":      {URL: "amqp://guest:s3cr3t@ho st/"},
		"bad escape":     {URL: "amqp://guest:s3cr3t%zz@host/"},
		"bad port":       {URL: "amqp://guest:s3cr3t@host:port/"},
		"slash":          {URL: "amqp://guest:s3cr3t/@host/"},
		"control":        {URL: "amqp://guest:s3cr3t\x7f@host/"},
		"other scheme":   {URL: "http://guest:s3cr3t@host/"},
		"other queues":   {URL: "amqp://guest:s3cr3t@host/", QueueType: "stream"},
		"prefetch":       {URL: "amqp://guest:s3cr3t@host/", Prefetch: 70_000},
		"length":         {URL: "amqp://guest:s3cr3t@host/", MaxLength: -1},
		"expiry":         {URL: "amqp://guest:s3cr3t@host/", Expires: -1},
		"auth mechanism": {URL: "amqp://guest:s3cr3t@host/?auth_mechanism=s3cr3t"},
	} {
		b, err := amqp.Open(options)
		if err == nil {
			t.Errorf("%s: no error", name)
			check(t, b.Close())
			continue
		}
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: the secret is told: %v", name, err)
		}
	}
}

func TestAnExistingQueueWithOtherSettingsIsSaidAndWaitedFor(t *testing.T) {
	t.Parallel()
	said := newRecord()
	options := names(amqp.Options{URL: shared.Use(t), Logger: said.logger()})
	person := client(t, options.URL)
	if _, err := person.QueueDeclare(options.QueuePrefix+"projector-one", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	b := open(t, options)
	awaitUp(t, b, true)
	subscribed := make(chan bus.Subscription, 1)
	go func() {
		s, err := b.Subscribe(t.Context(), "projector/one")
		check(t, err)
		subscribed <- s
	}()
	said.await(t, "PRECONDITION_FAILED")
	said.await(t, "delete it from the broker and it will be made anew")
	awaitUp(t, b, false)
	if _, err := person.QueueDelete(options.QueuePrefix+"projector-one", false, false, false); err != nil {
		t.Fatal(err)
	}
	s := <-subscribed
	awaitUp(t, b, true)
	publish(t, b, (&log{}).append())
	next(t, s)
}

func TestAnExistingExchangeOfAnotherTypeIsSaidAndWaitedFor(t *testing.T) {
	t.Parallel()
	said := newRecord()
	options := names(amqp.Options{URL: shared.Use(t), Logger: said.logger()})
	person := client(t, options.URL)
	check(t, person.ExchangeDeclare(options.Exchange, "fanout", true, false, false, false, nil))
	b := open(t, options)
	said.await(t, "declare exchange "+options.Exchange)
	said.await(t, "configure the same ones, or delete it")
	check(t, person.ExchangeDelete(options.Exchange, false, false))
	awaitUp(t, b, true)
}

func TestAQueueDeletedByAPersonIsMadeAgain(t *testing.T) {
	t.Parallel()
	options := names(amqp.Options{URL: shared.Use(t)})
	b := open(t, options)
	l := &log{}
	c := startConsumer(t, l, b, "projector/one", 0)
	o := startLoad(t, l, b)
	person := client(t, options.URL)
	for range 3 {
		o.more(t)
		if _, err := person.QueueDelete(options.QueuePrefix+"projector-one", false, false, false); err != nil {
			t.Fatal(err)
		}
	}
	o.more(t)
	c.await(t, o.end())
	c.end(t)
}

func TestMembersOfAComponentTakeQueuesOfTheirOwnAndTheFirstFreeOneAgain(t *testing.T) {
	t.Parallel()
	options := names(amqp.Options{URL: shared.Use(t), Expires: time.Hour})
	one, two := open(t, options), open(t, options)
	first, second := subscribe(t, one, "projector/receipt"), subscribe(t, two, "projector/receipt")
	person := client(t, options.URL)
	for name, expiry := range map[string]raw.Table{"projector-receipt": nil, "projector-receipt.2": {"x-expires": int64(3_600_000)}} {
		arguments := raw.Table{"x-queue-type": "quorum", "x-max-length": int64(100_000), "x-overflow": "drop-head"}
		for key, value := range expiry {
			arguments[key] = value
		}
		if q, err := person.QueueDeclare(options.QueuePrefix+name, true, false, false, false, arguments); err != nil || q.Consumers != 1 {
			t.Errorf("%s has %d consumers, %v", name, q.Consumers, err)
		}
	}
	check(t, one.Close())
	if _, err := first.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("next of a closed bus: %v", err)
	}
	three := open(t, options)
	third := subscribe(t, three, "projector/receipt")
	if q, err := person.QueueDeclarePassive(options.QueuePrefix+"projector-receipt", true, false, false, false, nil); err != nil || q.Consumers != 1 {
		t.Errorf("the first queue has %d consumers, %v", q.Consumers, err)
	}
	publish(t, two, (&log{}).append())
	for _, s := range []bus.Subscription{second, third} {
		if got := next(t, s); got.Book.Position != 1 {
			t.Errorf("got %v", got)
		}
	}
}

func TestAMessageSaysWhatItIsOnTheWire(t *testing.T) {
	t.Parallel()
	options := names(amqp.Options{URL: shared.Use(t)})
	b := open(t, options)
	awaitUp(t, b, true)
	person := client(t, options.URL)
	q, err := person.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, person.QueueBind(q.Name, "test.*", options.Exchange, false, nil))
	deliveries, err := person.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{}
	l.append()
	message := l.append()
	message.Book.TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	publish(t, b, message)
	got := <-deliveries
	want := raw.Table{
		"position": int64(2), "previous": int64(1), "log_epoch": epoch.String(), "traceparent": message.Book.TraceContext,
	}
	if diff := cmp.Diff(want, got.Headers); diff != "" {
		t.Error(diff)
	}
	texts := []string{got.RoutingKey, got.MessageId, got.ContentType, got.CorrelationId}
	if diff := cmp.Diff([]string{"test.01000000000000000000000000000000", "test/01000000000000000000000000000000/1", "application/protobuf", "2"}, texts); diff != "" {
		t.Error(diff)
	}
	if got.DeliveryMode != raw.Persistent {
		t.Error("the message does not survive a restart")
	}
}

func TestWhatIsNoBookOfThisLogBecomesADeadLetterAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	said := newRecord()
	options := names(amqp.Options{URL: shared.Use(t), Logger: said.logger()})
	b := open(t, options)
	s := subscribe(t, b, "projector/one")
	person := client(t, options.URL)
	ours := raw.Table{"position": int64(1), "previous": int64(0), "log_epoch": epoch.String()}
	for reason, foreign := range map[string]raw.Publishing{
		"it has no header previous":   {Body: []byte("hello")},
		"it has no header  previous":  {Body: []byte("hello again")},
		"header position is a string": {Headers: raw.Table{"position": "1", "previous": int64(0)}},
		"1 after 1":                   {Headers: raw.Table{"position": int64(1), "previous": int64(1), "log_epoch": epoch.String()}},
		"position is -1":              {Headers: raw.Table{"position": int64(-1), "previous": int64(0), "log_epoch": epoch.String()}},
		`log_epoch "another"`:         {Headers: raw.Table{"position": int64(1), "previous": int64(0), "log_epoch": "another"}},
		`the content type is not`:     {Headers: ours, ContentType: "text/plain"},
		"the body is not a book":      {Headers: ours, ContentType: "application/protobuf", Body: []byte{0xff, 0xff, 0xff}},
		"has another position than":   {Headers: ours, ContentType: "application/protobuf"},
		"not one that was stored":     {Headers: ours, ContentType: "application/protobuf", Body: []byte{0xa0, 0x01, 0x01}},
	} {
		foreign.MessageId = reason
		check(t, person.PublishWithContext(t.Context(), options.Exchange, "test.0", false, false, foreign))
	}
	// A message of ours that was published after them.
	l := &log{}
	publish(t, b, l.append())
	if got := next(t, s); got.Book.Position != 1 {
		t.Errorf("got %v", got)
	}
	letters, err := person.Consume(options.QueuePrefix+"angzarr.dead-letters", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		letter := <-letters
		reason, _ := letter.Headers["angzarr-reason"].(string)
		if want := strings.ReplaceAll(letter.MessageId, "  ", " "); !strings.Contains(reason, want) {
			t.Errorf("the reason is %q, want %q", reason, want)
		}
		if letter.Headers["angzarr-queue"] != options.QueuePrefix+"projector-one" || letter.Headers["angzarr-routing-key"] != "test.0" {
			t.Errorf("the letter says %v", letter.Headers)
		}
	}
	if b.Rejected() != 10 {
		t.Errorf("%d rejected", b.Rejected())
	}
	if n := strings.Count(said.String(), "goes to the dead letters"); n != 7 {
		t.Errorf("logged %d times, want once per kind:\n%s", n, said)
	}
}

func TestDeadLettersWhoseQueueWasDeletedAreNotDropped(t *testing.T) {
	t.Parallel()
	options := names(amqp.Options{URL: shared.Use(t)})
	b := open(t, options)
	s := subscribe(t, b, "projector/one")
	person := client(t, options.URL)
	check(t, person.Confirm(false))
	foreign := func() {
		taken, err := person.PublishWithDeferredConfirm(options.Exchange, "", false, false, raw.Publishing{Body: []byte("hello")})
		if err != nil || !taken.Wait() {
			t.Fatal(err)
		}
	}
	l := &log{}
	foreign()
	publish(t, b, l.append())
	next(t, s)
	if _, err := person.QueueDelete(options.QueuePrefix+"angzarr.dead-letters", false, false, false); err != nil {
		t.Fatal(err)
	}
	foreign()
	publish(t, b, l.append())
	for next(t, s).Book.Position != 2 {
		continue // doubles of the first, which the new queue of letters may cause
	}
	if q, err := person.QueueDeclarePassive(options.QueuePrefix+"angzarr.dead-letters", true, false, false, false, nil); err != nil || q.Messages != 1 {
		t.Errorf("%d letters, %v", q.Messages, err)
	}
}

func TestATooLargeBookIsLeftToTheLog(t *testing.T) {
	t.Parallel()
	b := open(t, amqp.Options{})
	l := &log{}
	c := startConsumer(t, l, b, "projector/one", 0)
	large := l.append()
	large.Book.CorrelationId = strings.Repeat("x", 16<<20)
	publish(t, b, large, l.append())
	c.await(t, 2)
	c.end(t)
}

func TestLongNamesTravel(t *testing.T) {
	t.Parallel()
	b := open(t, amqp.Options{})
	s := subscribe(t, b, "projector/one")
	message := (&log{}).append()
	message.Book.Cover.Domain, message.Book.CorrelationId = strings.Repeat("d", 300), strings.Repeat("c", 300)
	publish(t, b, message)
	if got := next(t, s); got.Book.CorrelationId != message.Book.CorrelationId {
		t.Errorf("got %v", got)
	}
	if _, err := b.Subscribe(t.Context(), strings.Repeat("n", 250)); err == nil || !strings.Contains(err.Error(), "give it a shorter name") {
		t.Errorf("subscribe under a long name: %v", err)
	}
}

func TestClosingEndsEverythingThatWaitsForAnAbsentBroker(t *testing.T) {
	t.Parallel()
	b, err := amqp.Open(amqp.Options{URL: "amqp://guest:guest@127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 2)
	go func() {
		_, err := b.Subscribe(t.Context(), "projector/one")
		waiting <- err
	}()
	go func() { waiting <- b.Watch(t.Context(), func(bool) {}) }()
	if err := b.Publish(t.Context(), []bus.Message{(&log{}).append()}); err == nil {
		t.Error("publishing without a broker works")
	}
	check(t, b.Close())
	for range 2 {
		if err := <-waiting; !errors.Is(err, bus.ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestAQueueWithoutALeaderIsLeftForAnother(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit()
	t.Cleanup(own.Close)
	options := names(amqp.Options{URL: own.Use(t)})
	b := open(t, options)
	check(t, subscribe(t, b, "projector/one").Close())
	l := &log{}
	publish(t, b, l.append())
	// RabbitMQ 3.10 forgets whom a quorum queue has elected when it is killed
	// within seconds. Where it does not, this test is about nothing.
	check(t, own.Kill())
	check(t, own.Restart())
	c := startConsumer(t, l, b, "projector/one", 0)
	c.await(t, 1)
	c.end(t)
}

func TestABrokerWithoutRoomHoldsUpPublishersOnly(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit("vm_memory_high_watermark.absolute = 1MB")
	t.Cleanup(own.Close)
	said := newRecord()
	b := open(t, amqp.Options{URL: own.Use(t), Logger: said.logger()})
	awaitUp(t, b, true)
	ctx, cancel := within(t)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- b.Publish(ctx, []bus.Message{(&log{}).append()}) }()
	said.await(t, "the broker takes no messages until it has room again")
	subscribe(t, b, "projector/one")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
}

func TestAFrozenBrokerDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	own := servertest.NewRabbit()
	t.Cleanup(own.Close)
	b := open(t, amqp.Options{URL: own.Use(t)})
	s := subscribe(t, b, "projector/one")
	awaitUp(t, b, true)
	check(t, own.Freeze())
	publishing := make(chan error, 1)
	go func() { publishing <- b.Publish(t.Context(), []bus.Message{(&log{}).append()}) }()
	before := time.Now()
	check(t, s.Close())
	check(t, b.Close())
	if took := time.Since(before); took > time.Minute {
		t.Errorf("closing took %s", took)
	}
	if err := <-publishing; err == nil {
		t.Error("a frozen broker confirmed a message")
	}
	check(t, own.Thaw())
}

func subscribe(t testing.TB, b *amqp.Bus, name string) bus.Subscription {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	s, err := b.Subscribe(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func publish(t testing.TB, b *amqp.Bus, messages ...bus.Message) {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	check(t, b.Publish(ctx, messages))
}

func next(t testing.TB, s bus.Subscription) bus.Message {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	message, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return message
}
