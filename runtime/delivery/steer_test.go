package delivery_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
)

func (f *fleet) pause(paused bool) {
	f.Helper()
	if err := f.world.store.Pause(f.Context(), eventstore.Pause{Name: "test", Paused: paused, Note: "alice"}); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) rewind(rewind eventstore.Rewind) {
	f.Helper()
	rewind.Name = "test"
	if err := f.world.store.Rewind(f.Context(), rewind); err != nil {
		f.Fatal(err)
	}
}

// control waits until no rewind is under way, and returns what is decided then.
func (f *fleet) control() (control eventstore.Control) {
	f.Helper()
	f.until("the rewind is over", func() bool {
		controls, err := f.world.store.Controls(f.Context())
		if err != nil || len(controls) != 1 {
			f.Fatalf("controls: %+v, %v", controls, err)
		}
		control = controls[0]
		return !control.Rewinding
	})
	return control
}

// reset clears what was handled away, which nobody may be adding to.
func (f *fleet) reset(called *atomic.Int64, takes time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		called.Add(1)
		for range 10 {
			f.mu.Lock()
			if len(f.running) > 0 {
				f.Errorf("%v are in hand while everything is cleared away", f.running)
			}
			clear(f.handled)
			f.mu.Unlock()
			select {
			case <-time.After(takes / 10):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
}

func TestWhatIsPausedWaitsAndThenGoesOn(t *testing.T) {
	inBubble(t, func(f *fleet) {
		one, two := f.instance("one"), f.instance("two")
		first, _ := f.run(one.Options)
		f.run(two.Options)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		f.feed(0, 3)
		f.complete(3, false)

		f.pause(true)
		first.Decided()
		f.awaitHolders(map[string]int{})
		calls := f.calls()
		f.feed(3, 6)
		time.Sleep(time.Minute)
		if now := f.calls(); now["one"] != calls["one"] || now["two"] != calls["two"] {
			t.Errorf("calls while it is paused: %v, before %v", now, calls)
		}
		var paused *delivery.Paused
		_, err := first.Deliver(f.Context(), f.append(orders()[0], 6, "A"))
		if !errors.As(err, &paused) || paused.Note != "alice" || status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "angz projections resume test") {
			t.Errorf("Deliver while it is paused: %v", err)
		}
		for _, key := range orders()[1:] {
			f.append(key, 6, "A")
		}

		f.pause(false)
		first.Decided()
		f.complete(7, false)
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
	})
}

func TestARewindClearsEverythingAwayAndBringsItAgain(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var resets atomic.Int64
		var consumers []*delivery.Consumer[string]
		for _, name := range []string{"one", "two", "three"} {
			i := f.instance(name)
			i.Reset = f.reset(&resets, time.Minute) // longer than a lease
			consumer, _ := f.run(i.Options)
			consumers = append(consumers, consumer)
		}
		f.feed(0, 20)
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			f.feed(20, 60)
		}()
		f.rewind(eventstore.Rewind{Clear: true, Note: "bob"})
		consumers[1].Decided()
		if control := f.control(); control.Failed != "" || control.Number != 1 {
			t.Errorf("it ended with %+v", control)
		}
		<-fed
		f.complete(60, false)
		if n := resets.Load(); n != 1 {
			t.Errorf("it was cleared away %d times", n)
		}
	})
}

func TestARewindOutlivesWhoDoesIt(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var resets atomic.Int64
		one, two := f.instance("one"), f.instance("two")
		began := make(chan struct{})
		one.Reset = func(ctx context.Context) error {
			one.store.kill()
			close(began)
			<-ctx.Done()
			return ctx.Err()
		}
		two.Reset = f.reset(&resets, time.Second)
		first, _ := f.run(one.Options)
		f.feed(0, 5)
		f.complete(5, false)
		f.rewind(eventstore.Rewind{Clear: true})
		first.Decided()
		<-began
		f.run(two.Options)
		f.control()
		f.complete(5, false)
		if n := resets.Load(); n != 1 {
			t.Errorf("the other one cleared away %d times", n)
		}
	})
}

