package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// fleet is several instances of one component over one store, and what they
// handled. It lives in a bubble, in which leases run out in no time.
type fleet struct {
	*world
	mu      sync.Mutex
	handled map[book.Key][]uint32 // numbers by aggregate, over all instances
	by      map[string]int        // calls by instance
	running map[book.Key]string   // who has an aggregate in hand now
	takes   time.Duration         // of a call
	pace    time.Duration         // between events of an aggregate
}

// inBubble runs a test with a fleet.
func inBubble(t *testing.T, test func(f *fleet)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(&fleet{
			world: newWorldIn(t, "", nil), handled: map[book.Key][]uint32{}, by: map[string]int{}, running: map[book.Key]string{},
			takes: time.Millisecond, pace: 5 * time.Millisecond,
		})
	})
}

// instance are the options of one instance and its grip on the outside.
type instance struct {
	delivery.Options[string]
	name  string
	store *weak
}

func (f *fleet) instance(name string) *instance {
	i := &instance{Options: f.options(newComponent(nil)), name: name}
	i.store = &weak{Store: f.world.store}
	i.Options.Store = i.store
	i.Slices, i.Address, i.Checkpoint = 8, name, 100*time.Millisecond
	i.Handle = func(ctx context.Context, events *pb.EventBook) (string, error) {
		if err := i.store.check(ctx); errors.Is(err, errDead) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return name, f.work(ctx, name, events)
	}
	return i
}

// work is what a call does: it takes a while, and must be the only one for its
// aggregate.
func (f *fleet) work(ctx context.Context, name string, events *pb.EventBook) error {
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		return err
	}
	f.mu.Lock()
	if other, busy := f.running[key]; busy {
		f.Errorf("%s and %s have %s in hand at once", name, other, key)
	}
	f.running[key] = name
	f.mu.Unlock()
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, key)
	if err != nil {
		return err
	}
	f.by[name]++
	for _, page := range events.Pages {
		f.handled[key] = append(f.handled[key], page.GetNum())
	}
	return nil
}

func (f *fleet) calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.by)
}

// holders returns how many slices each instance holds.
func (f *fleet) holders() map[string]int {
	f.Helper()
	positions, err := f.world.store.Positions(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	held := map[string]int{}
	for _, position := range positions {
		if position.Member != uuid.Nil {
			held[position.Address]++
		}
	}
	return held
}

func (f *fleet) awaitHolders(want map[string]int) {
	f.Helper()
	f.until(fmt.Sprintf("the slices are held by %v", want), func() bool { return maps.Equal(f.holders(), want) })
}

// orders are the aggregates that tests feed.
func orders() (keys []book.Key) {
	for n := range byte(24) {
		keys = append(keys, key("order", n))
	}
	return keys
}

// feed appends one event to each aggregate for each number.
func (f *fleet) feed(from, to uint32) {
	f.Helper()
	for number := from; number < to; number++ {
		for _, key := range orders() {
			f.append(key, number, "A")
		}
		time.Sleep(f.pace)
	}
}

// complete waits until all events below a number have been handled and everything
// is recorded, and checks that they came in order. Repeated says that they may
// have come again.
func (f *fleet) complete(next uint32, repeated bool) {
	f.Helper()
	f.until(fmt.Sprintf("all events below %d are handled", next), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !slices.ContainsFunc(orders(), func(key book.Key) bool { return !slices.Contains(f.handled[key], next-1) })
	})
	f.mu.Lock()
	for _, key := range orders() {
		expected := uint32(0)
		for _, number := range f.handled[key] {
			if number > expected || number < expected && !repeated {
				f.Errorf("%s: event %d came when %d was next", key, number, expected)
			}
			expected = max(expected, number+1)
		}
	}
	f.mu.Unlock()
	f.until("it is recorded", func() bool { return f.lowest() == f.world.store.Head() })
}

