package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// clinic is a consumer, the component behind it, whose poisons can be healed, and
// somebody who decides about dead letters.
type clinic struct {
	*world
	*component
	consumer *delivery.Consumer[string]

	mu      sync.Mutex
	healed  map[string]bool // types of events that are no poison any more
	release chan struct{}   // ends calls with events of type Stuck
}

// inClinic runs a test in a bubble. Events of the types Poison… cannot be handled
// until they are healed.
func inClinic(t *testing.T, test func(c *clinic)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{world: newWorldIn(t, "", nil), healed: map[string]bool{}, release: make(chan struct{})}
		c.component = newComponent(c.suffer)
		c.consumer, _ = c.run(c.options(c.component))
		test(c)
	})
}

func (c *clinic) suffer(events *pb.EventBook) error {
	kind := events.Pages[0].Event.TypeUrl
	if kind == "Stuck" {
		<-c.release
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case kind == "Aside":
		return &delivery.Park{Subscription: "test/aside", Reason: "look at this"}
	case len(kind) > 6 && kind[:6] == "Poison" && !c.healed[kind]:
		return fmt.Errorf("%s: %w", kind, errPoison)
	}
	return nil
}

func (c *clinic) heal(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healed[kind] = true
}

// decide is what a person does, through an admin service elsewhere.
func (c *clinic) decide(position uint64, to eventstore.State) {
	c.Helper()
	decision := eventstore.Decision{Subscription: "test", Position: position, From: []eventstore.State{eventstore.StateParked}, To: to, Note: "by hand"}
	if err := c.store.Decide(c.Context(), decision); err != nil {
		c.Fatal(err)
	}
}

// letters are the dead letters as "position state attempts".
func (c *clinic) letters(subscription string) (lines []string) {
	c.Helper()
	found, err := c.store.Parked(c.Context(), eventstore.ParkedQuery{Subscription: subscription, Limit: 100})
	if err != nil {
		c.Fatal(err)
	}
	for _, letter := range found {
		lines = append(lines, fmt.Sprintf("%d %s %d", letter.Position, letter.State, letter.Attempts))
	}
	return lines
}

func (c *clinic) awaitLetters(want ...string) {
	c.Helper()
	c.until(fmt.Sprintf("the dead letters are %q", want), func() bool { return slices.Equal(c.letters("test"), want) })
}

// awaitCalls waits for the calls since the last time.
func (c *clinic) awaitCalls(want ...string) {
	c.Helper()
	c.wait(c.T, len(want))
	synctest.Wait()
	c.component.mu.Lock()
	defer c.component.mu.Unlock()
	if diff := cmp.Diff(want, c.calls); diff != "" {
		c.Error(diff)
	}
	c.calls = nil
}

// fill parks three commands of one aggregate, of which the first and the third
// are poisonous.
func (c *clinic) fill() {
	c.Helper()
	c.append(key("order", 1), 0, "Poison1")
	c.append(key("order", 1), 1, "B", "B")
	c.append(key("order", 1), 3, "Poison2")
	c.awaitLetters("1 parked 1", "3 parked 0", "4 parked 0")
	c.awaitCalls("order/1 0-0")
}

func TestDeadLettersAreRetriedInOrderAndTheAggregateGoesOn(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.fill()
		c.decide(1, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 parked 2", "3 parked 0", "4 parked 0")
		c.awaitCalls("order/1 0-0")

		c.heal("Poison1")
		c.decide(1, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 resolved 3", "3 resolved 1", "4 parked 1")
		c.awaitCalls("order/1 0-0", "order/1 1-2", "order/1 3-3")

		c.append(key("order", 1), 4, "C")
		c.awaitLetters("1 resolved 3", "3 resolved 1", "4 parked 1", "5 parked 0")
		c.heal("Poison2")
		c.decide(4, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 resolved 3", "3 resolved 1", "4 resolved 2", "5 resolved 1")
		c.append(key("order", 1), 5, "D")
		c.awaitCalls("order/1 3-3", "order/1 4-4", "order/1 5-5")
	})
}

func TestADecisionIsFoundWithoutBeingToldOfIt(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.fill()
		c.heal("Poison1")
		c.decide(1, eventstore.StateRetry)
		time.Sleep(6 * time.Second)
		c.awaitCalls("order/1 0-0", "order/1 1-2", "order/1 3-3")
	})
}

func TestWhatOnlyWaitedBehindASkippedDeadLetterGoesOn(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.fill()
		c.decide(1, eventstore.StateSkipped)
		c.decide(4, eventstore.StateSkipped)
		c.consumer.Decided()
		c.awaitLetters("1 skipped 1", "3 resolved 1", "4 skipped 0")
		c.append(key("order", 1), 4, "C")
		c.awaitCalls("order/1 1-2", "order/1 4-4")
	})
}

func TestRetryingALaterDeadLetterBeginsWithTheFirst(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.fill()
		c.decide(4, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 parked 2", "3 parked 0", "4 retry 0")
		c.awaitCalls("order/1 0-0")
	})
}

