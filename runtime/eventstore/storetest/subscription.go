package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// advanceBy returns an advance of slices by so many positions.
func advanceBy(subscription string, from []eventstore.Slice, by uint64) eventstore.Advance {
	advance := eventstore.Advance{Name: subscription}
	for _, slice := range from {
		advance.Moves = append(advance.Moves, eventstore.Move{
			Slice: slice.Number, Epoch: slice.Epoch, From: slice.Position, To: slice.Position + by,
		})
	}
	return advance
}

// advanceTo moves slices to a position and remembers it in them.
func advanceTo(t *testing.T, store eventstore.Subscriptions, subscription string, held []eventstore.Slice, to uint64) {
	t.Helper()
	advance := eventstore.Advance{Name: subscription}
	for i := range held {
		advance.Moves = append(advance.Moves, eventstore.Move{
			Slice: held[i].Number, Epoch: held[i].Epoch, From: held[i].Position, To: to,
		})
		held[i].Position = to
	}
	if err := store.Advance(t.Context(), advance); err != nil {
		t.Fatalf("Advance: %v", err)
	}
}

// expectFenced checks that an advance is refused because of these slices.
func expectFenced(t *testing.T, store eventstore.Subscriptions, advance eventstore.Advance, numbers ...int) {
	t.Helper()
	err := store.Advance(t.Context(), advance)
	var fenced *eventstore.Fenced
	if !errors.As(err, &fenced) || !errors.Is(err, eventstore.ErrFenced) {
		t.Fatalf("Advance %+v: got %v, want a Fenced", advance, err)
	}
	slices.Sort(fenced.Slices)
	same(t, "Fenced", eventstore.Fenced{Name: advance.Name, Slices: numbers}, *fenced)
}

// timeless returns positions without the times, once these are of now.
func timeless(t *testing.T, positions []eventstore.Position, since time.Time) []eventstore.Position {
	t.Helper()
	for i := range positions {
		// Another machine may keep the time.
		if at := positions[i].UpdatedAt; at.Before(since.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was updated at %v", positions[i].Name, at)
		}
		positions[i].UpdatedAt = time.Time{}
	}
	return positions
}

// anywhere is the position of a slice that a member holds.
func anywhere(by eventstore.Share, slice eventstore.Slice) eventstore.Position {
	return eventstore.Position{
		Name: by.Name, Slice: slice.Number, Slices: by.Slices, Position: slice.Position, Epoch: slice.Epoch,
		Member: by.Member, Address: by.Address,
	}
}

var subscriptions = map[string]func(*testing.T, eventstore.Store){
	"slices move each by itself or together": func(t *testing.T, store eventstore.Store) {
		before := time.Now()
		b, a := joining("b", 1), joining("a", 3)
		other := share(t, store, b).Slices
		held := share(t, store, a).Slices
		for _, to := range []uint64{3, 3, 10} {
			advanceTo(t, store, "a", held[1:2], to)
		}
		advanceTo(t, store, "a", held[:2], 12)
		share(t, store, leaving(b))
		want := []eventstore.Position{anywhere(a, held[0]), anywhere(a, held[1]), anywhere(a, held[2]), anywhere(nobody, other[0])}
		want[3].Name, want[3].Slices = "b", 1
		same(t, "Positions", want, timeless(t, got(store.Positions(t.Context()))(t), before))
	},

	"slices move all or none, and park only if they move": func(t *testing.T, store eventstore.Store) {
		first := joining("saga", 4)
		held := share(t, store, first).Slices
		advanceTo(t, store, "saga", held, 5)
		wrong := slices.Clone(held)
		wrong[1].Epoch++
		wrong[2].Position--
		refused := advanceBy("saga", wrong, 3)
		refused.Park = []eventstore.Parked{parkedAt(newKey("order"), 7)}
		expectFenced(t, store, refused, 1, 2)
		same(t, "Parked", []eventstore.Parked(nil), parkedIn(t, store, "saga"))
		same(t, "Share", eventstore.Shared{Slices: held}, share(t, store, first))

		accepted := advanceBy("saga", held, 3)
		accepted.Park = refused.Park
		if err := store.Advance(t.Context(), accepted); err != nil {
			t.Fatal(err)
		}
		same(t, "Parked", within("saga", accepted.Park...), parkedIn(t, store, "saga"))
	},

	"whoever has been replaced moves nothing": func(t *testing.T, store eventstore.Store) {
		old, current := joining("saga", 1), joining("saga", 1)
		was := share(t, store, old).Slices
		advanceTo(t, store, "saga", was, 5)
		share(t, store, leaving(old))
		is := share(t, store, current).Slices
		future := slices.Clone(is)
		future[0].Epoch++
		elsewhere := slices.Clone(is)
		elsewhere[0].Position = 4
		beyond := slices.Clone(is)
		beyond[0].Number = 1
		for _, wrong := range [][]eventstore.Slice{was, future, elsewhere, beyond} {
			refused := advanceBy("saga", wrong, 4)
			refused.Park = []eventstore.Parked{parkedAt(newKey("order"), 9)}
			expectFenced(t, store, refused, wrong[0].Number)
		}
		unknown := advanceBy("unknown", is, 4)
		expectFenced(t, store, unknown, 0)
		same(t, "Parked", []eventstore.Parked(nil), parkedIn(t, store, ""))
		advanceTo(t, store, "saga", is, 6)
	},
}
