package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var appending = map[string]func(*testing.T, eventstore.Store){
	"an append is read back with all it holds": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		request := command(key, 0, "created", "paid")
		request.Name, request.CorrelationID, request.Causation = "order-1", "workflow-7", "saga customer/1/0"
		request.Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		want := must(t, store, request)
		if want[0].Position != 1 {
			t.Errorf("the first event has position %d, want 1", want[0].Position)
		}
		same(t, "Events", want, got(store.Events(t.Context(), key, eventstore.All))(t))
		same(t, "ReadLog", want, got(store.ReadLog(t.Context(), 0, 10))(t))
		same(t, "ByCommand", want, got(store.ByCommand(t.Context(), request.CommandID))(t))
		same(t, "ByCorrelation", want, got(store.ByCorrelation(t.Context(), "workflow-7", 0, 10))(t))
		same(t, "Aggregate", eventstore.Info{Next: 2, Name: "order-1"}, got(store.Aggregate(t.Context(), key))(t))
		_, events, err := store.Load(t.Context(), key, true)
		same(t, "Load", want, got(events, err)(t))
	},

	"positions follow the order of commits over all aggregates": func(t *testing.T, store eventstore.Store) {
		first, second := newKey("order"), newKey("customer")
		var want []eventstore.Event
		for i := range uint32(10) {
			want = append(want, must(t, store, command(first, 2*i, "a", "b"))...)
			want = append(want, must(t, store, command(second, i, "c"))...)
		}
		for i, event := range want {
			if event.Position != uint64(i+1) {
				t.Fatalf("event %d has position %d", i, event.Position)
			}
		}
		same(t, "the log", want, got(wholeLog(t.Context(), store, 7))(t))
	},

	"a wrong next number is a conflict and stores nothing": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		want := must(t, store, command(key, 0, "a", "b"))
		for _, next := range []uint32{0, 1, 3, math.MaxUint32 - 1} {
			_, err := store.Append(t.Context(), command(key, next, "x"))
			var conflict *eventstore.Conflict
			if !errors.As(err, &conflict) {
				t.Fatalf("Append at %d: got %v, want a conflict", next, err)
			}
			same(t, "the conflict", eventstore.Conflict{Key: key, Want: next, Next: 2}, *conflict)
		}
		_, err := store.Append(t.Context(), command(newKey("order"), 1, "x"))
		if conflict := (*eventstore.Conflict)(nil); !errors.As(err, &conflict) || conflict.Next != 0 {
			t.Errorf("Append to a new aggregate at 1: got %v, want a conflict at 0", err)
		}
		same(t, "the log", want, got(wholeLog(t.Context(), store, 10))(t))
		if _, err := store.Aggregate(t.Context(), key); err != nil {
			t.Error(err)
		}
	},

	"a repeated command is answered with what was stored then": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		must(t, store, command(key, 0, "a"))
		request := command(key, 1, "b", "c")
		request.Repeatable = true
		want := must(t, store, request)
		must(t, store, command(key, 3, "d"))
		// The repetition may have been decided on other events than the first.
		again := command(key, 4, "e")
		again.CommandID, again.Repeatable = request.CommandID, true
		for _, repetition := range []eventstore.Append{request, again} {
			answer := got(store.Append(t.Context(), repetition))(t)
			same(t, "the answer", eventstore.Appended{Next: 4, Last: 3, Duplicate: true, Events: want}, answer)
		}
		if head := store.Head(); head != 4 {
			t.Errorf("the head is at %d, want 4", head)
		}
	},

	"a command that was announced as new but is not is answered as repeated": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		request := command(key, 0, "a")
		want := must(t, store, request)
		request.Next = 1
		answer := got(store.Append(t.Context(), request))(t)
		same(t, "the answer", eventstore.Appended{Next: 1, Last: 1, Duplicate: true, Events: want}, answer)
		same(t, "the log", want, got(wholeLog(t.Context(), store, 10))(t))
	},

	"a command id belongs to one aggregate": func(t *testing.T, store eventstore.Store) {
		request := command(newKey("order"), 0, "a")
		must(t, store, request)
		request.Key = newKey("order")
		for _, repeatable := range []bool{true, false} {
			request.Repeatable = repeatable
			_, err := store.Append(t.Context(), request)
			if conflict := (*eventstore.Conflict)(nil); err == nil || errors.As(err, &conflict) {
				t.Errorf("repeatable %t: got %v, want another error", repeatable, err)
			}
		}
		same(t, "Aggregate", eventstore.Info{}, got(store.Aggregate(t.Context(), request.Key))(t))
		same(t, "Roots", 1, len(got(store.Roots(t.Context(), book.Key{}, 10))(t)))
	},

	"what no log could accept is refused": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		change := func(change func(*eventstore.Append)) eventstore.Append {
			request := command(key, 0, "a", "b")
			change(&request)
			return request
		}
		requests := map[string]eventstore.Append{
			"no events":           change(func(r *eventstore.Append) { r.Events = nil }),
			"no command id":       change(func(r *eventstore.Append) { r.CommandID = uuid.Nil }),
			"no domain":           change(func(r *eventstore.Append) { r.Key.Domain = "" }),
			"too many events":     change(func(r *eventstore.Append) { r.Next = math.MaxUint32 - 1 }),
			"snapshot of another": change(func(r *eventstore.Append) { r.Snapshot = &eventstore.Snapshot{Key: newKey("order")} }),
			"snapshot too new":    change(func(r *eventstore.Append) { r.Snapshot = &eventstore.Snapshot{Key: key, Sequence: 2} }),
		}
		for name, request := range requests {
			_, err := store.Append(t.Context(), request)
			if conflict := (*eventstore.Conflict)(nil); err == nil || errors.As(err, &conflict) {
				t.Errorf("%s: got %v, want another error", name, err)
			}
		}
		if head := store.Head(); head != 0 {
			t.Errorf("the head is at %d, want 0", head)
		}
	},

	"an append whose context has ended is not accepted": func(t *testing.T, store eventstore.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Append(ctx, command(newKey("order"), 0, "a")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		must(t, store, command(newKey("order"), 0, "b"))
		if head := store.Head(); head != 1 {
			t.Errorf("the head is at %d, want 1", head)
		}
	},

	"payloads of every size and all texts come back as they went in": func(t *testing.T, store eventstore.Store) {
		key := book.Key{Domain: "größe-尺寸-📏", Root: uuid.New()}
		large := strings.Repeat("0123456789abcdef", 5<<20/16)
		request := command(key, 0, "", "\x00", "\xff\xfe\x00binary", large)
		request.Name = "Ünïcode ✓ 名前 'quoted\" %00 ?"
		request.CorrelationID = "зеркало; DROP TABLE events; --"
		request.Events[0].TypeURL = ""
		request.Events[1].TypeURL = "no.prefix.Type"
		request.Events[2].TypeURL = "type.angzarr/ünï.Type"
		request.Events[3].CreatedAt = time.Unix(0, 0).UTC()
		want := must(t, store, request)
		same(t, "Events", want, got(store.Events(t.Context(), key, eventstore.All))(t))
		same(t, "ByCorrelation", want, got(store.ByCorrelation(t.Context(), request.CorrelationID, 0, 10))(t))
		same(t, "the log", want, got(wholeLog(t.Context(), store, 10))(t))
		roots := got(store.Roots(t.Context(), book.Key{}, 10))(t)
		same(t, "Roots", []eventstore.Root{{Key: key, Name: request.Name}}, roots)
	},

	"requests that arrive together are answered each on its own": mixedBatch,
}