// lowest returns the position of the slice that is furthest behind.
func (f *fleet) lowest() uint64 {
	f.Helper()
	positions, err := f.world.store.Positions(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	lowest := positions[0].Position
	for _, position := range positions {
		lowest = min(lowest, position.Position)
	}
	return lowest
}

// weak is the store as a process sees it that is frozen, dead or cut off.
type weak struct {
	delivery.Store
	mu     sync.Mutex
	wake   chan struct{} // not nil while frozen or dead
	dead   bool
	broken error
	fence  atomic.Int64 // one more than the slice whose next recording is refused
}

var errDead = errors.New("the process is no more")

func (w *weak) freeze() { w.set(make(chan struct{}), false, nil) }
func (w *weak) kill()   { w.set(make(chan struct{}), true, nil) }
func (w *weak) cut()    { w.set(nil, false, fmt.Errorf("network: %w", eventstore.ErrUnavailable)) }

// heal ends what was wrong.
func (w *weak) heal() { w.set(nil, false, nil) }

func (w *weak) set(wake chan struct{}, dead bool, broken error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake != nil {
		close(w.wake)
	}
	w.wake, w.dead, w.broken = wake, dead, broken
}

// check does what happens to a call.
func (w *weak) check(ctx context.Context) error {
	w.mu.Lock()
	wake, dead, broken := w.wake, w.dead, w.broken
	w.mu.Unlock()
	switch {
	case dead:
		return errDead
	case wake == nil:
		return broken
	}
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass is check for calls of the store, which a dead process does not come back
// from.
func (w *weak) pass(ctx context.Context) error {
	err := w.check(ctx)
	if errors.Is(err, errDead) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (w *weak) Share(ctx context.Context, request eventstore.Share) (eventstore.Shared, error) {
	if err := w.pass(ctx); err != nil {
		return eventstore.Shared{}, err
	}
	return w.Store.Share(ctx, request)
}

func (w *weak) Advance(ctx context.Context, advance eventstore.Advance) error {
	if err := w.pass(ctx); err != nil {
		return err
	}
	if number := w.fence.Swap(0) - 1; number >= 0 {
		return &eventstore.Fenced{Name: advance.Name, Slices: []int{int(number)}}
	}
	return w.Store.Advance(ctx, advance)
}

func (w *weak) ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	if err := w.pass(ctx); err != nil {
		return nil, err
	}
	return w.Store.ReadLog(ctx, after, limit)
}

func (w *weak) Blocked(ctx context.Context, subscription string) ([]book.Key, error) {
	if err := w.pass(ctx); err != nil {
		return nil, err
	}
	return w.Store.Blocked(ctx, subscription)
}

func (w *weak) Parked(ctx context.Context, query eventstore.ParkedQuery) ([]eventstore.Parked, error) {
	if err := w.pass(ctx); err != nil {
		return nil, err
	}
	return w.Store.Parked(ctx, query)
}

func TestInstancesComeAndGoUnderLoadAndNothingComesTwice(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.takes, f.pace = 80*time.Millisecond, 120*time.Millisecond
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			f.feed(0, 250) // for 30 s
		}()
		_, stopOne := f.run(f.instance("one").Options)
		f.awaitHolders(map[string]int{"one": 8})
		f.run(f.instance("two").Options)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		_, stopThree := f.run(f.instance("three").Options)
		f.until("three of them share", func() bool { return len(f.holders()) == 3 && f.holders()["three"] == 2 })
		time.Sleep(200 * time.Millisecond)
		stopThree()
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		stopOne()
		f.awaitHolders(map[string]int{"two": 8})
		select {
		case <-fed:
			f.Error("the load was over before the instances had come and gone")
		default:
		}
		<-fed
		f.complete(250, false)
		for name, count := range f.calls() {
			if count < 100 {
				f.Errorf("%s was called %d times only", name, count)
			}
		}
	})
}

func TestAKilledInstanceIsReplacedWhenItsLeaseHasRunOut(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		f.run(one.Options)
		f.run(f.instance("two").Options)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		f.feed(0, 10)
		one.store.kill()
		f.feed(10, 20)
		start := time.Now()
		f.awaitHolders(map[string]int{"two": 8})
		if took := time.Since(start); took > 21*time.Second {
			f.Errorf("it took %s to take over from a dead instance", took)
		}
		f.complete(20, true)
	})
}

