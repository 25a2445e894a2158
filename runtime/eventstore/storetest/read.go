package storetest

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var streams = map[string]func(*testing.T, eventstore.Store){
	"an unknown aggregate is empty and no error": func(t *testing.T, store eventstore.Store) {
		known := newKey("order")
		must(t, store, command(known, 0, "a"))
		for _, key := range []book.Key{newKey("order"), {Domain: "customer", Root: known.Root}} {
			same(t, "Aggregate", eventstore.Info{}, got(store.Aggregate(t.Context(), key))(t))
			same(t, "Events", []eventstore.Event(nil), got(store.Events(t.Context(), key, eventstore.All))(t))
			if next := got(store.NextAt(t.Context(), key, 1))(t); next != 0 {
				t.Errorf("NextAt gives %d, want 0", next)
			}
		}
	},

	"a range is inclusive and limited": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		all := must(t, store, command(key, 0, "0", "1", "2"))
		must(t, store, command(newKey("order"), 0, "other"))
		all = append(all, must(t, store, command(key, 3, "3", "4"))...)
		cases := []struct {
			wanted   eventstore.Range
			from, to int
		}{
			{eventstore.All, 0, 5},
			{eventstore.Range{From: 1, To: 3}, 1, 4},
			{eventstore.Range{From: 4, To: 4}, 4, 5},
			{eventstore.Range{From: 0, To: 0}, 0, 1},
			{eventstore.Range{From: 5, To: math.MaxUint32}, 5, 5},
			{eventstore.Range{From: 3, To: 2}, 3, 3},
			{eventstore.Range{From: 1, To: math.MaxUint32, Limit: 2}, 1, 3},
			{eventstore.Range{From: 1, To: 2, Limit: 100}, 1, 3},
		}
		for _, c := range cases {
			events := got(store.Events(t.Context(), key, c.wanted))(t)
			same(t, fmt.Sprintf("%+v", c.wanted), all[c.from:c.to], events)
		}
	},

	"NextAt tells what was next at every position": func(t *testing.T, store eventstore.Store) {
		keys := []book.Key{newKey("a"), newKey("b"), newKey("c")}
		next := make(map[book.Key]uint32)
		history := []map[book.Key]uint32{{}} // by position
		for i := range 40 {
			key := keys[(i*i+i/3)%len(keys)]
			for _, event := range must(t, store, command(key, next[key], []string{"x", "y", "z"}[:1+i%3]...)) {
				next[key] = event.Sequence + 1
				history = append(history, map[book.Key]uint32{keys[0]: next[keys[0]], keys[1]: next[keys[1]], keys[2]: next[keys[2]]})
			}
		}
		for position, want := range history {
			for _, key := range keys {
				if n := got(store.NextAt(t.Context(), key, uint64(position)))(t); n != want[key] {
					t.Errorf("%s at position %d: next is %d, want %d", key, position, n, want[key])
				}
			}
		}
		for _, key := range keys {
			if n := got(store.NextAt(t.Context(), key, math.MaxUint64))(t); n != next[key] {
				t.Errorf("%s at the end of time: next is %d, want %d", key, n, next[key])
			}
		}
	},
}

var logs = map[string]func(*testing.T, eventstore.Store){
	"an empty log has head 0": func(t *testing.T, store eventstore.Store) {
		if head := store.Head(); head != 0 {
			t.Errorf("the head is at %d", head)
		}
		same(t, "ReadLog", []eventstore.Event(nil), got(store.ReadLog(t.Context(), 0, 10))(t))
		same(t, "ReadLog beyond the end", []eventstore.Event(nil), got(store.ReadLog(t.Context(), math.MaxUint64, 10))(t))
	},

	"a page of the log is about as long as asked and cuts no command": func(t *testing.T, store eventstore.Store) {
		key, next := newKey("order"), uint32(0)
		var all []eventstore.Event
		for i := range 12 {
			all = append(all, must(t, store, command(key, next, []string{"1", "2", "3", "4", "5"}[:1+i%5]...))...)
			next = all[len(all)-1].Sequence + 1
		}
		for after := range uint64(len(all) + 1) {
			for _, limit := range []int{1, 2, 3, 7, 100} {
				checkPage(t, all, after, limit, got(store.ReadLog(t.Context(), after, limit))(t))
			}
		}
	},

	"a long log is read without a hole, old and new": func(t *testing.T, store eventstore.Store) {
		const commands, events = 150, 80
		key := newKey("order")
		payloads := make([]string, events)
		for i := range uint32(commands) {
			must(t, store, command(key, i*events, payloads...))
		}
		log := got(wholeLog(t.Context(), store, 500))(t)
		if len(log) != commands*events {
			t.Fatalf("the log has %d events, want %d", len(log), commands*events)
		}
		for i, event := range log {
			if event.Position != uint64(i+1) || event.Sequence != uint32(i) {
				t.Fatalf("event %d has position %d and number %d", i, event.Position, event.Sequence)
			}
		}
	},

	"large events are read page by page": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		payload := strings.Repeat("x", 4<<20)
		for i := range uint32(6) {
			must(t, store, command(key, i, payload))
		}
		log := got(wholeLog(t.Context(), store, 500))(t)
		if len(log) != 6 {
			t.Errorf("the log has %d events, want 6", len(log))
		}
	},

	"Changed tells of every move of the head": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		for i := range uint32(20) {
			changed := store.Changed()
			select {
			case <-changed:
				t.Fatal("the head moved before the append")
			default:
			}
			want := must(t, store, command(key, i, "x"))
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatal("the head did not move")
			}
			if head := store.Head(); head != want[0].Position {
				t.Errorf("the head is at %d, want %d", head, want[0].Position)
			}
		}
	},
}