// mixedBatch sends at once what will succeed, conflict and repeat.
func mixedBatch(t *testing.T, store eventstore.Store) {
	repeatedKey, contested := newKey("repeated"), newKey("contested")
	old := command(repeatedKey, 0, "old")
	want := must(t, store, old)
	old.Repeatable = true

	const each = 40
	results := make(chan error, 3*each)
	var wait sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range each {
		wait.Go(func() {
			answer, err := store.Append(t.Context(), command(newKey(fmt.Sprintf("new-%d", i)), 0, "a", "b"))
			if err == nil && (answer.Next != 2 || answer.Duplicate) {
				err = fmt.Errorf("a new aggregate: %+v", answer)
			}
			results <- err
		})
		wait.Go(func() {
			_, err := store.Append(t.Context(), command(contested, 0, "mine"))
			conflict := (*eventstore.Conflict)(nil)
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				won++
			case errors.As(err, &conflict) && conflict.Next == 1:
				err = nil
			}
			results <- err
		})
		wait.Go(func() {
			answer, err := store.Append(t.Context(), old)
			if err == nil && (!answer.Duplicate || answer.Last != want[0].Position || !bytes.Equal(answer.Events[0].Payload, want[0].Payload)) {
				err = fmt.Errorf("a repetition: %+v", answer)
			}
			results <- err
		})
	}
	wait.Wait()
	close(results)
	for err := range results {
		if err != nil {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d appends won the contested number, want 1", won)
	}
	if events := got(wholeLog(t.Context(), store, 13))(t); len(events) != 2+2*each {
		t.Errorf("the log has %d events, want %d", len(events), 2+2*each)
	}
}

