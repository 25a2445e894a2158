package sqlite

import (
	"sync"
	"sync/atomic"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// How much of the log's end is kept in memory: enough that a consumer which
// pauses for a moment still finds its place.
const (
	recentEvents = 8192
	recentBytes  = 8 << 20
)

// recent holds the end of the log in memory and tells when it grows.
type recent struct {
	head atomic.Uint64

	mu      sync.RWMutex
	events  []eventstore.Event // consecutive, the last one at head
	bytes   int
	changed chan struct{} // closed when head moves
}

func newRecent() *recent { return &recent{changed: make(chan struct{})} }

// add appends events that have become durable and moves the head.
func (r *recent) add(events []eventstore.Event) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	for i := range events {
		r.bytes += len(events[i].Payload)
	}
	r.trim()
	r.move(events[len(events)-1].Position)
}

// trim drops the oldest events that are too many.
func (r *recent) trim() {
	drop := max(0, len(r.events)-recentEvents)
	for i := range drop {
		r.bytes -= len(r.events[i].Payload)
	}
	for r.bytes > recentBytes && drop < len(r.events)-1 {
		r.bytes -= len(r.events[drop].Payload)
		drop++
	}
	// What is left behind in the array must not keep payloads alive.
	clear(r.events[:drop])
	r.events = r.events[drop:]
}

// move must be called with the lock held.
func (r *recent) move(head uint64) {
	r.head.Store(head)
	close(r.changed)
	r.changed = make(chan struct{})
}

// reset forgets the events and continues at head.
func (r *recent) reset(head uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.bytes = nil, 0
	if head != r.head.Load() {
		r.move(head)
	}
}

// rename gives the events of an aggregate the name it has got since.
func (r *recent) rename(key book.Key, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if r.events[i].Key == key {
			r.events[i].Name = name
		}
	}
}

// after returns whole commands with about limit events from position on. Not ok
// means that the database has to be asked.
func (r *recent) after(position uint64, limit int) (events []eventstore.Event, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if position >= r.head.Load() {
		return nil, true
	}
	if len(r.events) == 0 || position+1 < r.events[0].Position {
		return nil, false
	}
	rest := r.events[position+1-r.events[0].Position:]
	n := min(max(limit, 1), len(rest))
	for n < len(rest) && !last(&rest[n-1]) {
		n++
	}
	return append(events, rest[:n]...), true
}

// change returns the channel that is closed when the head next moves.
func (r *recent) change() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// last says whether an event is the last one of its command.
func last(event *eventstore.Event) bool { return event.Offset == event.Count-1 }