func TestWhatCannotBeClearedAwayGoesOnAsItWas(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var asked atomic.Int64
		one := f.instance("one")
		one.Reset = func(context.Context) error {
			if asked.Add(1) <= 2 {
				return []error{errPassing, errAbsent}[asked.Load()-1]
			}
			return status.Error(codes.Unimplemented, "no such thing")
		}
		consumer, _ := f.run(one.Options)
		f.feed(0, 5)
		f.complete(5, false)
		f.rewind(eventstore.Rewind{Clear: true})
		consumer.Decided()
		if control := f.control(); !strings.Contains(control.Failed, "no such thing") {
			t.Errorf("it ended with %+v", control)
		}
		f.feed(5, 8)
		f.complete(8, false)
		if n := asked.Load(); n != 3 {
			t.Errorf("it was asked %d times to clear away", n)
		}
	})
}

func TestARewindToAPlaceRepeatsOnlyWhatIsBehindIt(t *testing.T) {
	inBubble(t, func(f *fleet) {
		consumer, _ := f.run(f.instance("one").Options)
		f.feed(0, 4)
		f.complete(4, false)
		f.rewind(eventstore.Rewind{To: f.world.store.Head() - uint64(len(orders()))})
		consumer.Decided()
		f.control()
		f.until("the last of each came again", func() bool { return f.calls()["one"] == 5*len(orders()) })
		f.complete(4, true)
	})
}

func TestDeadLettersAreForgottenWithARewind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var broken atomic.Bool
	broken.Store(true)
	c := newComponent(func(*pb.EventBook) error {
		if broken.Load() {
			return errPoison
		}
		return nil
	})
	consumer, _ := w.run(w.options(c))
	w.append(key("order", 1), 0, "A")
	w.append(key("order", 1), 1, "B")
	letters := func() int {
		found, err := w.store.Parked(w.Context(), eventstore.ParkedQuery{Subscription: "test", Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	w.until("both are dead letters", func() bool { return letters() == 2 })
	c.wait(t, 1)
	broken.Store(false)
	if err := w.store.Rewind(w.Context(), eventstore.Rewind{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	consumer.Decided()
	c.wait(t, 2)
	if n := letters(); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	if value, err := consumer.Deliver(t.Context(), w.append(key("order", 1), 2, "C")); err != nil || value == "" {
		t.Errorf("the aggregate does not go on: %q, %v", value, err)
	}
}

// Whatever people decide and whoever dies, in the end every event of the log has
// been handled since everything was cleared away last.
func TestRewindsAndPausesAtRandom(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var resets atomic.Int64
		var members sync.WaitGroup
		ctx, end := context.WithCancel(f.Context())
		for _, name := range []string{"one", "two", "three"} {
			members.Go(func() { // comes and goes
				for n := 0; ctx.Err() == nil; n++ {
					i := f.instance(name)
					i.Reset = f.reset(&resets, 10*time.Millisecond)
					consumer := delivery.New(i.Options)
					living, leave := context.WithTimeout(ctx, time.Duration(1+uuid.New().ID()%40)*time.Second)
					if err := consumer.Run(living); err != nil {
						f.Errorf("%s ended with %v", name, err)
					}
					leave()
				}
			})
		}
		for number := range uint32(40) {
			f.feed(number, number+1)
			switch uuid.New().ID() % 4 {
			case 0:
				f.rewind(eventstore.Rewind{Clear: true})
			case 1:
				f.pause(uuid.New().ID()%2 == 0)
			}
			time.Sleep(time.Duration(uuid.New().ID()%5000) * time.Millisecond)
		}
		f.pause(false)
		f.control()
		f.complete(40, false)
		end()
		members.Wait()
	})
}