// checkPage compares a page with the whole log it is of.
func checkPage(t fataler, all []eventstore.Event, after uint64, limit int, page []eventstore.Event) {
	t.Helper()
	rest := all[min(after, uint64(len(all))):]
	want := min(limit, len(rest))
	for want < len(rest) && want > 0 && rest[want-1].Offset < rest[want-1].Count-1 {
		want++
	}
	if len(page) == 0 && want > 0 || len(page) > want {
		t.Fatalf("after %d, limit %d: got %d events, want %d", after, limit, len(page), want)
	}
	for i := range page {
		if page[i].Position != rest[i].Position || page[i].CommandID != rest[i].CommandID || !bytes.Equal(page[i].Payload, rest[i].Payload) {
			t.Fatalf("after %d, limit %d: event %d is %+v, want %+v", after, limit, i, page[i], rest[i])
		}
	}
	if n := len(page); n > 0 && page[n-1].Offset < page[n-1].Count-1 {
		t.Fatalf("after %d, limit %d: the page ends within a command", after, limit)
	}
}

var indexes = map[string]func(*testing.T, eventstore.Store){
	"an unknown command has no events": func(t *testing.T, store eventstore.Store) {
		must(t, store, command(newKey("order"), 0, "a"))
		same(t, "ByCommand", []eventstore.Event(nil), got(store.ByCommand(t.Context(), uuid.New()))(t))
	},

	"a correlation is paged in whole commands": func(t *testing.T, store eventstore.Store) {
		key, other := newKey("order"), newKey("customer")
		var all []eventstore.Event
		next := uint32(0)
		for i := range uint32(8) {
			must(t, store, command(other, i, "noise"))
			request := command(key, next, []string{"1", "2", "3"}[:1+i%3]...)
			request.CorrelationID = "workflow"
			all = append(all, must(t, store, request)...)
			next += uint32(len(request.Events))
		}
		for after := range store.Head() + 2 {
			first := slices.IndexFunc(all, func(e eventstore.Event) bool { return e.Position > after })
			if first < 0 {
				first = len(all)
			}
			for _, limit := range []int{1, 2, 4, 100} {
				page := got(store.ByCorrelation(t.Context(), "workflow", after, limit))(t)
				checkPage(t, all[first:], 0, limit, page)
			}
		}
		same(t, "another correlation", []eventstore.Event(nil), got(store.ByCorrelation(t.Context(), "none", 0, 10))(t))
		same(t, "beyond the end", []eventstore.Event(nil), got(store.ByCorrelation(t.Context(), "workflow", math.MaxUint64, 10))(t))
	},

	"roots are paged in the order of their keys": func(t *testing.T, store eventstore.Store) {
		var want []eventstore.Root
		for i := range 25 {
			request := command(newKey([]string{"order", "customer", "Ünion", "a b"}[i%4]), 0, "x")
			request.Name = fmt.Sprintf("name %d", i)
			must(t, store, request)
			want = append(want, eventstore.Root{Key: request.Key, Name: request.Name})
		}
		slices.SortFunc(want, func(a, b eventstore.Root) int { return compareKeys(a.Key, b.Key) })
		for _, limit := range []int{1, 4, 25, 100} {
			var roots []eventstore.Root
			after := book.Key{}
			for {
				page := got(store.Roots(t.Context(), after, limit))(t)
				if len(page) == 0 {
					break
				}
				if len(page) > limit {
					t.Fatalf("a page of %d roots, limit %d", len(page), limit)
				}
				roots = append(roots, page...)
				after = page[len(page)-1].Key
			}
			same(t, fmt.Sprintf("Roots by %d", limit), want, roots)
		}
	},
}

func compareKeys(a, b book.Key) int {
	return cmp.Or(strings.Compare(a.Domain, b.Domain), bytes.Compare(a.Root[:], b.Root[:]))
}
