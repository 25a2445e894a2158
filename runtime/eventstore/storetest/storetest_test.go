package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// naiveLog gives out positions like a database sequence: before the commit. Its
// first commit takes so long that a follower passes it by. This is the mistake
// that the tail test is there for.
type naiveLog struct {
	mu       sync.Mutex
	position uint64
	next     map[book.Key]uint32
	visible  []eventstore.Event
	changed  chan struct{}
	passed   chan struct{} // closed when a follower has gone past the first event
}

func newNaiveLog() *naiveLog {
	return &naiveLog{next: make(map[book.Key]uint32), changed: make(chan struct{}), passed: make(chan struct{})}
}

func (l *naiveLog) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	first, err := l.take(request)
	if err != nil {
		return eventstore.Appended{}, err
	}
	if first == 1 {
		select {
		case <-l.passed:
		case <-ctx.Done():
			return eventstore.Appended{}, ctx.Err()
		}
	}
	l.commit(stored(request, first))
	return eventstore.Appended{
		Next: request.Next + uint32(len(request.Events)), Last: first + uint64(len(request.Events)) - 1,
	}, nil
}

// take is where a database would have checked the unique key.
func (l *naiveLog) take(request eventstore.Append) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next := l.next[request.Key]; next != request.Next {
		return 0, &eventstore.Conflict{Key: request.Key, Want: request.Next, Next: next}
	}
	first := l.position + 1
	l.position += uint64(len(request.Events))
	l.next[request.Key] += uint32(len(request.Events))
	return first, nil
}

func (l *naiveLog) commit(events []eventstore.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visible = append(l.visible, events...)
	slices.SortFunc(l.visible, func(a, b eventstore.Event) int { return int(a.Position) - int(b.Position) })
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *naiveLog) ReadLog(_ context.Context, after uint64, _ int) ([]eventstore.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := slices.IndexFunc(l.visible, func(e eventstore.Event) bool { return e.Position > after })
	if first < 0 {
		return nil, nil
	}
	if l.visible[0].Position > 1 {
		select {
		case <-l.passed:
		default:
			close(l.passed)
		}
	}
	return slices.Clone(l.visible[first:]), nil
}

func (l *naiveLog) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.visible) == 0 {
		return 0
	}
	return l.visible[len(l.visible)-1].Position
}

func (l *naiveLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// TestTailTestSeesLostEvents proves that the suite would notice a store whose
// positions are not in the order of commits.
func TestTailTestSeesLostEvents(t *testing.T) {
	t.Parallel()
	err := followed(t.Context(), newNaiveLog(), 16, 50)
	if err == nil {
		t.Fatal("a log that skips events passed the tail test")
	}
	t.Log(err)
}
