package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/relay"
)

const name = "relay/test"

func openStore(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: ":memory:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// add stores commands of so many events each, every one in an aggregate of its
// own.
func add(t *testing.T, store eventstore.Writer, counts ...int) {
	t.Helper()
	for _, count := range counts {
		command := eventstore.Append{
			CommandID: uuid.New(), Key: book.Key{Domain: "order", Root: uuid.New()}, CorrelationID: "c",
		}
		for i := range count {
			command.Events = append(command.Events, eventstore.NewEvent{
				TypeURL: fmt.Sprintf("examples.Happened%d", i), Payload: []byte("x"), CreatedAt: time.Unix(1, 0),
			})
		}
		if _, err := store.Append(context.Background(), command); err != nil {
			t.Error(err)
			return
		}
	}
}

// inbox is a bus that keeps what it takes.
type inbox struct {
	mu       sync.Mutex
	messages []bus.Message
	more     chan struct{} // closed and replaced when messages come
}

func newInbox() *inbox { return &inbox{more: make(chan struct{})} }

func (b *inbox) Publish(_ context.Context, messages []bus.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, messages...)
	close(b.more)
	b.more = make(chan struct{})
	return nil
}

// until returns what was taken, once it ends at position.
func (b *inbox) until(t *testing.T, position uint64) []bus.Message {
	t.Helper()
	expired := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		messages, more := b.messages, b.more
		b.mu.Unlock()
		if n := len(messages); n > 0 && messages[n-1].Book.Position >= position {
			return messages
		}
		select {
		case <-more:
		case <-expired:
			t.Fatalf("position %d was not published", position)
		}
	}
}

// run starts a relay and returns a function that stops it and returns what Run
// returned.
func run(t *testing.T, r *relay.Relay) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ran })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// forget returns a relay that keeps no place.
func forget(log eventstore.Log, publisher bus.Publisher) *relay.Relay {
	return relay.New(relay.Options{Log: log, Publisher: publisher})
}

// durable returns a relay that keeps its place in the store.
func durable(store interface {
	eventstore.Log
	eventstore.Subscriptions
}, publisher bus.Publisher) *relay.Relay {
	return relay.New(relay.Options{Log: store, Publisher: publisher, Subscription: name, Subscriptions: store})
}

// linked checks that messages follow each other from a position on, without
// holes and doubles.
func linked(t *testing.T, messages []bus.Message, from uint64) {
	t.Helper()
	for _, message := range messages {
		if first := message.Book.Position - uint64(len(message.Book.Pages)) + 1; message.Previous != from || first != from+1 {
			t.Fatalf("after position %d came a book from %d to %d with previous position %d",
				from, first, message.Book.Position, message.Previous)
		}
		from = message.Book.Position
	}
}

func TestPublishesWhatIsAppendedFromNowOnInOrder(t *testing.T) {
	t.Parallel()
	store, taken := openStore(t), newInbox()
	add(t, store, 2, 1)
	r := forget(store, taken)
	add(t, store, 3) // before Run, and not to be lost
	stop := run(t, r)
	taken.until(t, 6)
	add(t, store, 1, 700, 1, 2)
	messages := taken.until(t, 710)
	linked(t, messages, 3)
	var sizes []int
	for _, message := range messages {
		sizes = append(sizes, len(message.Book.Pages))
	}
	if fmt.Sprint(sizes) != "[3 1 700 1 2]" {
		t.Errorf("the books have %v pages", sizes)
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestManyWritersAndSubscribersSeeOneOrder(t *testing.T) {
	t.Parallel()
	store, channels := openStore(t), channel.New()
	const writers, commands, subscribers = 16, 40, 4
	const last = writers * commands * 2
	var work sync.WaitGroup
	for range subscribers {
		subscription, err := channels.Subscribe(t.Context(), "projector/one")
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			var messages []bus.Message
			for position := uint64(0); position < last; {
				message, err := subscription.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				messages, position = append(messages, message), message.Book.Position
			}
			linked(t, messages, 0)
		})
	}
	run(t, forget(store, channels))
	for range writers {
		work.Go(func() {
			for range commands {
				add(t, store, 2)
			}
		})
	}
	work.Wait()
}

