// Package storetest is the suite that every driver of the event store has to
// pass. It states the contract of package eventstore as tests, so that a role
// tested on one driver holds on all of them.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// Driver is a driver under test.
type Driver struct {
	// New prepares a place for one new store and returns how to open it. The
	// suite closes what it opens.
	New func(t *testing.T) Open
	// Durable says that a store closed and opened again holds what it held.
	Durable bool
	// Shared says that several processes may have the store at one place open:
	// the suite then opens it again while it is open. Leases outlive a Close. In
	// one that is not shared they end with it, since nobody else can have one.
	Shared bool
	// Ahead says that its stores are eventstore.Ahead.
	Ahead bool
	// Pass lets the clock go on by which the store measures leases. Without it the
	// suite waits that long for some leases, which are short then.
	Pass func(t *testing.T, store eventstore.Store, length time.Duration)
}

// Open opens the store at one place. It is called again only after the store
// has been closed, unless the driver is Shared.
type Open func() (eventstore.Store, error)

// lease returns how long a lease is that a test lets run out.
func (d Driver) lease() time.Duration {
	if d.Pass == nil {
		return 100 * time.Millisecond
	}
	return time.Minute
}

// pass lets time pass.
func (d Driver) pass(t *testing.T, store eventstore.Store, length time.Duration) {
	t.Helper()
	if d.Pass != nil {
		d.Pass(t, store, length)
		return
	}
	<-time.After(length)
}

// Run holds a driver to the contract.
func Run(t *testing.T, driver Driver) {
	groups := []map[string]func(*testing.T, eventstore.Store){
		appending, bulk, naming, snapshots, streams, logs, indexes, surveys, sharing, steering, subscriptions, parking, concurrency,
	}
	for _, group := range groups {
		for name, check := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(t, open(t, driver))
			})
		}
	}
	if driver.Ahead {
		for name, check := range ahead {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				store := open(t, driver)
				check(t, store, store.(eventstore.Ahead))
			})
		}
	}
	for name, check := range leases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, driver, open(t, driver))
		})
	}
	cases := maps.Clone(lifecycle)
	if driver.Durable {
		maps.Copy(cases, durability)
	}
	if driver.Shared {
		maps.Copy(cases, severalHandles)
	}
	for name, check := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, driver)
		})
	}
}

// open opens a new store for the time of the test.
func open(t *testing.T, driver Driver) eventstore.Store {
	t.Helper()
	return reopen(t, driver.New(t))
}

// reopen opens a store that is closed at the latest when the test ends.
func reopen(t *testing.T, at Open) eventstore.Store {
	t.Helper()
	store, err := at()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

// created is when the events of the suite happened: what a store keeps exactly.
var created = time.Date(2026, time.March, 14, 15, 9, 26, 535_897_932, time.UTC)

// newKey returns a new aggregate.
func newKey(domain string) book.Key { return book.Key{Domain: domain, Root: uuid.New()} }

// command returns an append of events with the given payloads.
func command(key book.Key, next uint32, payloads ...string) eventstore.Append {
	request := eventstore.Append{
		CommandID: uuid.Must(uuid.NewV7()), Key: key, Next: next, CorrelationID: "correlation of " + key.Domain,
	}
	for i, payload := range payloads {
		request.Events = append(request.Events, eventstore.NewEvent{
			TypeURL: "type.googleapis.com/examples.Happened", Payload: []byte(payload),
			CreatedAt: created.Add(time.Duration(i) * time.Nanosecond),
		})
	}
	return request
}

// stored returns what a store holds of a request whose first event got the
// position.
func stored(request eventstore.Append, first uint64) []eventstore.Event {
	events := make([]eventstore.Event, len(request.Events))
	for i, event := range request.Events {
		events[i] = eventstore.Event{
			Position: first + uint64(i), Key: request.Key, Name: request.Name, Sequence: request.Next + uint32(i),
			TypeURL: event.TypeURL, Payload: event.Payload, CreatedAt: event.CreatedAt,
			CommandID: request.CommandID, CorrelationID: request.CorrelationID, Causation: request.Causation, Trace: request.Trace,
			Offset: i, Count: len(request.Events),
		}
	}
	return events
}

// must appends a request that has to be accepted and returns its events.
func must(t *testing.T, store eventstore.Writer, request eventstore.Append) []eventstore.Event {
	t.Helper()
	answer, err := store.Append(t.Context(), request)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	count := len(request.Events)
	want := eventstore.Appended{Next: request.Next + uint32(count), Last: answer.Last}
	same(t, "Append", want, answer)
	return stored(request, answer.Last+1-uint64(count))
}

// same compares whole values; nothing and empty are the same.
func same(t interface {
	Helper()
	Errorf(string, ...any)
}, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), wholeBytes); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wholeBytes compares bytes at once: looking for the differences within a large
// payload takes half a minute.
var wholeBytes = cmp.FilterValues(
	func(a, b []byte) bool { return len(a) > 0 || len(b) > 0 }, cmp.Comparer(bytes.Equal),
)

// got passes on a result whose error has to be nil.
func got[T any](result T, err error) func(fataler) T {
	return func(t fataler) T {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return result
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// wholeLog reads the log from the beginning, page by page.
func wholeLog(ctx context.Context, log eventstore.Log, limit int) ([]eventstore.Event, error) {
	var events []eventstore.Event
	after := uint64(0)
	for {
		page, err := log.ReadLog(ctx, after, limit)
		if err != nil || len(page) == 0 {
			return events, err
		}
		if last := page[len(page)-1]; last.Offset != last.Count-1 {
			return nil, fmt.Errorf("the page after position %d cuts a command at position %d", after, last.Position)
		}
		events = append(events, page...)
		after = page[len(page)-1].Position
	}
}