var naming = map[string]func(*testing.T, eventstore.Store){
	"the name given first is remembered": func(t *testing.T, store eventstore.Store) {
		key := newKey("customer")
		for i, name := range []string{"alice", "", "bob"} {
			request := command(key, uint32(i), "x")
			request.Name = name
			must(t, store, request)
		}
		for _, event := range got(wholeLog(t.Context(), store, 10))(t) {
			if event.Name != "alice" {
				t.Errorf("event %d has the name %q, want alice", event.Sequence, event.Name)
			}
		}
		same(t, "Aggregate", eventstore.Info{Next: 3, Name: "alice"}, got(store.Aggregate(t.Context(), key))(t))
	},

	"a name that comes later is the name of all events": func(t *testing.T, store eventstore.Store) {
		key, other := newKey("customer"), newKey("customer")
		must(t, store, command(key, 0, "x"))
		must(t, store, command(other, 0, "x"))
		request := command(key, 1, "y")
		request.Name = "alice"
		must(t, store, request)
		log := got(wholeLog(t.Context(), store, 10))(t)
		names := []string{log[0].Name, log[1].Name, log[2].Name}
		same(t, "names in the log", []string{"alice", "", "alice"}, names)
		if events := got(store.Events(t.Context(), key, eventstore.All))(t); events[0].Name != "alice" {
			t.Errorf("Events give the name %q, want alice", events[0].Name)
		}
	},
}

var snapshots = map[string]func(*testing.T, eventstore.Store){
	"an append keeps its snapshot": func(t *testing.T, store eventstore.Store) {
		request := command(newKey("order"), 0, "a", "b")
		request.Snapshot = &eventstore.Snapshot{Key: request.Key, Sequence: 1, TypeURL: "t/State", State: []byte("ab")}
		must(t, store, request)
		want := eventstore.Info{Next: 2, Snapshot: request.Snapshot}
		same(t, "Aggregate", want, got(store.Aggregate(t.Context(), request.Key))(t))
	},

	"a refused append keeps no snapshot": func(t *testing.T, store eventstore.Store) {
		request := command(newKey("order"), 0, "a")
		must(t, store, request)
		request.CommandID = uuid.New()
		request.Snapshot = &eventstore.Snapshot{Key: request.Key, TypeURL: "t/State", State: []byte("x")}
		if _, err := store.Append(t.Context(), request); err == nil {
			t.Fatal("the append was accepted")
		}
		same(t, "Aggregate", eventstore.Info{Next: 1}, got(store.Aggregate(t.Context(), request.Key))(t))
	},

	"the newest snapshot stays": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		must(t, store, command(key, 0, "a", "b", "c"))
		at := func(sequence uint32, state string) eventstore.Snapshot {
			return eventstore.Snapshot{Key: key, Sequence: sequence, TypeURL: "t/State", State: []byte(state)}
		}
		steps := []struct{ save, want eventstore.Snapshot }{
			{at(1, "first"), at(1, "first")},
			{at(0, "older"), at(1, "first")},
			{at(1, "again"), at(1, "again")},
			{at(2, ""), at(2, "")},
		}
		for _, step := range steps {
			if err := store.SaveSnapshot(t.Context(), step.save); err != nil {
				t.Fatal(err)
			}
			info := got(store.Aggregate(t.Context(), key))(t)
			same(t, "Aggregate", eventstore.Info{Next: 3, Snapshot: &step.want}, info)
		}
	},

	"a load gives the snapshot and what follows it, or everything": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		info, events, err := store.Load(t.Context(), key, true)
		if err != nil || len(events) > 0 {
			t.Fatalf("an unknown aggregate: %v, %v", events, err)
		}
		same(t, "Load", eventstore.Info{}, info)
		must(t, store, command(key, 0, "a", "b", "c"))
		snapshot := eventstore.Snapshot{Key: key, Sequence: 1, TypeURL: "t/State", State: []byte("ab")}
		if err := store.SaveSnapshot(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		for _, wanted := range []struct {
			snapshots bool
			first     uint32
		}{{true, 2}, {false, 0}} {
			info, events, err := store.Load(t.Context(), key, wanted.snapshots)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "Load", eventstore.Info{Next: 3, Snapshot: &snapshot}, info)
			same(t, "Load", got(store.Events(t.Context(), key, eventstore.Range{From: wanted.first, To: 2}))(t), events)
		}
	},

	"a snapshot of events that are not there is refused": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		if err := store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: key}); err == nil {
			t.Error("a snapshot of an unknown aggregate was accepted")
		}
		must(t, store, command(key, 0, "a"))
		if err := store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: key, Sequence: 1}); err == nil {
			t.Error("a snapshot ahead of its aggregate was accepted")
		}
		same(t, "Aggregate", eventstore.Info{Next: 1}, got(store.Aggregate(t.Context(), key))(t))
	},
}
