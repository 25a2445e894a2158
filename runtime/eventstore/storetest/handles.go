package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// patience is how long another process may take to hear of an append.
const patience = 30 * time.Second

// severalHandles holds what is asked of a driver whose stores several processes
// may have open.
var severalHandles = map[string]func(*testing.T, Driver){
	"processes see each other's events": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		if a.Epoch() != b.Epoch() {
			t.Errorf("the epochs are %s and %s", a.Epoch(), b.Epoch())
		}
		key := newKey("order")
		request := command(key, 0, "1", "2")
		request.Name = "order-1"
		all := must(t, a, request)
		reach(t, b, 2)
		same(t, "the log", all, got(wholeLog(t.Context(), b, 1))(t))
		same(t, "Aggregate", eventstore.Info{Next: 2, Name: "order-1"}, got(b.Aggregate(t.Context(), key))(t))

		request = command(key, 2, "3")
		request.Name = "order-1"
		all = append(all, must(t, b, request)...)
		reach(t, a, 3)
		same(t, "the log", all, got(wholeLog(t.Context(), a, 100))(t))
		same(t, "Events", all, got(a.Events(t.Context(), key, eventstore.All))(t))
		_, loaded, err := a.Load(t.Context(), key, true)
		same(t, "Load", all, got(loaded, err)(t))
	},

	"who follows the log in one process sees the events of all": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		if err := followed(t.Context(), &alternating{Store: b, stores: []eventstore.Store{a, b}}, 16, 40); err != nil {
			t.Error(err)
		}
	},

	"appends and reads of all processes take effect one after the other": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		linearizable(t, a, b)
	},

	"of concurrent appends at one number one is stored": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		key := newKey("order")
		for number := range uint32(30) {
			var callers errgroup.Group
			var mu sync.Mutex
			stored := 0
			for i := range 4 {
				callers.Go(func() error {
					_, err := []eventstore.Store{a, b}[i%2].Append(t.Context(), command(key, number, fmt.Sprint(i)))
					var conflict *eventstore.Conflict
					if errors.As(err, &conflict) {
						if conflict.Next != number+1 {
							return fmt.Errorf("a conflict at %d names %d", number, conflict.Next)
						}
						return nil
					}
					mu.Lock()
					stored++
					mu.Unlock()
					return err
				})
			}
			if err := callers.Wait(); err != nil || stored != 1 {
				t.Fatalf("%d of 4 appends at number %d were stored, %v", stored, number, err)
			}
		}
	},

	"a command that was stored by one process is known to the other": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		key := newKey("order")
		request := command(key, 0, "1", "2")
		want := must(t, a, request)
		for _, repeatable := range []bool{true, false} {
			request.Repeatable = repeatable
			answer := got(b.Append(t.Context(), request))(t)
			same(t, "the answer", eventstore.Appended{Next: 2, Last: 2, Duplicate: true, Events: want}, answer)
		}
		if _, err := b.Append(t.Context(), command(key, 1, "x")); !errors.As(err, new(*eventstore.Conflict)) {
			t.Errorf("got %v, want a conflict", err)
		}
	},

	"domains are counted exactly whoever appends": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		const writers, commands = 8, 25
		var callers errgroup.Group
		for i := range writers {
			callers.Go(func() error {
				key := newKey([]string{"order", "customer"}[i/2%2])
				for next := range uint32(commands) {
					if _, err := []eventstore.Store{a, b}[i%2].Append(t.Context(), command(key, 3*next, "1", "2", "3")); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := callers.Wait(); err != nil {
			t.Fatal(err)
		}
		reach(t, a, 3*writers*commands)
		want := counted(got(wholeLog(t.Context(), a, 500))(t))
		same(t, "Domains", want, got(a.Domains(t.Context()))(t))
		same(t, "Domains", want, got(b.Domains(t.Context()))(t))
	},

	"slices go from one process to the other": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		first, second := joining("saga", 2), joining("saga", 2)
		before := share(t, a, first).Slices
		advanceTo(t, a, "saga", before, 7)
		share(t, b, second)
		if surplus := share(t, a, first).Surplus; surplus != 1 {
			t.Errorf("one of two with both slices has %d too many, want 1", surplus)
		}
		share(t, a, giving(first, 1))
		after := share(t, b, second).Slices
		want := holders(before, first, second)
		want[1].Epoch++
		same(t, "Share", want, after)
		expectFenced(t, a, advanceBy("saga", before, 1), 1)
		advanceTo(t, a, "saga", before[:1], 8)
		advanceTo(t, b, "saga", after[1:], 9)
		same(t, "Positions", got(a.Positions(t.Context()))(t), got(b.Positions(t.Context()))(t))
	},

	"parked events are decided in any process": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		key := newKey("order")
		park(t, a, "saga", parkedAt(key, 2))
		same(t, "Blocked", []book.Key{key}, got(b.Blocked(t.Context(), "saga"))(t))
		decide(t, b, eventstore.Decision{Subscription: "saga", Position: 2, To: eventstore.StateSkipped})
		same(t, "Blocked", []book.Key(nil), got(a.Blocked(t.Context(), "saga"))(t))
	},

	"one process closes and the other goes on": func(t *testing.T, driver Driver) {
		a, b := twoHandles(t, driver)
		key := newKey("order")
		must(t, a, command(key, 0, "1"))
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		must(t, b, command(key, 1, "2"))
		if head := b.Head(); head != 2 {
			t.Errorf("the head is at %d, want 2", head)
		}
	},
}

// twoHandles opens one new store twice.
func twoHandles(t *testing.T, driver Driver) (a, b eventstore.Store) {
	t.Helper()
	at := driver.New(t)
	return reopen(t, at), reopen(t, at)
}

// reach waits until a store has heard of a position.
func reach(t *testing.T, log eventstore.Log, position uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		changed := log.Changed()
		if log.Head() >= position {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the head is at %d after %s, want %d", log.Head(), patience, position)
		}
	}
}

// alternating appends to several stores of one log in turn and reads the first.
type alternating struct {
	eventstore.Store
	stores []eventstore.Store
	mu     sync.Mutex
	turn   int
}

func (a *alternating) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	a.mu.Lock()
	a.turn++
	store := a.stores[a.turn%len(a.stores)]
	a.mu.Unlock()
	return store.Append(ctx, request)
}