func TestFailingBusIsWaitedForAndComplainedOfOnce(t *testing.T) {
	t.Parallel()
	store, taken := openStore(t), newInbox()
	var said bytes.Buffer
	away := &gate{next: taken, failures: 4}
	r := relay.New(relay.Options{Log: store, Publisher: away, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	stop := run(t, r)
	add(t, store, 1, 1, 1)
	linked(t, taken.until(t, 3), 0)
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], "cannot publish") || !strings.Contains(lines[1], "attempts=5") {
		t.Errorf("the log says:\n%s", said.String())
	}
}

// gate is a bus that cannot be reached a number of times.
type gate struct {
	next     bus.Publisher
	failures int
}

func (g *gate) Publish(ctx context.Context, messages []bus.Message) error {
	if g.failures > 0 {
		g.failures--
		return errors.New("connection refused")
	}
	return g.next.Publish(ctx, messages)
}

func TestEverythingArrivesOverABusThatTakesPartsAndFails(t *testing.T) {
	t.Parallel()
	store, taken := openStore(t), newInbox()
	faulty := bustest.NewFaulty(taken, nil, bustest.Faults{Seed: 3, Fail: 0.4})
	run(t, forget(store, faulty))
	for range 30 {
		add(t, store, 1, 2, 1)
	}
	complete(t, taken.until(t, 120), 120)
}

// complete checks that everything was published at least once and that each
// message continues an earlier one.
func complete(t *testing.T, messages []bus.Message, last uint64) {
	t.Helper()
	position := uint64(0)
	for _, message := range messages {
		if message.Previous > position {
			t.Fatalf("the message after position %d came when everything up to %d was there", message.Previous, position)
		}
		position = max(position, message.Book.Position)
	}
	if position != last {
		t.Fatalf("published up to position %d of %d", position, last)
	}
}

func TestDurableRelayGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	store, taken := openStore(t), newInbox()
	add(t, store, 1, 2)
	stop := run(t, durable(store, taken))
	taken.until(t, 3)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expectPosition(t, store, 3)

	add(t, store, 4, 1)
	again := newInbox()
	stop = run(t, durable(store, again))
	linked(t, again.until(t, 8), 3)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expectPosition(t, store, 8)
}

func expectPosition(t *testing.T, store eventstore.Subscriptions, want uint64) {
	t.Helper()
	positions, err := store.Positions(t.Context())
	if err != nil || len(positions) != 1 || positions[0].Name != name || positions[0].Position != want {
		t.Errorf("the positions are %v, %v; expected %s at %d", positions, err, name, want)
	}
}

// observed is a store that tells of every recorded position before it is.
type observed struct {
	*sqlite.Store
	advance func(ctx context.Context, advance eventstore.Advance) error
}

func (s *observed) Advance(ctx context.Context, advance eventstore.Advance) error {
	return s.advance(ctx, advance)
}

func TestPositionIsRecordedWhileTheRelayIsIdle(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	recorded := make(chan uint64, 10)
	s := &observed{store, func(ctx context.Context, advance eventstore.Advance) error {
		err := store.Advance(ctx, advance)
		recorded <- advance.Moves[0].To
		return err
	}}
	run(t, durable(s, newInbox()))
	add(t, store, 1, 1)
	for position := uint64(0); position < 2; {
		position = <-recorded
	}
	expectPosition(t, store, 2)
}

func TestPositionIsRecordedAtMostOncePerPage(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	for range 400 {
		add(t, store, 10)
	}
	var moves []uint64
	s := &observed{store, func(ctx context.Context, advance eventstore.Advance) error {
		moves = append(moves, advance.Moves[0].To-advance.Moves[0].From)
		return store.Advance(ctx, advance)
	}}
	taken := newInbox()
	stop := run(t, durable(s, taken))
	linked(t, taken.until(t, 4000), 0)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(moves) > 8 {
		t.Errorf("4,000 events were recorded in %d steps: %v", len(moves), moves)
	}
}

func TestOneOfTwoRelaysPublishesAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	store, first, second := openStore(t), newInbox(), newInbox()
	stop := run(t, durable(store, first))
	add(t, store, 1)
	first.until(t, 1)
	run(t, durable(store, second))
	add(t, store, 1)
	first.until(t, 2)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// It has left in order, so the other one need not wait for the lease to end.
	add(t, store, 1)
	linked(t, second.until(t, 3), 2)
}

