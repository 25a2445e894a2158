package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is a store with a relay and a bus; consumers come and go on it.
type world struct {
	*testing.T
	store *sqlite.Store
	bus   bus.Subscriber
}

func newWorld(t *testing.T, lossy func(bus.Publisher) bus.Publisher) *world {
	t.Helper()
	return newWorldIn(t, filepath.Join(t.TempDir(), "events.db"), lossy)
}

// newWorldIn returns a world over a file, or in memory without one.
func newWorldIn(t *testing.T, path string, lossy func(bus.Publisher) bus.Publisher) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, CorrelationIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	road := channel.New()
	var publisher bus.Publisher = road
	if lossy != nil {
		publisher = lossy(road)
	}
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	tail := relay.New(relay.Options{Log: store, Publisher: publisher})
	go func() { done <- tail.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, road.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &world{t, store, road}
}

// append stores one command's events and returns them as a book.
func (w *world) append(key book.Key, next uint32, types ...string) *pb.EventBook {
	w.Helper()
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Next: next, CorrelationID: fmt.Sprintf("%s-%d", key.Domain, next)}
	for _, name := range types {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: name, CreatedAt: time.Unix(1, 0)})
	}
	if _, err := w.store.Append(w.Context(), request); err != nil {
		w.Fatal(err)
	}
	stored, err := w.store.ByCommand(w.Context(), request.CommandID)
	if err != nil {
		w.Fatal(err)
	}
	return eventstore.Book(stored)
}

// component records what it is called with.
type component struct {
	fail func(events *pb.EventBook) error // nil for a component that never fails

	mu    sync.Mutex
	calls []string
	told  chan struct{} // gets a token for each call
}

func newComponent(fail func(*pb.EventBook) error) *component {
	return &component{fail: fail, told: make(chan struct{}, 100_000)}
}

func (c *component) handle(_ context.Context, events *pb.EventBook) (string, error) {
	name := fmt.Sprintf("%s/%x %d-%d", events.Cover.Domain, events.Cover.Root.Value[15], book.First(events), book.Last(events))
	c.mu.Lock()
	c.calls = append(c.calls, name)
	c.mu.Unlock()
	defer func() { c.told <- struct{}{} }()
	if c.fail != nil {
		if err := c.fail(events); err != nil {
			return "", err
		}
	}
	return "made of " + name, nil
}

func (c *component) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// wait returns when the component has been called n more times.
func (c *component) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-c.told:
		case <-time.After(time.Minute):
			t.Fatalf("no more calls came; so far: %q", c.seen())
		}
	}
}

func (w *world) options(c *component, domains ...string) delivery.Options[string] {
	return delivery.Options[string]{
		Name: "test", Domains: domains, Handle: c.handle, Store: w.store, Bus: w.bus, Query: queries(w.store),
		FirstDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond, Checkpoint: time.Millisecond,
		Retryable: func(err error) bool { return errors.Is(err, errPassing) },
		Absent:    func(err error) bool { return errors.Is(err, errAbsent) },
	}
}

// run starts a consumer and returns how to stop it in order.
func (w *world) run(options delivery.Options[string]) (*delivery.Consumer[string], func()) {
	w.Helper()
	consumer := delivery.New(options)
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the consumer ended with %v", err)
		}
	})
	w.Cleanup(stop)
	return consumer, stop
}

// until waits until a condition holds that sends no signal.
func (w *world) until(what string, condition func() bool) {
	w.Helper()
	limit := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-limit:
			w.Fatalf("waited in vain until %s", what)
		}
	}
}

func (w *world) recorded() uint64 {
	w.Helper()
	positions, err := w.store.Positions(w.Context())
	if err != nil || len(positions) != 1 {
		w.Fatalf("positions: %v, %v", positions, err)
	}
	return positions[0].Position
}

// queries connects to a query role over the store.
func queries(store *sqlite.Store) pb.EventQueryClient {
	memory := transport.NewMemory()
	pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: store}))
	return pb.NewEventQueryClient(memory)
}

var (
	errPassing = errors.New("will pass")
	errAbsent  = errors.New("nobody there")
	errPoison  = errors.New("cannot be handled")
)

func key(domain string, n byte) book.Key {
	return book.Key{Domain: domain, Root: uuid.UUID{15: n}}
}

