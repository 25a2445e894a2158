package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var lifecycle = map[string]func(*testing.T, Driver){
	"every log has an epoch of its own": func(t *testing.T, driver Driver) {
		first, second := open(t, driver), open(t, driver)
		if first.Epoch() == uuid.Nil || first.Epoch() == second.Epoch() {
			t.Errorf("the epochs are %s and %s", first.Epoch(), second.Epoch())
		}
	},

	"closing twice is harmless": func(t *testing.T, driver Driver) {
		store := open(t, driver)
		for range 2 {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	},

	"a closed store says so": func(t *testing.T, driver Driver) {
		store := open(t, driver)
		key := newKey("order")
		must(t, store, command(key, 0, "a"))
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for name, call := range everyCall(store, key) {
			if err := call(t.Context()); !errors.Is(err, eventstore.ErrClosed) {
				t.Errorf("%s: got %v, want ErrClosed", name, err)
			}
		}
	},

	"closing sees accepted appends through": func(t *testing.T, driver Driver) {
		at := driver.New(t)
		store := reopen(t, at)
		const callers = 64
		first := make(chan struct{}, callers)
		var accepted sync.Map
		var wait sync.WaitGroup
		for range callers {
			wait.Go(func() {
				for {
					request := command(newKey("order"), 0, "a")
					_, err := store.Append(t.Context(), request)
					if errors.Is(err, eventstore.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("Append: %v", err)
						return
					}
					accepted.Store(request.CommandID, true)
					first <- struct{}{}
				}
			})
		}
		for range callers {
			<-first
		}
		go func() {
			for range first { // nobody may wait here for ever
			}
		}()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		wait.Wait()
		close(first)
		if !driver.Durable {
			return
		}
		store = reopen(t, at)
		for _, event := range got(wholeLog(t.Context(), store, 500))(t) {
			accepted.Delete(event.CommandID)
		}
		accepted.Range(func(id, _ any) bool {
			t.Errorf("command %s was confirmed and is not there", id)
			return true
		})
	},

	"the store behaves like the model of it": behavesLikeModel,
}

// durability holds what only a durable driver can be asked.
var durability = map[string]func(*testing.T, Driver){
	"a store opened again holds what it held before": holdsEverything,
}

// everyCall returns a call of each method that can fail.
func everyCall(store eventstore.Store, key book.Key) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Append": func(ctx context.Context) error {
			_, err := store.Append(ctx, command(key, 1, "b"))
			return err
		},
		"AppendAll": func(ctx context.Context) error {
			return store.AppendAll(ctx, []eventstore.Append{command(key, 1, "b")})[0].Err
		},
		"SaveSnapshot": func(ctx context.Context) error {
			return store.SaveSnapshot(ctx, eventstore.Snapshot{Key: key})
		},
		"Aggregate": func(ctx context.Context) error { _, err := store.Aggregate(ctx, key); return err },
		"Load":      func(ctx context.Context) error { _, _, err := store.Load(ctx, key, true); return err },
		"Events":    func(ctx context.Context) error { _, err := store.Events(ctx, key, eventstore.All); return err },
		"NextAt":    func(ctx context.Context) error { _, err := store.NextAt(ctx, key, 1); return err },
		"ReadLog":   func(ctx context.Context) error { _, err := store.ReadLog(ctx, 0, 1); return err },
		"ByCommand": func(ctx context.Context) error { _, err := store.ByCommand(ctx, uuid.New()); return err },
		"ByCorrelation": func(ctx context.Context) error {
			_, err := store.ByCorrelation(ctx, "c", 0, 1)
			return err
		},
		"Domains":   func(ctx context.Context) error { _, err := store.Domains(ctx); return err },
		"Summary":   func(ctx context.Context) error { _, err := store.Summary(ctx, key); return err },
		"Summaries": func(ctx context.Context) error { return summariesFail(ctx, store, key.Domain) },
		"Latest": func(ctx context.Context) error {
			_, _, err := store.Latest(ctx, eventstore.LatestQuery{Before: 2, Look: 1, Limit: 1})
			return err
		},
		"Roots":   func(ctx context.Context) error { _, err := store.Roots(ctx, book.Key{}, 1); return err },
		"Share":   func(ctx context.Context) error { _, err := store.Share(ctx, joining("name", 2)); return err },
		"Advance": func(ctx context.Context) error { return store.Advance(ctx, eventstore.Advance{Name: "name"}) },
		"Positions": func(ctx context.Context) error {
			_, err := store.Positions(ctx)
			return err
		},
		"Parked": func(ctx context.Context) error {
			_, err := store.Parked(ctx, eventstore.ParkedQuery{Limit: 1})
			return err
		},
		"Blocked": func(ctx context.Context) error { _, err := store.Blocked(ctx, "name"); return err },
		"Decide": func(ctx context.Context) error {
			return store.Decide(ctx, eventstore.Decision{Subscription: "name", Position: 1, To: eventstore.StateSkipped})
		},
	}
}

