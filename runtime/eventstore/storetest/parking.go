package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// parkedAt returns a command's events that could not be handled.
func parkedAt(key book.Key, position uint64) eventstore.Parked {
	return eventstore.Parked{
		Position: position, Key: key, Sequence: uint32(position), Attempts: 3, Reason: "schlägt fehl ✗",
		State: eventstore.StateParked, FirstAt: created, LastAt: created.Add(time.Minute),
	}
}

// within returns parked events as a subscription lists them.
func within(subscription string, parked ...eventstore.Parked) []eventstore.Parked {
	listed := make([]eventstore.Parked, len(parked))
	for i := range parked {
		listed[i] = parked[i]
		listed[i].Subscription = subscription
	}
	return listed
}

// park lets a subscription park events.
func park(t *testing.T, store eventstore.Subscriptions, subscription string, parked ...eventstore.Parked) {
	t.Helper()
	member := joining(subscription, 1)
	advance := advanceBy(subscription, share(t, store, member).Slices, 1)
	advance.Park = parked
	if err := store.Advance(t.Context(), advance); err != nil {
		t.Fatalf("Advance: %v", err)
	}
	share(t, store, leaving(member))
}

// parkedIn lists what a subscription has parked, in whatever state.
func parkedIn(t *testing.T, store eventstore.Parking, subscription string) []eventstore.Parked {
	t.Helper()
	return got(store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: subscription, Limit: 100}))(t)
}

func decide(t *testing.T, store eventstore.Parking, decision eventstore.Decision) {
	t.Helper()
	if err := store.Decide(t.Context(), decision); err != nil {
		t.Fatalf("Decide: %v", err)
	}
}

