package delivery_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/observe"
)

func TestAComponentStandsWhereItsSlowestSliceDoes(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for n := range 3 {
		_, err := store.Append(t.Context(), eventstore.Append{
			CommandID: uuid.New(), Key: book.Key{Domain: "d", Root: uuid.New()}, CorrelationID: "c",
			Events: []eventstore.NewEvent{{TypeURL: "E", CreatedAt: time.Unix(int64(n), 0)}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	member := uuid.New()
	for _, name := range []string{"projector/receipt", "saga/loyalty"} {
		shared, err := store.Share(t.Context(), eventstore.Share{Name: name, Member: member, Slices: 2, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		advance := eventstore.Advance{Name: name, Moves: []eventstore.Move{{Slice: 1, Epoch: shared.Slices[1].Epoch, To: 3}}}
		if name == "saga/loyalty" {
			advance.Moves = append(advance.Moves, eventstore.Move{Slice: 0, Epoch: shared.Slices[0].Epoch, To: 2})
			advance.Park = []eventstore.Parked{{
				Position: 1, Key: book.Key{Domain: "d"}, State: eventstore.StateParked, FirstAt: time.Unix(1, 0), LastAt: time.Unix(1, 0),
			}}
		}
		if err := store.Advance(t.Context(), advance); err != nil {
			t.Fatal(err)
		}
	}
	got, err := delivery.Standings(store)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []observe.Standing{{Component: "projector/receipt"}, {Component: "saga/loyalty", Position: 2, Blocked: 1}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(observe.Standing{}, "UpdatedAt")); diff != "" {
		t.Error(diff)
	}
}
