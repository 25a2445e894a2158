package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var subscriptions = map[string]func(*testing.T, eventstore.Store){
	"a new subscription begins at the beginning": func(t *testing.T, store eventstore.Store) {
		claim := got(store.Claim(t.Context(), "projector/receipt"))(t)
		same(t, "Claim", eventstore.Claim{Name: "projector/receipt", Position: 0, Epoch: claim.Epoch}, claim)
		again := got(store.Claim(t.Context(), "projector/receipt"))(t)
		same(t, "Claim", eventstore.Claim{Name: "projector/receipt", Position: 0, Epoch: claim.Epoch + 1}, again)
	},

	"a claim moves its subscription": func(t *testing.T, store eventstore.Store) {
		before := time.Now()
		other := got(store.Claim(t.Context(), "b"))(t)
		claim := got(store.Claim(t.Context(), "a"))(t)
		for _, to := range []uint64{3, 3, 10} {
			if err := store.Advance(t.Context(), move(&claim, to)); err != nil {
				t.Fatal(err)
			}
		}
		positions := got(store.Positions(t.Context()))(t)
		for i := range positions {
			if positions[i].UpdatedAt.Before(before.Add(-time.Second)) || positions[i].UpdatedAt.After(time.Now().Add(time.Second)) {
				t.Errorf("%s was updated at %v", positions[i].Name, positions[i].UpdatedAt)
			}
			positions[i].UpdatedAt = time.Time{}
		}
		want := []eventstore.Position{
			{Name: "a", Position: 10, Epoch: claim.Epoch}, {Name: "b", Position: 0, Epoch: other.Epoch},
		}
		same(t, "Positions", want, positions)
	},

	"whoever has been replaced moves nothing": func(t *testing.T, store eventstore.Store) {
		old := got(store.Claim(t.Context(), "saga"))(t)
		if err := store.Advance(t.Context(), move(&old, 5)); err != nil {
			t.Fatal(err)
		}
		current := got(store.Claim(t.Context(), "saga"))(t)
		same(t, "Claim", eventstore.Claim{Name: "saga", Position: 5, Epoch: old.Epoch + 1}, current)
		unknown := eventstore.Claim{Name: "unknown", Epoch: 1}
		wrongPlace := eventstore.Claim{Name: "saga", Epoch: current.Epoch, Position: 4}
		future := eventstore.Claim{Name: "saga", Epoch: current.Epoch + 1, Position: 5}
		for _, claim := range []eventstore.Claim{old, unknown, wrongPlace, future} {
			refused := move(&claim, 9)
			refused.Park = []eventstore.Parked{parkedAt(newKey("order"), 9)}
			if err := store.Advance(t.Context(), refused); !errors.Is(err, eventstore.ErrFenced) {
				t.Errorf("%+v: got %v, want ErrFenced", claim, err)
			}
			same(t, "Parked", []eventstore.Parked(nil), got(store.Parked(t.Context(), claim.Name, 0, 10))(t))
		}
		if err := store.Advance(t.Context(), move(&current, 6)); err != nil {
			t.Errorf("the current claim: %v", err)
		}
	},
}

// move returns an advance of a claim and moves the claim along.
func move(claim *eventstore.Claim, to uint64) eventstore.Advance {
	from := claim.Position
	claim.Position = to
	return eventstore.Advance{Name: claim.Name, Epoch: claim.Epoch, From: from, To: to}
}

// parkedAt returns a command's events that could not be handled.
func parkedAt(key book.Key, position uint64) eventstore.Parked {
	return eventstore.Parked{
		Position: position, Key: key, Sequence: uint32(position), Attempts: 3, Reason: "schlägt fehl ✗",
		State: eventstore.StateParked, FirstAt: created, LastAt: created.Add(time.Minute),
	}
}

// within returns parked events as a subscription lists them.
func within(subscription string, parked ...eventstore.Parked) []eventstore.Parked {
	for i := range parked {
		parked[i].Subscription = subscription
	}
	return parked
}