var parking = map[string]func(*testing.T, eventstore.Store){
	"parked events are found by subscription, state and aggregate": func(t *testing.T, store eventstore.Store) {
		first, second := newKey("order"), newKey("customer")
		one, two, three := parkedAt(first, 2), parkedAt(second, 4), parkedAt(first, 7)
		three.Attempts, three.Reason, three.State = 0, "waits behind position 2", eventstore.StateRetry
		park(t, store, "saga", three, one, two)
		elsewhere := parkedAt(first, 2)
		elsewhere.State = eventstore.StateSkipped
		park(t, store, "projector", elsewhere)
		saga, projector := within("saga", one, two, three), within("projector", elsewhere)
		all := append(within("projector", elsewhere), saga...)

		for _, c := range []struct {
			query eventstore.ParkedQuery
			want  []eventstore.Parked
		}{
			{eventstore.ParkedQuery{}, all},
			{eventstore.ParkedQuery{Subscription: "saga"}, saga},
			{eventstore.ParkedQuery{Subscription: "sag"}, nil},
			{eventstore.ParkedQuery{States: []eventstore.State{eventstore.StateParked}}, saga[:2]},
			{eventstore.ParkedQuery{States: []eventstore.State{eventstore.StateRetry, eventstore.StateSkipped}}, []eventstore.Parked{all[0], all[3]}},
			{eventstore.ParkedQuery{States: []eventstore.State{eventstore.StateResolved}}, nil},
			{eventstore.ParkedQuery{Key: first}, []eventstore.Parked{all[0], all[1], all[3]}},
			{eventstore.ParkedQuery{Key: book.Key{Domain: "customer", Root: first.Root}}, nil},
			{eventstore.ParkedQuery{Subscription: "saga", Key: first, States: []eventstore.State{eventstore.StateParked}}, saga[:1]},
			{eventstore.ParkedQuery{Subscription: "projector", States: []eventstore.State{eventstore.StateParked}}, nil},
			{eventstore.ParkedQuery{Subscription: "projector"}, projector},
		} {
			c.query.Limit = 10
			same(t, "Parked", c.want, got(store.Parked(t.Context(), c.query))(t))
		}
	},

	"parked events are listed page by page": func(t *testing.T, store eventstore.Store) {
		key, other := newKey("order"), newKey("order")
		var all []eventstore.Parked
		for _, subscription := range []string{"a", "b", "c"} {
			var parked []eventstore.Parked
			for position := range uint64(5) {
				parked = append(parked, parkedAt([]book.Key{key, other}[position%2], 1+3*position))
			}
			park(t, store, subscription, parked...)
			all = append(all, within(subscription, parked...)...)
		}
		for _, filter := range []eventstore.ParkedQuery{{}, {Subscription: "b"}, {Key: key}, {Key: key, Subscription: "c"}} {
			var want []eventstore.Parked
			for _, parked := range all {
				if (filter.Subscription == "" || parked.Subscription == filter.Subscription) &&
					(filter.Key == book.Key{} || parked.Key == filter.Key) {
					want = append(want, parked)
				}
			}
			for limit := 1; limit < 17; limit += 3 {
				same(t, "the pages", want, parkedPages(t, store, filter, limit))
			}
		}
		// The place need not be that of a parked event.
		after := eventstore.ParkedQuery{AfterSubscription: "b", AfterPosition: 9, Limit: 100}
		same(t, "after b/9", all[8:], got(store.Parked(t.Context(), after))(t))
		after = eventstore.ParkedQuery{Subscription: "b", AfterSubscription: "b", AfterPosition: 13, Limit: 100}
		same(t, "after the last", []eventstore.Parked(nil), got(store.Parked(t.Context(), after))(t))
	},

	"an aggregate is blocked until all its parked events are decided": func(t *testing.T, store eventstore.Store) {
		first, second := newKey("order"), newKey("customer")
		park(t, store, "saga", parkedAt(first, 2), parkedAt(first, 3), parkedAt(second, 4))
		check := func(want ...book.Key) {
			t.Helper()
			same(t, "Blocked", keySet(want), keySet(got(store.Blocked(t.Context(), "saga"))(t)))
		}
		check(first, second)
		for _, step := range []struct {
			position uint64
			to       eventstore.State
			blocked  []book.Key
		}{
			{2, eventstore.StateResolved, []book.Key{first, second}},
			{3, eventstore.StateRetry, []book.Key{first, second}},
			{3, eventstore.StateSkipped, []book.Key{second}},
			{2, eventstore.StateParked, []book.Key{first, second}},
			{2, eventstore.StateRetry, []book.Key{first, second}},
			{2, eventstore.StateResolved, []book.Key{second}},
			{4, eventstore.StateSkipped, nil},
		} {
			decide(t, store, eventstore.Decision{Subscription: "saga", Position: step.position, To: step.to})
			check(step.blocked...)
		}
		same(t, "another subscription", []book.Key(nil), got(store.Blocked(t.Context(), "other"))(t))
	},

	"parking again keeps the time of the first failure": func(t *testing.T, store eventstore.Store) {
		parked := parkedAt(newKey("order"), 2)
		for i := range 3 {
			parked.Attempts, parked.Reason = 3+i, "still"
			parked.LastAt = created.Add(time.Duration(i) * time.Hour)
			again := parked
			again.FirstAt = parked.LastAt
			park(t, store, "saga", again)
		}
		same(t, "Parked", within("saga", parked), parkedIn(t, store, "saga"))
	},

	"events are parked for another subscription too": func(t *testing.T, store eventstore.Store) {
		parked := parkedAt(newKey("order"), 2)
		parked.Subscription = "projector"
		park(t, store, "saga", parked)
		same(t, "Parked", []eventstore.Parked{parked}, parkedIn(t, store, ""))
	},

	"a decision changes what it names": func(t *testing.T, store eventstore.Store) {
		one, two := parkedAt(newKey("order"), 2), parkedAt(newKey("order"), 5)
		park(t, store, "saga", one, two)
		park(t, store, "projector", one)
		decide(t, store, eventstore.Decision{Subscription: "saga", Position: 2, To: eventstore.StateRetry, Note: "alice: the mail server is back"})
		one.State, one.Note = eventstore.StateRetry, "alice: the mail server is back"
		same(t, "with a note", within("saga", one, two), parkedIn(t, store, "saga"))

		before := time.Now()
		decide(t, store, eventstore.Decision{Subscription: "saga", Position: 2, To: eventstore.StateParked, Attempts: 2, Reason: "is away again"})
		one.State, one.Attempts, one.Reason = eventstore.StateParked, 5, "is away again"
		listed := parkedIn(t, store, "saga")
		if at := listed[0].LastAt; at.Before(before.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("it failed last at %v", at)
		}
		one.LastAt = listed[0].LastAt
		same(t, "with a reason", within("saga", one, two), listed)

		decide(t, store, eventstore.Decision{Subscription: "saga", Position: 2, To: eventstore.StateResolved})
		one.State = eventstore.StateResolved
		same(t, "with nothing more", within("saga", one, two), parkedIn(t, store, "saga"))
		same(t, "another subscription", within("projector", parkedAt(one.Key, 2)), parkedIn(t, store, "projector"))
	},

	"a decision may depend on the state": func(t *testing.T, store eventstore.Store) {
		parked := parkedAt(newKey("order"), 2)
		park(t, store, "saga", parked)
		refuse := func(from ...eventstore.State) {
			t.Helper()
			err := store.Decide(t.Context(), eventstore.Decision{
				Subscription: "saga", Position: 2, From: from, To: eventstore.StateSkipped, Attempts: 1, Reason: "r", Note: "n",
			})
			if !errors.Is(err, eventstore.ErrNotParked) {
				t.Errorf("from %v: got %v, want ErrNotParked", from, err)
			}
		}
		refuse(eventstore.StateRetry)
		refuse(eventstore.StateResolved, eventstore.StateSkipped)
		same(t, "after refusals", within("saga", parked), parkedIn(t, store, "saga"))
		decide(t, store, eventstore.Decision{
			Subscription: "saga", Position: 2, To: eventstore.StateResolved,
			From: []eventstore.State{eventstore.StateRetry, eventstore.StateParked},
		})
		refuse(eventstore.StateRetry, eventstore.StateParked)
		parked.State = eventstore.StateResolved
		same(t, "after a decision", within("saga", parked), parkedIn(t, store, "saga"))
	},

	"what is not parked cannot be decided": func(t *testing.T, store eventstore.Store) {
		park(t, store, "saga", parkedAt(newKey("order"), 2))
		for _, decision := range []eventstore.Decision{
			{Subscription: "saga", Position: 1}, {Subscription: "saga", Position: 3}, {Subscription: "unknown", Position: 2},
		} {
			decision.To = eventstore.StateSkipped
			if err := store.Decide(t.Context(), decision); !errors.Is(err, eventstore.ErrNotParked) {
				t.Errorf("got %v, want ErrNotParked", err)
			}
		}
	},
}

// parkedPages lists parked events to the end.
func parkedPages(t *testing.T, store eventstore.Parking, query eventstore.ParkedQuery, limit int) []eventstore.Parked {
	t.Helper()
	var all []eventstore.Parked
	query.Limit = limit
	for {
		page := got(store.Parked(t.Context(), query))(t)
		if len(page) > limit {
			t.Fatalf("a page of %d is longer than %d", len(page), limit)
		}
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		last := page[len(page)-1]
		query.AfterSubscription, query.AfterPosition = last.Subscription, last.Position
	}
}

func keySet(keys []book.Key) map[book.Key]bool {
	set := make(map[book.Key]bool)
	for _, key := range keys {
		set[key] = true
	}
	return set
}