func TestAFrozenInstanceLosesItsSlicesAndDoesNoHarm(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		work, interrupted := one.Handle, make(chan struct{})
		one.Handle = func(ctx context.Context, events *pb.EventBook) (string, error) {
			if events.Pages[0].Event.TypeUrl != "Slow" {
				return work(ctx, events)
			}
			<-ctx.Done()
			close(interrupted)
			return "", ctx.Err()
		}
		f.run(one.Options)
		f.feed(0, 5)
		f.complete(5, false)

		f.append(key("order", 3), 5, "Slow")
		for _, key := range orders() {
			if key != (book.Key{Domain: "order", Root: uuid.UUID{15: 3}}) {
				f.append(key, 5, "A")
			}
		}
		time.Sleep(10 * time.Millisecond)
		one.store.freeze()
		f.run(f.instance("two").Options)
		f.awaitHolders(map[string]int{"two": 8})
		before := f.calls()["one"]
		f.feed(6, 10)
		f.complete(10, true)
		if after := f.calls()["one"]; after != before {
			f.Errorf("a frozen instance went on calling: %d times", after-before)
		}

		one.store.heal()
		<-interrupted
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		f.feed(10, 15)
		f.complete(15, true)
	})
}

func TestAnInstanceThatIsCutOffCallsNobodyWhenItsLeaseHasRunOut(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		// It goes on hearing of events by the bus.
		f.run(one.Options)
		f.feed(0, 3)
		f.complete(3, false)
		one.store.cut()
		time.Sleep(one.lease() + time.Second)
		before := f.calls()["one"]
		f.feed(3, 6)
		time.Sleep(time.Minute)
		if after := f.calls()["one"]; after != before {
			f.Errorf("called %d times past the lease", after-before)
		}
		one.store.heal()
		f.complete(6, false)
	})
}

func (i *instance) lease() time.Duration { return 15 * time.Second }

func TestAStoreThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		one.store.cut()
		consumer, _ := f.run(one.Options)
		answered := make(chan error, 1)
		events := f.append(key("order", 1), 0, "A")
		go func() {
			_, err := consumer.Deliver(f.Context(), events)
			answered <- err
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-answered:
			f.Fatalf("answered before there was a store: %v", err)
		default:
		}
		one.store.heal()
		if err := <-answered; err != nil {
			f.Error(err)
		}
	})
}

func TestASliceThatIsFencedOffIsLostAndTheRestGoesOn(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		f.run(one.Options)
		f.feed(0, 3)
		f.complete(3, false)
		one.store.fence.Store(1 + int64(eventstore.SliceOf(key("order", 1), 8)))
		f.feed(3, 50)
		f.complete(50, true)
		for _, key := range orders() {
			if eventstore.SliceOf(key, 8) == eventstore.SliceOf(orders()[1], 8) {
				continue
			}
			if n := len(f.handled[key]); n != 50 {
				f.Errorf("%s is in another slice, and its 50 events were handled %d times", key, n)
			}
		}
	})
}

func TestASliceWhoseServiceIsAwayIsGivenAwayAllTheSame(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		one.Handle = func(context.Context, *pb.EventBook) (string, error) { return "", errAbsent }
		f.run(one.Options)
		f.feed(0, 2)
		f.run(f.instance("two").Options)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		f.until("the other instance has handled its half", func() bool { return f.calls()["two"] >= 2*8 })
	})
}

// absentBus is a bus whose broker is not there.
type absentBus struct{}

func (absentBus) Subscribe(ctx context.Context, _ string) (bus.Subscription, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWithoutABrokerTheLogIsFollowed(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		one.Bus = absentBus{}
		f.run(one.Options)
		f.feed(0, 3)
		f.complete(3, false)
		f.feed(3, 6)
		f.complete(6, false)
	})
}

func TestIdleSlicesAreRecordedNowAndThen(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one := f.instance("one")
		counted := &counting{Store: one.store}
		one.Options.Store = counted
		f.run(one.Options)
		for n := range uint32(1000) {
			f.append(key("order", 1), n, "A")
			time.Sleep(10 * time.Millisecond)
		}
		f.until("all is recorded", func() bool { return f.lowest() == f.world.store.Head() })
		// 100 recordings of the one slice, and 2 or 3 of the other seven.
		if moves := counted.moves.Load(); moves > 150 {
			f.Errorf("slices were moved %d times within 10 s", moves)
		}
	})
}

// counting counts how often slices are moved.
type counting struct {
	delivery.Store
	moves atomic.Int64
}

func (c *counting) Advance(ctx context.Context, advance eventstore.Advance) error {
	c.moves.Add(int64(len(advance.Moves)))
	return c.Store.Advance(ctx, advance)
}

// peers lets instances forward to each other by address.
type peers map[string]*delivery.Consumer[string]

