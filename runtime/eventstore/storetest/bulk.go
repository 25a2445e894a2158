package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var bulk = map[string]func(*testing.T, eventstore.Store){
	"several appends are stored in the order given": func(t *testing.T, store eventstore.Store) {
		keys := []book.Key{newKey("order"), newKey("customer"), newKey("order")}
		next := map[book.Key]uint32{}
		var requests []eventstore.Append
		for i := range 1500 {
			key := keys[(i*i+i/7)%len(keys)]
			payloads := []string{fmt.Sprint(i), "b", "c"}[:1+i%3]
			requests = append(requests, command(key, next[key], payloads...))
			next[key] += uint32(len(payloads))
		}
		var want []eventstore.Event
		for i, result := range store.AppendAll(t.Context(), requests) {
			if result.Err != nil {
				t.Fatalf("append %d: %v", i, result.Err)
			}
			want = append(want, stored(requests[i], uint64(len(want)+1))...)
			if result.Last != uint64(len(want)) || result.Duplicate {
				t.Fatalf("append %d: got %+v, want the position %d", i, result.Appended, len(want))
			}
		}
		same(t, "the log", want, got(wholeLog(t.Context(), store, 100))(t))
		same(t, "none", 0, len(store.AppendAll(t.Context(), nil)))
	},

	"each of several appends is decided on its own": func(t *testing.T, store eventstore.Store) {
		key, other := newKey("order"), newKey("order")
		known := command(key, 0, "a")
		want := must(t, store, known)
		known.Repeatable = true
		late, invalid, conflicting := command(other, 0, "b"), command(other, 1), command(key, 0, "x")
		fresh := command(key, 1, "c")
		unannounced := known
		unannounced.Repeatable, unannounced.Next = false, 2
		results := store.AppendAll(t.Context(), []eventstore.Append{known, conflicting, late, invalid, fresh, unannounced})
		same(t, "the repeated one", eventstore.Appended{Next: 1, Last: 1, Duplicate: true, Events: want}, results[0].Appended)
		if conflict := (*eventstore.Conflict)(nil); !errors.As(results[1].Err, &conflict) || *conflict != (eventstore.Conflict{Key: key, Want: 0, Next: 1}) {
			t.Errorf("got %v, want a conflict at 1", results[1].Err)
		}
		if results[3].Err == nil {
			t.Error("an append without events was accepted")
		}
		for _, i := range []int{0, 2, 4, 5} {
			if results[i].Err != nil {
				t.Errorf("append %d: %v", i, results[i].Err)
			}
		}
		if !results[5].Duplicate {
			t.Errorf("got %+v for a command that was announced as new, want a duplicate", results[5])
		}
		want = append(append(want, stored(late, 2)...), stored(fresh, 3)...)
		same(t, "the log", want, got(wholeLog(t.Context(), store, 10))(t))
	},
}
