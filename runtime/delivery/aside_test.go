package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// desk is a consumer whose component leaves every event aside, and says anew of
// those that it is called with once more what a test wants.
type desk struct {
	*world
	options  delivery.Options[string]
	consumer *delivery.Consumer[string]
	stop     func()

	mu    sync.Mutex
	calls []string
	anew  []error // the answers to calls anew, one after the other, the last one for ever
}

func atDesk(t *testing.T, test func(d *desk), anew ...error) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{world: newWorldIn(t, "", nil), anew: anew}
		d.options = d.world.options(newComponent(nil))
		d.options.Handle, d.options.Aside = d.handle, "test/aside"
		d.consumer, d.stop = d.run(d.options)
		test(d)
	})
}

func (d *desk) handle(ctx context.Context, events *pb.EventBook) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call := fmt.Sprintf("%d-%d", book.First(events), book.Last(events))
	if !delivery.Anew(ctx) {
		d.calls = append(d.calls, call)
		return "", &delivery.Park{Subscription: "test/aside", Reason: "look at this"}
	}
	d.calls = append(d.calls, call+" anew")
	answer := d.anew[0]
	if len(d.anew) > 1 {
		d.anew = d.anew[1:]
	}
	return "", answer
}

func (d *desk) letters() (lines []string) {
	d.Helper()
	found, err := d.store.Parked(d.Context(), eventstore.ParkedQuery{Limit: 100})
	if err != nil {
		d.Fatal(err)
	}
	for _, letter := range found {
		lines = append(lines, fmt.Sprintf("%s %d %s %d %s", letter.Subscription, letter.Position, letter.State, letter.Attempts, letter.Reason))
	}
	return lines
}

func (d *desk) await(want ...string) {
	d.Helper()
	d.until(fmt.Sprintf("the dead letters are %q", want), func() bool { return slices.Equal(d.letters(), want) })
}

func (d *desk) retry(position uint64) {
	d.Helper()
	decision := eventstore.Decision{Subscription: "test/aside", Position: position, To: eventstore.StateRetry}
	if err := d.store.Decide(d.Context(), decision); err != nil {
		d.Fatal(err)
	}
	d.consumer.Decided()
}

// called checks the calls since the last time.
func (d *desk) called(want ...string) {
	d.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.calls); diff != "" {
		d.Error(diff)
	}
	d.calls = nil
}

func TestWhatIsLeftAsideIsHandledAnewWhenSomebodyWantsIt(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(key("order", 1), 0, "A", "B")
		d.append(key("order", 1), 2, "C")
		d.await("test/aside 2 parked 1 look at this", "test/aside 3 parked 1 look at this")
		d.called("0-1", "2-2")
		d.retry(2)
		d.await("test/aside 2 resolved 2 look at this", "test/aside 3 parked 1 look at this")
		d.append(key("order", 1), 3, "D")
		d.await("test/aside 2 resolved 2 look at this", "test/aside 3 parked 1 look at this", "test/aside 4 parked 1 look at this")
		d.called("0-1 anew", "3-3")
	}, nil)
}

func TestWhatIsLeftAsideAgainStaysThere(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(key("order", 1), 0, "A")
		d.await("test/aside 1 parked 1 look at this")
		d.retry(1)
		d.await("test/aside 1 parked 2 look again")
		d.retry(1)
		d.await("test/aside 1 parked 3 cannot be handled")
		d.retry(1)
		d.await("test/aside 1 resolved 4 cannot be handled")
		d.called("0-0", "0-0 anew", "0-0 anew", "0-0 anew")
	}, &delivery.Park{Subscription: "test/aside", Reason: "look again"}, errPoison, nil)
}

func TestWhatPassesIsTriedAgainAnewButNotForEver(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(key("order", 1), 0, "A")
		d.await("test/aside 1 parked 1 look at this")
		d.retry(1)
		d.await("test/aside 1 parked 2 will pass")
		if calls := len(d.calls); calls != 1+10+6 {
			d.Errorf("%d calls", calls)
		}
	}, append(slices.Repeat([]error{errAbsent}, 10), errPassing)...)
}

func TestAStopLeavesWhatIsHandledAnewToTheNextStart(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(key("order", 1), 0, "A")
		d.await("test/aside 1 parked 1 look at this")
		d.stop()
		blocking := d.options
		began := make(chan struct{})
		blocking.Handle = func(ctx context.Context, _ *pb.EventBook) (string, error) {
			close(began)
			<-ctx.Done()
			return "", ctx.Err()
		}
		d.consumer, d.stop = d.run(blocking)
		d.retry(1)
		<-began
		d.stop()
		d.await("test/aside 1 retry 1 look at this")
		d.run(d.options)
		d.await("test/aside 1 resolved 2 look at this")
		d.called("0-0", "0-0 anew")
	}, nil)
}

func TestWhatIsLeftAsideElsewhereIsLeftAlone(t *testing.T) {
	atDesk(t, func(d *desk) {
		d.append(key("order", 1), 0, "A")
		d.await("test/aside 1 parked 1 look at this")
		d.stop()
		d.options.Aside = ""
		d.consumer, _ = d.run(d.options)
		d.retry(1)
		d.append(key("order", 1), 1, "B")
		d.await("test/aside 1 retry 1 look at this", "test/aside 2 parked 1 look at this")
		d.called("0-0", "1-1")
	}, nil)
}
