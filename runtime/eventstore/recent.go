package eventstore

import (
	"sync"
	"sync/atomic"

	"github.com/angz-dev/angz/runtime/book"
)

// How much of the log's end is kept in memory: enough that a consumer which
// pauses for a moment still finds its place.
const (
	recentEvents = 8192
	recentBytes  = 8 << 20
)

// Recent holds the end of a log in memory and tells when it grows. It is for
// drivers: whoever follows the log then does so without touching the database.
// It is safe for concurrent use.
type Recent struct {
	head atomic.Uint64

	mu      sync.RWMutex
	events  []Event // consecutive, the last one at head
	bytes   int
	changed chan struct{} // closed when head moves
}

// NewRecent returns the end of an empty log.
func NewRecent() *Recent { return &Recent{changed: make(chan struct{})} }

// Head returns the position of the newest event.
func (r *Recent) Head() uint64 { return r.head.Load() }

// Add appends events that have become durable and moves the head.
func (r *Recent) Add(events []Event) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.append(events)
}

// append must be called with the lock held.
func (r *Recent) append(events []Event) {
	r.events = append(r.events, events...)
	for i := range events {
		r.bytes += len(events[i].Payload)
	}
	r.trim()
	r.move(events[len(events)-1].Position)
}

// Join appends events if they continue the log as it is known, and reports
// whether they do. It is for stores that other processes write too.
func (r *Recent) Join(events []Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(events) == 0 || events[0].Position != r.head.Load()+1 {
		return false
	}
	r.append(events)
	return true
}

// Reach moves the head, if it is not that far, past events that are not known.
func (r *Recent) Reach(head uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if head > r.head.Load() {
		r.events, r.bytes = nil, 0
		r.move(head)
	}
}

// trim drops the oldest events that are too many.
func (r *Recent) trim() {
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
func (r *Recent) move(head uint64) {
	r.head.Store(head)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Reset forgets the events and continues at head.
func (r *Recent) Reset(head uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.bytes = nil, 0
	if head != r.head.Load() {
		r.move(head)
	}
}

// Rename gives the events of an aggregate the name it has got since.
func (r *Recent) Rename(key book.Key, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if r.events[i].Key == key {
			r.events[i].Name = name
		}
	}
}

// After returns whole commands with about limit events from position on. Not ok
// means that the database has to be asked.
func (r *Recent) After(position uint64, limit int) (events []Event, ok bool) {
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
	for n < len(rest) && !rest[n-1].Last() {
		n++
	}
	return append(events, rest[:n]...), true
}

// Changed returns the channel that is closed when the head next moves.
func (r *Recent) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Last reports whether the event is the last one of its command.
func (e *Event) Last() bool { return e.Offset == e.Count-1 }