var parking = map[string]func(*testing.T, eventstore.Store){
	"parked events are listed, page by page, until they are decided": func(t *testing.T, store eventstore.Store) {
		first, second := newKey("order"), newKey("customer")
		one, two, three := parkedAt(first, 2), parkedAt(second, 4), parkedAt(first, 7)
		three.Attempts, three.Reason = 0, "waits behind position 2"
		claim := got(store.Claim(t.Context(), "saga"))(t)
		advance := move(&claim, 7)
		advance.Park = []eventstore.Parked{one, two, three}
		if err := store.Advance(t.Context(), advance); err != nil {
			t.Fatal(err)
		}
		same(t, "Parked", within("saga", one, two, three), got(store.Parked(t.Context(), "saga", 0, 10))(t))
		same(t, "the first page", within("saga", one, two), got(store.Parked(t.Context(), "saga", 0, 2))(t))
		same(t, "the second page", within("saga", three), got(store.Parked(t.Context(), "saga", 4, 2))(t))
		same(t, "another subscription", []eventstore.Parked(nil), got(store.Parked(t.Context(), "other", 0, 10))(t))

		if err := store.SetParked(t.Context(), "saga", 2, eventstore.StateResolved); err != nil {
			t.Fatal(err)
		}
		same(t, "after a resolution", within("saga", two, three), got(store.Parked(t.Context(), "saga", 0, 10))(t))
		if err := store.SetParked(t.Context(), "saga", 7, eventstore.StateSkipped); err != nil {
			t.Fatal(err)
		}
		same(t, "after a skip", within("saga", two), got(store.Parked(t.Context(), "saga", 0, 10))(t))
	},

	"an aggregate is blocked while it has parked events": func(t *testing.T, store eventstore.Store) {
		first, second := newKey("order"), newKey("customer")
		claim := got(store.Claim(t.Context(), "saga"))(t)
		advance := move(&claim, 7)
		advance.Park = []eventstore.Parked{parkedAt(first, 2), parkedAt(first, 3), parkedAt(second, 4)}
		if err := store.Advance(t.Context(), advance); err != nil {
			t.Fatal(err)
		}
		check := func(want ...book.Key) {
			t.Helper()
			same(t, "Blocked", keySet(want), keySet(got(store.Blocked(t.Context(), "saga"))(t)))
		}
		check(first, second)
		decide := func(position uint64, state eventstore.State) {
			t.Helper()
			if err := store.SetParked(t.Context(), "saga", position, state); err != nil {
				t.Fatal(err)
			}
		}
		decide(2, eventstore.StateResolved)
		check(first, second)
		decide(3, eventstore.StateSkipped)
		check(second)
		decide(2, eventstore.StateParked)
		check(first, second)
		same(t, "another subscription", []book.Key(nil), got(store.Blocked(t.Context(), "other"))(t))
	},

	"parking again keeps the time of the first failure": func(t *testing.T, store eventstore.Store) {
		parked := parkedAt(newKey("order"), 2)
		claim := got(store.Claim(t.Context(), "saga"))(t)
		for i := range 3 {
			parked.Attempts, parked.Reason = 3+i, "still"
			parked.LastAt = created.Add(time.Duration(i) * time.Hour)
			again := parked
			again.FirstAt = parked.LastAt
			advance := move(&claim, 2)
			advance.Park = []eventstore.Parked{again}
			if err := store.Advance(t.Context(), advance); err != nil {
				t.Fatal(err)
			}
		}
		same(t, "Parked", within("saga", parked), got(store.Parked(t.Context(), "saga", 0, 10))(t))
	},

	"what is not parked cannot be decided": func(t *testing.T, store eventstore.Store) {
		for _, name := range []string{"saga", "unknown"} {
			err := store.SetParked(t.Context(), name, 1, eventstore.StateSkipped)
			if !errors.Is(err, eventstore.ErrNotParked) {
				t.Errorf("got %v, want ErrNotParked", err)
			}
		}
	},
}

func keySet(keys []book.Key) map[book.Key]bool {
	set := make(map[book.Key]bool)
	for _, key := range keys {
		set[key] = true
	}
	return set
}