func TestEveryWantedEventArrivesInTheOrderOfItsAggregate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(nil)
	w.append(key("order", 1), 0, "A")
	_, stop := w.run(w.options(c, "order"))
	w.append(key("customer", 1), 0, "X")
	for n := uint32(1); n < 50; n += 2 {
		w.append(key("order", 1), n, "B", "C")
	}
	c.wait(t, 26)
	stop()
	want := []string{"order/1 0-0"}
	for n := 1; n < 50; n += 2 {
		want = append(want, fmt.Sprintf("order/1 %d-%d", n, n+1))
	}
	if diff := cmp.Diff(want, c.seen()); diff != "" {
		t.Error(diff)
	}
	if got := w.recorded(); got != w.store.Head() {
		t.Errorf("recorded %d, the log ends at %d", got, w.store.Head())
	}
}

// losing drops two messages of three on their way to the bus, but not the last
// of those it is given, as a bus does that overflows.
type losing struct{ bus.Publisher }

func (l losing) Publish(ctx context.Context, messages []bus.Message) error {
	var kept []bus.Message
	for i, message := range messages {
		if message.Book.Position%3 == 0 || i == len(messages)-1 {
			kept = append(kept, message)
		}
	}
	return l.Publisher.Publish(ctx, kept)
}

// doubling sends everything twice, and the older of two after the newer.
type doubling struct{ bus.Publisher }

func (d doubling) Publish(ctx context.Context, messages []bus.Message) error {
	backwards := slices.Clone(messages)
	slices.Reverse(backwards)
	return errors.Join(d.Publisher.Publish(ctx, messages), d.Publisher.Publish(ctx, backwards), d.Publisher.Publish(ctx, messages))
}

func TestABadBusCostsNothing(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(bus.Publisher) bus.Publisher{
		"losing":   func(p bus.Publisher) bus.Publisher { return losing{p} },
		"doubling": func(p bus.Publisher) bus.Publisher { return doubling{p} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bad)
			c := newComponent(nil)
			_, stop := w.run(w.options(c))
			var want []string
			for n := range uint32(100) {
				for root := range byte(3) {
					w.append(key("order", root), n, "A")
					want = append(want, fmt.Sprintf("order/%x %d-%d", root, n, n))
				}
			}
			c.wait(t, len(want))
			stop()
			if diff := cmp.Diff(want, c.seen(), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Error(diff)
			}
			for root := range byte(3) {
				checkOrder(t, c.seen(), root)
			}
		})
	}
}

func checkOrder(t *testing.T, calls []string, root byte) {
	t.Helper()
	next := 0
	for _, call := range calls {
		var n, last int
		if scanned, _ := fmt.Sscanf(call, fmt.Sprintf("order/%x %%d-%%d", root), &n, &last); scanned == 2 {
			if n != next {
				t.Fatalf("aggregate %d: number %d came when %d was next", root, n, next)
			}
			next = last + 1
		}
	}
}

func TestAfterARestartDeliveryGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := newComponent(nil)
	_, stop := w.run(w.options(first))
	w.append(key("order", 1), 0, "A")
	first.wait(t, 1)
	stop()
	w.append(key("order", 1), 1, "B")
	second := newComponent(nil)
	_, stop = w.run(w.options(second))
	w.append(key("order", 1), 2, "C")
	second.wait(t, 2)
	stop()
	if diff := cmp.Diff([]string{"order/1 1-1", "order/1 2-2"}, second.seen()); diff != "" {
		t.Error(diff)
	}
}

func TestACallThatTheStopInterruptsComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	entered := make(chan struct{})
	options := w.options(newComponent(nil))
	options.Grace = time.Millisecond
	options.Handle = func(ctx context.Context, _ *pb.EventBook) (string, error) {
		close(entered)
		<-ctx.Done()
		return "", ctx.Err()
	}
	_, stop := w.run(options)
	w.append(key("order", 1), 0, "A")
	<-entered
	stop()
	again := newComponent(nil)
	_, stop = w.run(w.options(again))
	again.wait(t, 1)
	stop()
	if diff := cmp.Diff([]string{"order/1 0-0"}, again.seen()); diff != "" {
		t.Error(diff)
	}
}

func TestPoisonStopsItsOwnAggregateOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(func(events *pb.EventBook) error {
		if events.Pages[0].Event.TypeUrl == "Poison" {
			return errPoison
		}
		return nil
	})
	_, stop := w.run(w.options(c))
	w.append(key("order", 1), 0, "Poison")
	w.append(key("order", 1), 1, "A")
	w.append(key("order", 2), 0, "A")
	c.wait(t, 2)
	stop()
	if diff := cmp.Diff([]string{"order/1 0-0", "order/2 0-0"}, c.seen(), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	want := []eventstore.Parked{
		{Subscription: "test", Position: 1, Key: key("order", 1), Attempts: 1, Reason: errPoison.Error(), State: eventstore.StateParked},
		{Subscription: "test", Position: 2, Key: key("order", 1), Sequence: 1, Reason: "waits behind an earlier event of the same aggregate", State: eventstore.StateParked},
	}
	parked, err := w.store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "test", States: []eventstore.State{eventstore.StateParked}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, parked, cmpopts.IgnoreFields(eventstore.Parked{}, "FirstAt", "LastAt")); diff != "" {
		t.Error(diff)
	}
	if got := w.recorded(); got != 3 {
		t.Errorf("recorded %d, want 3", got)
	}

	_, stop = w.run(w.options(c))
	w.append(key("order", 1), 2, "A")
	w.append(key("order", 2), 1, "A")
	c.wait(t, 1)
	stop()
	if got := c.seen(); got[len(got)-1] != "order/2 1-1" || len(got) != 3 {
		t.Errorf("after a restart the blocked aggregate was called: %q", got)
	}
}

func TestAPassingFailureIsTriedAgainUntilTheAttemptsAreSpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	failures := map[string]int{"Twice": 2, "Always": 100}
	var mu sync.Mutex
	c := newComponent(func(events *pb.EventBook) error {
		mu.Lock()
		defer mu.Unlock()
		name := events.Pages[0].Event.TypeUrl
		if failures[name]--; failures[name] >= 0 {
			return fmt.Errorf("%s: %w", name, errPassing)
		}
		return nil
	})
	options := w.options(c)
	options.Attempts = 3
	_, stop := w.run(options)
	w.append(key("order", 1), 0, "Twice")
	w.append(key("order", 2), 0, "Always")
	c.wait(t, 6)
	stop()
	parked, err := w.store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "test", States: []eventstore.State{eventstore.StateParked}, Limit: 10})
	if err != nil || len(parked) != 1 || parked[0].Key != key("order", 2) || parked[0].Attempts != 3 {
		t.Errorf("parked: %+v, %v", parked, err)
	}
}

func TestAnAbsentComponentFillsNoDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	left := 20
	c := newComponent(func(*pb.EventBook) error {
		if left--; left >= 0 {
			return errAbsent
		}
		return nil
	})
	options := w.options(c)
	options.Attempts = 1
	_, stop := w.run(options)
	w.append(key("order", 1), 0, "A")
	c.wait(t, 21)
	stop()
	if parked, err := w.store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "test", States: []eventstore.State{eventstore.StateParked}, Limit: 10}); err != nil || len(parked) != 0 {
		t.Errorf("parked: %+v, %v", parked, err)
	}
}

func TestADeadLetterThatDoesNotBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(func(events *pb.EventBook) error {
		if book.First(events) == 0 {
			return &delivery.Park{Subscription: "test/aside", Reason: "look at this"}
		}
		return nil
	})
	_, stop := w.run(w.options(c))
	w.append(key("order", 1), 0, "A")
	w.append(key("order", 1), 1, "B")
	c.wait(t, 2)
	stop()
	parked, err := w.store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "test/aside", States: []eventstore.State{eventstore.StateParked}, Limit: 10})
	if err != nil || len(parked) != 1 || parked[0].Reason != "look at this" || parked[0].Position != 1 {
		t.Errorf("parked: %+v, %v", parked, err)
	}
}

func TestADeadLetterOfEventsHandedOverDirectly(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	w := newWorld(t, func(road bus.Publisher) bus.Publisher { return gate{road, open} })
	c := newComponent(func(events *pb.EventBook) error {
		if book.First(events) == 0 {
			return &delivery.Park{Subscription: "test/aside", Reason: "look at this"}
		}
		return nil
	})
	w.append(key("order", 9), 0, "A")
	consumer, stop := w.run(w.options(c, "order", "stock"))
	c.wait(t, 1) // from now on the consumer waits for the bus
	if _, err := consumer.Deliver(t.Context(), w.append(key("stock", 1), 0, "A")); err != nil {
		t.Errorf("a dead letter that does not block is no failure: %v", err)
	}
	w.append(key("stock", 1), 1, "B")
	close(open)
	c.wait(t, 2)
	stop()
	parked, err := w.store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "test/aside", States: []eventstore.State{eventstore.StateParked}, Limit: 10})
	if err != nil || len(parked) != 2 || parked[1].Key != key("stock", 1) || parked[1].Attempts != 1 || parked[1].Position != 2 {
		t.Errorf("parked: %+v, %v", parked, err)
	}
}

// gate is a bus that delivers nothing before it is open.
type gate struct {
	bus.Publisher
	open <-chan struct{}
}

