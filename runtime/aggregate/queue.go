package aggregate

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// queues lets the commands of one aggregate through one at a time, in the order
// of their arrival, and those of different aggregates side by side.
type queues struct {
	limit int // of commands for one aggregate, with those under way

	mu     sync.Mutex
	queues map[book.Key]*queue // only of aggregates with commands under way
}

type queue struct {
	size int           // commands waiting or under way
	turn chan struct{} // holds the turn while nobody has it
	// unsettled are the decisions whose events are on their way into the store,
	// oldest first. It belongs to whoever has the turn.
	unsettled []*decision
}

// decision is a command's events on their way into the store, and what the
// aggregate will be with them.
type decision struct {
	command uuid.UUID
	state   *state
	settled chan struct{} // closed when it is known what became of them
	stored  bool          // that; to be read when settled is closed
	doomed  bool          // it rests on one that was not stored; belongs to whoever has the turn
}

// place is a command's place in the queue of its aggregate. It is used by one
// goroutine.
type place struct {
	queues *queues
	key    book.Key
	line   *queue
	turn   bool // it is this command's turn
}

func newQueues(waiting int) *queues {
	return &queues{limit: waiting + 1, queues: map[book.Key]*queue{}}
}

// enter takes a place in the aggregate's queue and waits for the turn. The caller
// must leave the place when err is nil. A queue that is full refuses at once.
func (q *queues) enter(ctx context.Context, key book.Key) (*place, error) {
	line, err := q.join(key)
	if err != nil {
		return nil, err
	}
	p := &place{queues: q, key: key, line: line}
	if err := p.take(ctx); err != nil {
		q.part(key, line)
		return nil, err
	}
	return p, nil
}

// take waits for the turn, unless this command has it.
func (p *place) take(ctx context.Context) error {
	if p.turn {
		return nil
	}
	select {
	case <-p.line.turn:
		p.turn = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the commands before this one on %s: %w", p.key, ctx.Err())
	}
}

// pass gives the turn to the next command; the place stays taken.
func (p *place) pass() {
	if p.turn {
		p.turn = false
		p.line.turn <- struct{}{}
	}
}

// leave gives up the place, and the turn with it.
func (p *place) leave() {
	p.pass()
	p.queues.part(p.key, p.line)
}

// before returns the newest decision that is not settled; nil when all are. The
// caller has the turn.
func (p *place) before() *decision {
	line := p.line
	for len(line.unsettled) > 0 && line.unsettled[0].isSettled() {
		oldest := line.unsettled[0]
		line.unsettled[0] = nil
		line.unsettled = line.unsettled[1:]
		if !oldest.stored {
			for _, d := range line.unsettled {
				d.doomed = true
			}
		}
	}
	if len(line.unsettled) == 0 {
		return nil
	}
	return line.unsettled[len(line.unsettled)-1]
}

// deciding reports whether a command of this id is on its way into the store. The
// caller has the turn.
func (p *place) deciding(command uuid.UUID) bool {
	for _, d := range p.line.unsettled {
		if d.command == command {
			return true
		}
	}
	return false
}

// decided adds a decision. The caller has the turn.
func (p *place) decided(d *decision) { p.line.unsettled = append(p.line.unsettled, d) }

func (d *decision) isSettled() bool {
	select {
	case <-d.settled:
		return true
	default:
		return false
	}
}

// wait waits until it is known what became of a decision, and of all before it.
func (d *decision) wait(ctx context.Context) error {
	select {
	case <-d.settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the events before this command: %w", ctx.Err())
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
