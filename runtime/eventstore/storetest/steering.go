package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

var steering = map[string]func(*testing.T, eventstore.Store){
	"nobody decides about what is not there": func(t *testing.T, store eventstore.Store) {
		for what, err := range map[string]error{
			"Pause":   store.Pause(t.Context(), eventstore.Pause{Name: "projector/none", Paused: true}),
			"Rewind":  store.Rewind(t.Context(), eventstore.Rewind{Name: "projector/none"}),
			"Rewound": store.Rewound(t.Context(), eventstore.Rewound{Name: "projector/none", Number: 1, Member: uuid.New()}),
		} {
			want := eventstore.ErrNoSubscription
			if what == "Rewound" {
				want = eventstore.ErrFenced
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
		}
		same(t, "Controls", []eventstore.Control(nil), got(store.Controls(t.Context()))(t))
	},

	"a paused subscription is given back, and given out when it goes on": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 4), joining("saga", 4)
		before := share(t, store, first).Slices
		advanceTo(t, store, "saga", before, 5)
		pause := eventstore.Pause{Name: "saga", Paused: true, Note: "alice: the shop is closed"}
		none(t, store.Pause(t.Context(), pause))

		asked := share(t, store, first)
		same(t, "the holder", eventstore.Shared{Slices: holders(before, first, first, first, first), Surplus: 4, Paused: true, Note: pause.Note}, asked)
		rested := share(t, store, giving(first, 0, 1, 2, 3))
		same(t, "at rest", eventstore.Shared{Slices: rested.Slices, Paused: true, Note: pause.Note}, rested)
		same(t, "another one", []int(nil), claims(share(t, store, second), second))
		at := checkControls(t, store, eventstore.Control{Name: "saga", Paused: true, Note: pause.Note})
		if time.Since(at) > time.Hour {
			t.Errorf("it was decided at %s", at)
		}

		pause.Paused, pause.Note = false, "alice: it is open"
		none(t, store.Pause(t.Context(), pause))
		shared := share(t, store, second)
		same(t, "half of it", []int{0, 1}, claims(shared, second))
		same(t, "position", uint64(5), shared.Slices[0].Position)
		same(t, "note", "", shared.Note)
		checkControls(t, store, eventstore.Control{Name: "saga", Note: pause.Note})
	},

	"a rewind waits for all holders, and one member does it": func(t *testing.T, store eventstore.Store) {
		first, second := joining("projector", 2), joining("projector", 2)
		before := share(t, store, first).Slices
		advanceTo(t, store, "projector", before, 9)
		before[0].Position, before[1].Position = 9, 9
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", To: 4, Clear: true, Note: "bob"}))

		same(t, "while it is held", (*eventstore.Rewinding)(nil), share(t, store, second).Rewind)
		holding := share(t, store, giving(first, 1))
		same(t, "while half is held", []any{1, (*eventstore.Rewinding)(nil)}, []any{holding.Surplus, holding.Rewind})
		same(t, "when nothing is held", &eventstore.Rewinding{Number: 1, To: 4, Clear: true}, share(t, store, giving(first, 0)).Rewind)
		same(t, "the other one", (*eventstore.Rewinding)(nil), share(t, store, second).Rewind)
		if err := store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: second.Member}); !errors.Is(err, eventstore.ErrFenced) {
			t.Errorf("by the other one: %v, want ErrFenced", err)
		}
		checkControls(t, store, eventstore.Control{Name: "projector", Note: "bob", Rewinding: true, Number: 1, To: 4, Clear: true})

		none(t, store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: first.Member}))
		shared := share(t, store, second)
		same(t, "afterwards", []int{0}, claims(shared, second))
		same(t, "positions", []uint64{4, 4}, []uint64{shared.Slices[0].Position, shared.Slices[1].Position})
		var fenced *eventstore.Fenced
		if err := store.Advance(t.Context(), advanceBy("projector", before[1:], 1)); !errors.As(err, &fenced) {
			t.Errorf("the former holder moved on: %v", err)
		}
		checkControls(t, store, eventstore.Control{Name: "projector", Note: "bob", Number: 1, To: 4, Clear: true})
	},

	"who held a slice at the place of the rewind cannot move on": func(t *testing.T, store eventstore.Store) {
		first := joining("projector", 1)
		held := share(t, store, first).Slices
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector"}))
		number := share(t, store, giving(first, 0)).Rewind.Number
		none(t, store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: number, Member: first.Member}))
		var fenced *eventstore.Fenced
		if err := store.Advance(t.Context(), advanceBy("projector", held, 3)); !errors.As(err, &fenced) {
			t.Errorf("a claim of before the rewind still moves: %v", err)
		}
	},

	"a newer wish ends an older rewind": func(t *testing.T, store eventstore.Store) {
		first := joining("projector", 1)
		share(t, store, first)
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", To: 2}))
		share(t, store, giving(first, 0))
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", To: 1}))
		if err := store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: first.Member}); !errors.Is(err, eventstore.ErrFenced) {
			t.Errorf("the older one: %v, want ErrFenced", err)
		}
		same(t, "the newer one", &eventstore.Rewinding{Number: 2, To: 1}, share(t, store, first).Rewind)
	},

	"a rewind that fails changes nothing": func(t *testing.T, store eventstore.Store) {
		first := joining("projector", 1)
		before := share(t, store, first).Slices
		advanceTo(t, store, "projector", before, 3)
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", Clear: true, Note: "bob"}))
		share(t, store, giving(first, 0))
		none(t, store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: first.Member, Failed: "it cannot be cleared"}))
		shared := share(t, store, first)
		same(t, "position", uint64(3), shared.Slices[0].Position)
		same(t, "goes on", []int{0}, claims(shared, first))
		checkControls(t, store, eventstore.Control{Name: "projector", Note: "bob", Number: 1, Clear: true, Failed: "it cannot be cleared"})
	},

	"a rewind is done while the subscription is paused": func(t *testing.T, store eventstore.Store) {
		first := joining("projector", 1)
		share(t, store, first)
		none(t, store.Pause(t.Context(), eventstore.Pause{Name: "projector", Paused: true, Note: "alice"}))
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", Note: "bob"}))
		share(t, store, giving(first, 0))
		none(t, store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: first.Member}))
		same(t, "still paused", []int(nil), claims(share(t, store, first), first))
	},

	"a rewind forgets what is parked behind it": func(t *testing.T, store eventstore.Store) {
		first := joining("projector", 1)
		before := share(t, store, first).Slices
		key := newKey("order")
		moves := advanceBy("projector", before, 3)
		moves.Park = []eventstore.Parked{parkedAt(key, 1), parkedAt(key, 3)}
		none(t, store.Advance(t.Context(), moves))
		none(t, store.Rewind(t.Context(), eventstore.Rewind{Name: "projector", To: 1}))
		share(t, store, giving(first, 0))
		none(t, store.Rewound(t.Context(), eventstore.Rewound{Name: "projector", Number: 1, Member: first.Member}))
		left := got(store.Parked(t.Context(), eventstore.ParkedQuery{Subscription: "projector", Limit: 9}))(t)
		if len(left) != 1 || left[0].Position != 1 {
			t.Errorf("parked are %+v, want the one at position 1", left)
		}
	},
}

// checkControls looks at what has been decided about one subscription, and returns
// when.
func checkControls(t *testing.T, store eventstore.Store, want eventstore.Control) time.Time {
	t.Helper()
	controls := got(store.Controls(t.Context()))(t)
	if len(controls) != 1 {
		t.Fatalf("%d decisions are listed, want 1: %+v", len(controls), controls)
	}
	at := controls[0].At
	controls[0].At = time.Time{}
	same(t, "Controls", want, controls[0])
	return at
}

func none(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
