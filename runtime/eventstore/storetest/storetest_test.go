package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// naiveLog gives positions like a database sequence: before the commit, which
// then comes in any order. It is the mistake that the tail test is there for.
type naiveLog struct {
	mu       sync.Mutex
	position uint64
	visible  []eventstore.Event
	head     uint64
	changed  chan struct{}
	held     chan func() // a commit that waits until the next one overtakes it
}

func newNaiveLog() *naiveLog {
	return &naiveLog{changed: make(chan struct{}), held: make(chan func(), 1)}
}

func (l *naiveLog) Append(_ context.Context, request eventstore.Append) (eventstore.Appended, error) {
	first := l.take(uint64(len(request.Events)))
	last := first + uint64(len(request.Events)) - 1
	done := make(chan struct{})
	commit := func() {
		l.commit(stored(request, first))
		close(done)
	}
	select {
	case l.held <- commit:
	case overtaken := <-l.held:
		commit()
		overtaken()
	}
	<-done
	return eventstore.Appended{Next: request.Next + uint32(len(request.Events)), Last: last}, nil
}

func (l *naiveLog) take(count uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.position + 1
	l.position += count
	return first
}

func (l *naiveLog) commit(events []eventstore.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visible = append(l.visible, events...)
	slices.SortFunc(l.visible, func(a, b eventstore.Event) int { return int(a.Position) - int(b.Position) })
	l.head = l.visible[len(l.visible)-1].Position
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
	return slices.Clone(l.visible[first:]), nil
}

func (l *naiveLog) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
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
	if err := followed(t.Context(), newNaiveLog(), 16, 50); err == nil {
		t.Error("a log that skips events passed the tail test")
	}
}