func TestACallerIsToldWhatTheLastAttemptSaid(t *testing.T) {
	inClinic(t, func(c *clinic) {
		first := c.append(key("order", 1), 0, "Poison1")
		second := c.append(key("order", 1), 1, "Poison2")
		c.awaitLetters("1 parked 1", "2 parked 0")
		c.heal("Poison1")
		c.decide(1, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 resolved 2", "2 parked 1")
		if _, err := c.consumer.Deliver(c.Context(), second); err == nil || err.Error() != "Poison2: "+errPoison.Error() {
			c.Errorf("the poisonous event: %v", err)
		}
		var blocked *delivery.Blocked
		if _, err := c.consumer.Deliver(c.Context(), first); !errors.As(err, &blocked) {
			c.Errorf("another event: %v", err)
		}
	})
}

// What waits behind a dead letter may itself wait to be recorded, behind a slow
// call for another aggregate.
func TestWhatIsNotRecordedYetIsRetriedToo(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.append(key("order", 1), 0, "Poison1")
		c.awaitLetters("1 parked 1")
		c.append(key("order", 2), 0, "Stuck")
		c.append(key("order", 1), 1, "B")
		c.append(key("order", 1), 2, "Poison2")
		c.append(key("order", 1), 3, "C")
		time.Sleep(time.Second)
		c.awaitLetters("1 parked 1")
		c.heal("Poison1")
		c.decide(1, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 resolved 2")
		c.until("the one behind it has been tried", func() bool { return slices.Contains(c.seen(), "order/1 2-2") })
		close(c.release)
		c.awaitLetters("1 resolved 2", "4 parked 1", "5 parked 0")
		c.awaitCalls("order/1 0-0", "order/2 0-0", "order/1 0-0", "order/1 1-1", "order/1 2-2")

		c.heal("Poison2")
		c.decide(4, eventstore.StateRetry)
		c.consumer.Decided()
		c.awaitLetters("1 resolved 2", "4 resolved 2", "5 resolved 1")
		c.append(key("order", 1), 4, "D")
		c.awaitCalls("order/1 2-2", "order/1 3-3", "order/1 4-4")
	})
}

func TestARetriedDeadLetterCanLeaveAnotherOneAside(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.append(key("order", 1), 0, "Poison1")
		c.append(key("order", 1), 1, "Aside")
		c.awaitLetters("1 parked 1", "2 parked 0")
		c.decide(1, eventstore.StateSkipped)
		c.consumer.Decided()
		c.awaitLetters("1 skipped 1", "2 resolved 1")
		if diff := cmp.Diff([]string{"2 parked 1"}, c.letters("test/aside")); diff != "" {
			c.Error(diff)
		}
	})
}

func TestAFreshFailureIsNotRetriedByItself(t *testing.T) {
	inClinic(t, func(c *clinic) {
		c.append(key("order", 2), 0, "Stuck")
		c.append(key("order", 1), 0, "Poison1")
		c.append(key("order", 1), 1, "B")
		time.Sleep(time.Minute)
		c.awaitLetters() // nothing can be recorded
		close(c.release)
		c.awaitLetters("2 parked 1", "3 parked 0")
	})
}

func TestARetryThatAStopInterruptsIsContinued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldIn(t, "", nil)
		options := w.options(newComponent(nil))
		options.Handle = func(context.Context, *pb.EventBook) (string, error) { return "", errPoison }
		_, stop := w.run(options)
		w.append(key("order", 1), 0, "A")
		w.append(key("order", 1), 1, "B")
		w.append(key("order", 1), 2, "C")
		c := &clinic{world: w}
		c.awaitLetters("1 parked 1", "2 parked 0", "3 parked 0")
		stop()

		options.Handle = func(ctx context.Context, events *pb.EventBook) (string, error) {
			if events.Pages[0].GetNum() == 1 {
				<-ctx.Done()
			}
			return "", ctx.Err()
		}
		c.decide(1, eventstore.StateRetry)
		_, stop = w.run(options)
		c.awaitLetters("1 resolved 2", "2 parked 0", "3 parked 0")
		stop()

		c.component = newComponent(nil)
		w.run(w.options(c.component))
		c.awaitLetters("1 resolved 2", "2 resolved 1", "3 resolved 1")
		c.awaitCalls("order/1 1-1", "order/1 2-2")
	})
}

func TestADeadLetterIsRetriedByWhoeverHoldsItsSlice(t *testing.T) {
	inBubble(t, func(f *fleet) {
		var healed atomic.Bool
		for _, name := range []string{"one", "two"} {
			i := f.instance(name)
			work := i.Handle
			i.Handle = func(ctx context.Context, events *pb.EventBook) (string, error) {
				if !healed.Load() {
					return "", errPoison
				}
				return work(ctx, events)
			}
			f.run(i.Options)
		}
		f.awaitHolders(map[string]int{"one": 4, "two": 4})
		f.feed(0, 1)
		letters := func(state eventstore.State) []eventstore.Parked {
			found, err := f.world.store.Parked(f.Context(), eventstore.ParkedQuery{Subscription: "test", States: []eventstore.State{state}, Limit: 100})
			if err != nil {
				f.Fatal(err)
			}
			return found
		}
		f.until("all are parked", func() bool { return len(letters(eventstore.StateParked)) == len(orders()) })
		healed.Store(true)
		f.run(f.instance("three").Options)
		f.until("three share", func() bool { return len(f.holders()) == 3 })
		for _, letter := range letters(eventstore.StateParked) {
			if err := f.world.store.Decide(f.Context(), eventstore.Decision{Subscription: "test", Position: letter.Position, To: eventstore.StateRetry}); err != nil {
				f.Fatal(err)
			}
		}
		f.until("all are resolved", func() bool { return len(letters(eventstore.StateResolved)) == len(orders()) })
		f.feed(1, 2)
		f.complete(2, false)
	})
}