// summariesFail returns the errors of both orders.
func summariesFail(ctx context.Context, store eventstore.Survey, domain string) error {
	_, byName := store.Summaries(ctx, eventstore.SummaryQuery{Domain: domain, Limit: 1})
	_, byRoot := store.Summaries(ctx, eventstore.SummaryQuery{Domain: domain, ByRoot: true, Limit: 1})
	if byName == nil || byRoot == nil {
		return fmt.Errorf("only one order fails: by name %v, by root %v", byName, byRoot) //nolint:errorlint // neither is to be found in it
	}
	return byName
}

// contents is everything that can be read of a store.
type contents struct {
	Epoch     uuid.UUID
	Head      uint64
	Log       []eventstore.Event
	Roots     []eventstore.Root
	Infos     []eventstore.Info
	Domains   []eventstore.Domain
	Named     []eventstore.Summary
	Latest    []eventstore.Summary
	Positions []eventstore.Position
	Parked    []eventstore.Parked
}

func contentsOf(t *testing.T, store eventstore.Store) contents {
	t.Helper()
	all := contents{
		Epoch: store.Epoch(), Head: store.Head(),
		Log:       got(wholeLog(t.Context(), store, 500))(t),
		Roots:     got(store.Roots(t.Context(), book.Key{}, 100))(t),
		Positions: got(store.Positions(t.Context()))(t),
		Parked:    parkedIn(t, store, ""),
		Domains:   got(store.Domains(t.Context()))(t),
		Latest:    latest(t, store, eventstore.LatestQuery{Before: store.Head() + 1, Look: 100, Limit: 100}),
	}
	for _, domain := range all.Domains {
		all.Named = append(all.Named, paged(t, store, eventstore.SummaryQuery{Domain: domain.Name, Limit: 100})...)
	}
	for i := range all.Positions {
		// A lease need not outlive a Close.
		all.Positions[i].Member, all.Positions[i].Address = uuid.Nil, ""
	}
	for _, root := range all.Roots {
		all.Infos = append(all.Infos, got(store.Aggregate(t.Context(), root.Key))(t))
	}
	return all
}

func holdsEverything(t *testing.T, driver Driver) {
	at := driver.New(t)
	store := reopen(t, at)
	var requests []eventstore.Append
	for i := range 10 {
		request := command(newKey("order"), 0, "a", "b")
		request.Trace = fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)
		if i%2 == 0 {
			request.Name = "name"
			request.Snapshot = &eventstore.Snapshot{Key: request.Key, Sequence: 1, TypeURL: "t/State", State: []byte("ab")}
		}
		must(t, store, request)
		requests = append(requests, request)
	}
	held := share(t, store, joining("saga", 3)).Slices
	advanceTo(t, store, "saga", held[1:], 4)
	park(t, store, "projector", parkedAt(requests[1].Key, 4))
	decide(t, store, eventstore.Decision{Subscription: "projector", Position: 4, To: eventstore.StateRetry, Note: "once more"})
	want := contentsOf(t, store)
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = reopen(t, at)
		same(t, "contents", want, contentsOf(t, store))
	}
	again := requests[3]
	again.Repeatable = true
	if answer := got(store.Append(t.Context(), again))(t); !answer.Duplicate {
		t.Errorf("a repeated command was stored again: %+v", answer)
	}
	must(t, store, command(requests[0].Key, 2, "c"))
	// Nobody has taken the slices meanwhile, so they are still the member's.
	advanceTo(t, store, "saga", held, 5)
}
