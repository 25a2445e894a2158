package journal

import "sync"

// queue holds what somebody slow has not taken yet, so much and no more: when it
// is full the oldest is dropped and counted. It is safe for concurrent use.
type queue[T any] struct {
	most int // bytes
	size func(T) int

	mu      sync.Mutex
	items   []T
	first   int // of items
	bytes   int
	dropped map[string]int // by name
	held    bool           // nothing is given out
	closed  bool
	ready   chan struct{} // holds a token when there may be something to take
}

func newQueue[T any](most int, size func(T) int) *queue[T] {
	return &queue[T]{most: most, size: size, ready: make(chan struct{}, 1), dropped: map[string]int{}}
}

// named says to whom an item belongs, for the count of those dropped.
type named interface{ owner() string }

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.items = append(q.items, item)
	q.bytes += q.size(item)
	for q.bytes > q.most && len(q.items)-q.first > 1 {
		q.drop()
	}
	q.wake()
}

// drop forgets the oldest item. The caller holds the lock.
func (q *queue[T]) drop() {
	oldest := q.items[q.first]
	if owner, ok := any(oldest).(named); ok {
		q.dropped[owner.owner()]++
	}
	q.shift()
}

func (q *queue[T]) shift() {
	var none T
	q.bytes -= q.size(q.items[q.first])
	q.items[q.first] = none
	if q.first++; q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	} else if q.first > 1024 && q.first > len(q.items)/2 {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
}

func (q *queue[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take appends at most so many bytes of items, at least one, to a slice, together
// with how many were dropped before them. ended says that nothing will come any
// more.
func (q *queue[T]) take(into []T, most int) (items []T, dropped map[string]int, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held && !q.closed {
		return into, nil, false
	}
	if len(q.dropped) > 0 {
		dropped, q.dropped = q.dropped, map[string]int{}
	}
	taken := 0
	for q.first < len(q.items) && (taken == 0 || taken < most) {
		into = append(into, q.items[q.first])
		taken += q.size(q.items[q.first])
		q.shift()
	}
	if q.first < len(q.items) {
		q.wake()
	}
	return into, dropped, q.closed && q.first == len(q.items)
}

// hold keeps everything back, as far as there is room.
func (q *queue[T]) hold(held bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = held
	q.wake()
}

// close lets what is there be taken and heeds nothing that comes later.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.wake()
	}
}