// brief returns a relay whose lease soon runs out.
func brief(store interface {
	eventstore.Log
	eventstore.Subscriptions
}, publisher bus.Publisher) *relay.Relay {
	return relay.New(relay.Options{
		Log: store, Publisher: publisher, Subscription: name, Subscriptions: store, Lease: 60 * time.Millisecond,
	})
}

// freezer stops a process at whatever it does next, as a debugger or a machine
// that has run out of memory would.
type freezer struct {
	frozen   atomic.Bool
	stopped  chan struct{} // closed when something has been stopped
	wake     chan struct{} // closed to let everything go on
	stopping sync.Once
}

func newFreezer() *freezer {
	return &freezer{stopped: make(chan struct{}), wake: make(chan struct{})}
}

func (f *freezer) freeze() { f.frozen.Store(true) }

func (f *freezer) rest() {
	if f.frozen.Load() {
		f.stopping.Do(func() { close(f.stopped) })
		<-f.wake
	}
}

// sleeper is a store as a process sees it whose threads may be frozen.
type sleeper struct {
	*sqlite.Store
	freezer  *freezer
	renewals *freezer
	fenced   chan struct{} // receives for each refused Advance
}

func (s *sleeper) Share(ctx context.Context, request eventstore.Share) (eventstore.Shared, error) {
	s.renewals.rest()
	return s.Store.Share(ctx, request)
}

func (s *sleeper) Head() uint64 {
	s.freezer.rest()
	return s.Store.Head()
}

func (s *sleeper) Advance(ctx context.Context, advance eventstore.Advance) error {
	s.freezer.rest()
	err := s.Store.Advance(ctx, advance)
	if errors.Is(err, eventstore.ErrFenced) {
		s.fenced <- struct{}{}
	}
	return err
}

// slowBus freezes in the middle of a publication.
type slowBus struct {
	bus.Publisher
	freezer *freezer
}

func (b *slowBus) Publish(ctx context.Context, messages []bus.Message) error {
	b.freezer.rest()
	return b.Publisher.Publish(ctx, messages)
}

// A relay that was frozen for longer than its lease must not disturb the one that
// has taken its place.
func TestAFrozenRelayPublishesNothingWhenItWakes(t *testing.T) {
	t.Parallel()
	store, frozen, second := openStore(t), newInbox(), newInbox()
	sleep := newFreezer()
	run(t, brief(&sleeper{Store: store, freezer: sleep, renewals: sleep, fenced: make(chan struct{}, 10)}, frozen))
	add(t, store, 1)
	frozen.until(t, 1)
	sleep.freeze()
	<-sleep.stopped

	stop := run(t, durable(store, second))
	add(t, store, 1)
	second.until(t, 2)
	close(sleep.wake)
	add(t, store, 1)
	complete(t, append(frozen.until(t, 1), second.until(t, 3)...), 3)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expectPosition(t, store, 3)

	// It has been standing by and goes on where the other one stopped.
	add(t, store, 1)
	messages := frozen.until(t, 4)
	linked(t, messages[len(messages)-1:], 3)
	for _, message := range messages {
		if position := message.Book.Position; position > 1 && position < 4 {
			t.Errorf("the frozen relay published position %d", position)
		}
	}
}

func TestARelayFrozenWhilePublishingIsFencedOff(t *testing.T) {
	t.Parallel()
	store, frozen, second := openStore(t), newInbox(), newInbox()
	sleep, renewals, fenced := newFreezer(), newFreezer(), make(chan struct{}, 10)
	run(t, brief(&sleeper{Store: store, freezer: newFreezer(), renewals: renewals, fenced: fenced}, &slowBus{frozen, sleep}))
	add(t, store, 1)
	frozen.until(t, 1)
	sleep.freeze()
	renewals.freeze()
	add(t, store, 1)
	<-sleep.stopped
	<-renewals.stopped

	stop := run(t, durable(store, second))
	add(t, store, 1)
	second.until(t, 3)
	close(sleep.wake)
	// Both have published now, which consumers know how to bear. Only one records.
	<-fenced
	close(renewals.wake)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expectPosition(t, store, 3)
	add(t, store, 1)
	late := frozen.until(t, 4)
	complete(t, append(second.until(t, 3), late...), 4)
	linked(t, late[len(late)-1:], 3)
}

