package aggregate

import (
	"context"
	"fmt"
	"sync"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// queues lets the commands of one aggregate through one at a time, in the order
// of their arrival, and those of different aggregates side by side.
type queues struct {
	limit int // of commands for one aggregate, with the one under way

	mu     sync.Mutex
	queues map[book.Key]*queue // only of aggregates with commands under way
}

type queue struct {
	size int           // commands waiting or under way
	turn chan struct{} // holds the turn while nobody has it
}

func newQueues(waiting int) *queues {
	return &queues{limit: waiting + 1, queues: map[book.Key]*queue{}}
}

// enter waits for the aggregate's turn. The caller must call leave when err is
// nil. A queue that is full refuses at once.
func (q *queues) enter(ctx context.Context, key book.Key) (leave func(), err error) {
	line, err := q.join(key)
	if err != nil {
		return nil, err
	}
	select {
	case <-line.turn:
		return func() {
			line.turn <- struct{}{}
			q.part(key, line)
		}, nil
	case <-ctx.Done():
		q.part(key, line)
		return nil, fmt.Errorf("wait for the commands before this one on %s: %w", key, ctx.Err())
	}
}

func (q *queues) join(key book.Key) (*queue, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line, ok := q.queues[key]
	if !ok {
		line = &queue{turn: make(chan struct{}, 1)}
		line.turn <- struct{}{}
		q.queues[key] = line
	}
	if line.size >= q.limit {
		return nil, fmt.Errorf("%d commands wait for %s: %w", line.size, key, eventstore.ErrOverloaded)
	}
	line.size++
	return line, nil
}

func (q *queues) part(key book.Key, line *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if line.size--; line.size == 0 {
		delete(q.queues, key)
	}
}
