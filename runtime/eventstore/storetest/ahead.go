package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// ahead holds what is asked of stores that take appends in the order in which
// they are handed over.
var ahead = map[string]func(*testing.T, eventstore.Store, eventstore.Ahead){
	"appends that follow one another are stored in the order given": func(t *testing.T, store eventstore.Store, taker eventstore.Ahead) {
		key := newKey("order")
		var outcomes []func() (eventstore.Appended, error)
		var want []eventstore.Event
		follows := uuid.Nil
		for i := range uint32(500) {
			request := command(key, i, fmt.Sprint(i))
			outcomes = append(outcomes, got(taker.AppendAhead(t.Context(), request, follows))(t))
			want = append(want, stored(request, uint64(i)+1)...)
			follows = request.CommandID
		}
		for i, outcome := range outcomes {
			same(t, "the outcome", eventstore.Appended{Next: uint32(i) + 1, Last: uint64(i) + 1}, got(outcome())(t))
		}
		same(t, "the log", want, got(wholeLog(t.Context(), store, 100))(t))
	},

	"a number that fits does not make up for events that are not there": func(t *testing.T, store eventstore.Store, taker eventstore.Ahead) {
		key := newKey("order")
		lost, other, resting := command(key, 0, "lost"), command(key, 0, "other"), command(key, 1, "resting")
		want := must(t, store, other)
		_, err := got(taker.AppendAhead(t.Context(), resting, lost.CommandID))(t)()
		var conflict *eventstore.Conflict
		if !errors.As(err, &conflict) || *conflict != (eventstore.Conflict{Key: key, Want: 1, Next: 1}) {
			t.Errorf("got %v, want a conflict", err)
		}
		same(t, "the log", want, got(wholeLog(t.Context(), store, 100))(t))
		same(t, "the right one", eventstore.Appended{Next: 2, Last: 2}, got(got(taker.AppendAhead(t.Context(), resting, other.CommandID))(t)())(t))
	},

	"what follows a refused append is refused": func(t *testing.T, store eventstore.Store, taker eventstore.Ahead) {
		key := newKey("order")
		refused, resting := command(key, 3, "refused"), command(key, 4, "resting")
		outcomes := []func() (eventstore.Appended, error){
			got(taker.AppendAhead(t.Context(), refused, uuid.Nil))(t), got(taker.AppendAhead(t.Context(), resting, refused.CommandID))(t),
		}
		for i, outcome := range outcomes {
			var conflict *eventstore.Conflict
			if _, err := outcome(); !errors.As(err, &conflict) || conflict.Next != 0 {
				t.Errorf("append %d: got %v, want a conflict at 0", i, err)
			}
		}
		same(t, "the head", uint64(0), store.Head())
	},
}