func (p peers) forward(ctx context.Context, address string, events *pb.EventBook) (string, error) {
	peer := p[address]
	if peer == nil {
		return "", errAbsent
	}
	return peer.Deliver(arrived(ctx), events)
}

func TestABookHandedToTheWrongInstanceReachesTheRightOne(t *testing.T) {
	inBubble(t, func(f *fleet) {
		known := peers{}
		for _, name := range []string{"one", "two"} {
			i := f.instance(name)
			i.Forward = known.forward
			known[name], _ = f.run(i.Options)
		}
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		answers := map[string]int{}
		for _, key := range orders() {
			answer, err := known["one"].Deliver(f.Context(), f.append(key, 0, "A"))
			if err != nil {
				f.Fatal(err)
			}
			answers[answer]++
		}
		if answers["one"] == 0 || answers["two"] == 0 || answers["one"]+answers["two"] != len(orders()) {
			f.Errorf("answers by instance: %v", answers)
		}
		f.complete(1, false)
	})
}

func TestABookForAnInstanceThatHasDiedWaitsForTheNextHolder(t *testing.T) {
	inBubble(t, func(f *fleet) {
		known := peers{}
		one, two := f.instance("one"), f.instance("two")
		two.Forward = known.forward
		f.run(one.Options)
		consumer, _ := f.run(two.Options)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		one.store.kill() // and it is not among the known ones
		for _, key := range orders() {
			answer, err := consumer.Deliver(f.Context(), f.append(key, 0, "A"))
			if answer != "two" || err != nil {
				f.Errorf("%s: %q, %v", key, answer, err)
			}
		}
	})
}

func TestAForwardedBookIsNotForwardedAgain(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.run(f.instance("one").Options)
		f.awaitHolders(map[string]int{"one": 8})
		two := f.instance("two")
		two.Forward = func(context.Context, string, *pb.EventBook) (string, error) {
			f.Error("forwarded once more")
			return "", nil
		}
		consumer, _ := f.run(two.Options)
		_, err := consumer.Deliver(arrived(f.Context()), f.append(key("order", 1), 0, "A"))
		if !errors.Is(err, delivery.ErrElsewhere) {
			f.Errorf("got %v, want ErrElsewhere", err)
		}
	})
}

func TestInstancesThatSendEachOtherABookGiveUpWithTheCaller(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var one *delivery.Consumer[string]
		calls := 0
		i := f.instance("one")
		i.Forward = func(ctx context.Context, _ string, events *pb.EventBook) (string, error) {
			calls++
			return one.Deliver(arrived(ctx), events) // as if the address were old
		}
		f.run(f.instance("two").Options)
		f.awaitHolders(map[string]int{"two": 8})
		one, _ = f.run(i.Options)
		ctx, cancel := context.WithTimeout(f.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := one.Deliver(ctx, f.append(key("order", 1), 0, "A"))
		if !errors.Is(err, context.DeadlineExceeded) || calls == 0 || calls > 10 {
			f.Errorf("%d calls, %v", calls, err)
		}
	})
}

func TestWhatAnotherInstanceHandledInBetweenIsNotRepeated(t *testing.T) {
	inBubble(t, func(f *fleet) {
		known := peers{}
		stops := map[string]func(){}
		start := func(name string) {
			i := f.instance(name)
			i.Forward = known.forward
			known[name], stops[name] = f.run(i.Options)
		}
		hand := func(to string, number uint32) {
			f.Helper()
			if _, err := known[to].Deliver(f.Context(), f.append(key("order", 1), number, "A")); err != nil {
				f.Fatal(err)
			}
		}
		start("one")
		hand("one", 0)
		for n := range uint32(4) {
			// Each start moves slices to the new instance, each stop back again.
			name := fmt.Sprint("other", n)
			start(name)
			f.awaitHolders(map[string]int{"one": 4, name: 4})
			hand("one", 2*n+1)
			stops[name]()
			f.awaitHolders(map[string]int{"one": 8})
			hand("one", 2*n+2)
		}
		if diff := cmp.Diff([]uint32{0, 1, 2, 3, 4, 5, 6, 7, 8}, f.handled[key("order", 1)]); diff != "" {
			f.Error(diff)
		}
	})
}

// arrived returns the context with which a call arrives at a peer.
func arrived(ctx context.Context) context.Context {
	sent, _ := metadata.FromOutgoingContext(delivery.ToPeer(ctx))
	return metadata.NewIncomingContext(ctx, sent)
}