func (g gate) Publish(ctx context.Context, messages []bus.Message) error {
	select {
	case <-g.open:
		return g.Publisher.Publish(ctx, messages)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestADirectHandOverFillsTheGapBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(bus.Publisher) bus.Publisher { return silent{} })
	c := newComponent(nil)
	w.append(key("order", 9), 0, "A")
	consumer, _ := w.run(w.options(c))
	c.wait(t, 1) // from now on the consumer waits for the bus
	w.append(key("order", 1), 0, "A", "B")
	w.append(key("order", 1), 2, "C")
	last := w.append(key("order", 1), 3, "D")
	value, err := consumer.Deliver(t.Context(), last)
	if err != nil || value != "made of order/1 3-3" {
		t.Fatalf("%q, %v", value, err)
	}
	// As they were stored, so that a saga's commands are recognised later.
	if diff := cmp.Diff([]string{"order/9 0-0", "order/1 0-1", "order/1 2-2", "order/1 3-3"}, c.seen()); diff != "" {
		t.Error(diff)
	}
	again, err := consumer.Deliver(t.Context(), last)
	if err != nil || again != value || len(c.seen()) != 4 {
		t.Errorf("a repeated hand-over: %q, %v, calls %q", again, err, c.seen())
	}
}

// silent is a bus that takes everything and delivers nothing.
type silent struct{}

func (silent) Publish(context.Context, []bus.Message) error { return nil }

func TestWhatWasHandedOverDirectlyIsNotHandledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(nil)
	consumer, stop := w.run(w.options(c))
	for n := range uint32(50) {
		if _, err := consumer.Deliver(t.Context(), w.append(key("order", 1), n, "A")); err != nil {
			t.Fatal(err)
		}
	}
	w.append(key("order", 2), 0, "A")
	c.wait(t, 51)
	stop()
	if n := len(c.seen()); n != 51 {
		t.Errorf("%d calls for 51 books", n)
	}
}

func TestADirectHandOverToABlockedAggregateSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(func(*pb.EventBook) error { return errPoison })
	consumer, _ := w.run(w.options(c))
	poisoned := w.append(key("order", 1), 0, "A")
	later := w.append(key("order", 1), 1, "B")
	// The event's place in the lane is behind the bus or before it; the caller
	// is told the same.
	if _, err := consumer.Deliver(t.Context(), poisoned); !errors.Is(err, errPoison) {
		t.Errorf("the poisonous event: %v", err)
	}
	var blocked *delivery.Blocked
	for blocked == nil {
		// The call is over a moment before the aggregate is blocked.
		if _, err := consumer.Deliver(t.Context(), later); !errors.As(err, &blocked) && !errors.Is(err, errPoison) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := consumer.Deliver(t.Context(), poisoned); !errors.Is(err, errPoison) {
		t.Errorf("the poisonous event again: %v", err)
	}
}

func TestADirectHandOverOfEventsThatAreNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	consumer, _ := w.run(w.options(newComponent(nil)))
	events := w.append(key("order", 1), 0, "A")
	events.Pages[0].Sequence = &pb.EventPage_Num{Num: 7}
	_, err := consumer.Deliver(t.Context(), events)
	var invalid *book.Invalid
	if !errors.As(err, &invalid) || invalid.Field != "pages[0].num" {
		t.Errorf("got %v", err)
	}
}

// doubtful is a store that has recorded a position when whoever asked for it
// gives up waiting for the answer.
type doubtful struct {
	*sqlite.Store
	entered chan struct{} // gets the first Advance
	answer  chan struct{} // closed when it may be answered
}

func (d doubtful) Advance(ctx context.Context, advance eventstore.Advance) error {
	select {
	case d.entered <- struct{}{}:
	default:
		return d.Store.Advance(ctx, advance)
	}
	if err := d.Store.Advance(context.WithoutCancel(ctx), advance); err != nil {
		return err
	}
	select {
	case <-d.answer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAStopWaitsForThePositionThatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newComponent(nil)
	store := doubtful{w.store, make(chan struct{}, 1), make(chan struct{})}
	options := w.options(c)
	options.Store = store
	_, stop := w.run(options)
	w.append(key("order", 1), 0, "A")
	c.wait(t, 1)
	w.until("the position is being recorded", func() bool { return len(store.entered) == 1 })
	w.append(key("order", 1), 1, "B")
	c.wait(t, 1)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	select {
	case <-stopped:
		t.Error("the consumer did not wait for the store's answer")
	case <-time.After(50 * time.Millisecond):
	}
	close(store.answer)
	<-stopped
	if got := w.recorded(); got != w.store.Head() {
		t.Errorf("recorded %d, the log ends at %d", got, w.store.Head())
	}
}