// absent is a store that cannot be reached for a while, as far as leases go.
type absent struct {
	*sqlite.Store
	away  atomic.Bool
	asked chan struct{} // receives for each question that was not answered
}

func (s *absent) Share(ctx context.Context, request eventstore.Share) (eventstore.Shared, error) {
	if s.away.Load() {
		select {
		case s.asked <- struct{}{}:
		default:
		}
		return eventstore.Shared{}, fmt.Errorf("ask: %w", eventstore.ErrUnavailable)
	}
	return s.Store.Share(ctx, request)
}

func TestARelayWaitsForItsStore(t *testing.T) {
	t.Parallel()
	store, taken := &absent{Store: openStore(t), asked: make(chan struct{})}, newInbox()
	store.away.Store(true)
	run(t, brief(store, taken))
	add(t, store, 1)
	<-store.asked
	store.away.Store(false)
	taken.until(t, 1)

	// Four questions are more than fit into a lease.
	store.away.Store(true)
	for range 4 {
		<-store.asked
	}
	add(t, store, 1)
	<-store.asked
	if messages := taken.until(t, 1); len(messages) > 1 {
		t.Errorf("it published %d messages after its lease had run out", len(messages)-1)
	}
	store.away.Store(false)
	complete(t, taken.until(t, 2), 2)
}

func TestPositionAheadOfTheLogIsRefused(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	add(t, store, 1)
	member := uuid.New()
	shared, err := store.Share(t.Context(), eventstore.Share{Name: name, Member: member, Slices: 1, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Advance(t.Context(), eventstore.Advance{Name: name, Moves: []eventstore.Move{{Epoch: shared.Slices[0].Epoch, From: 0, To: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Share(t.Context(), eventstore.Share{Name: name, Member: member, Slices: 1, Leave: true}); err != nil {
		t.Fatal(err)
	}
	restored := &shorter{store}
	err = durable(restored, newInbox()).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "restored") {
		t.Errorf("run: %v", err)
	}
}

// shorter is a log that has lost its events.
type shorter struct{ *sqlite.Store }

func (*shorter) Head() uint64 { return 0 }

func TestClosedStoreEndsTheRelay(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, store, 1)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := durable(store, newInbox()).Run(t.Context()); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("run: %v", err)
	}
}

var errKilled = errors.New("killed")

// mortal is a bus and a store that die at one of their steps and stay dead.
type mortal struct {
	*sqlite.Store
	next  bus.Publisher
	left  int // steps to live
	death context.CancelFunc
}

// step reports whether the step is lived to see.
func (m *mortal) step() error {
	if m.left--; m.left < 0 {
		m.death()
		return errKilled
	}
	return nil
}

func (m *mortal) Publish(ctx context.Context, messages []bus.Message) error {
	if err := m.step(); err != nil {
		return err
	}
	if err := m.next.Publish(ctx, messages); err != nil {
		return err
	}
	return m.step()
}

func (m *mortal) Advance(ctx context.Context, advance eventstore.Advance) error {
	if err := m.step(); err != nil {
		return err
	}
	if err := m.Store.Advance(ctx, advance); err != nil {
		return err
	}
	return m.step()
}

func TestDeathAtAnyStepDoublesAtWorst(t *testing.T) {
	t.Parallel()
	for life := range 12 {
		t.Run(fmt.Sprintf("after %d steps", life), func(t *testing.T) {
			t.Parallel()
			store, taken := openStore(t), newInbox()
			for range 130 {
				add(t, store, 10)
			}
			ctx, cancel := context.WithCancel(t.Context())
			m := &mortal{Store: store, next: taken, left: life, death: cancel}
			_ = durable(m, m).Run(ctx)
			expectBehind(t, store, taken)

			run(t, durable(store, taken))
			complete(t, taken.until(t, 1300), 1300)
		})
	}
}

// expectBehind checks that nothing is recorded that was not published.
func expectBehind(t *testing.T, store eventstore.Subscriptions, taken *inbox) {
	t.Helper()
	positions, err := store.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	published := uint64(0)
	for _, message := range taken.messages {
		published = message.Book.Position
	}
	if len(positions) != 1 || positions[0].Position > published {
		t.Fatalf("the position is %v, published up to %d", positions, published)
	}
}
