package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// progress knows which books from the log are in flight and up to which
// position everything is done.
type progress struct {
	room  chan struct{} // holds one token for each book in flight
	dirty chan struct{} // holds one token when done has moved
	ended chan struct{} // closed when nothing will move any more

	mu     sync.Mutex
	flight []*entry // in the order of positions
	done_  uint64   // every position up to here is done
	parked []eventstore.Parked
}

// entry is one book in flight.
type entry struct {
	position uint64
	done     bool
	skipped  bool // stands for events that the component does not want
	parked   *eventstore.Parked
}

func (p *progress) begin(position uint64, inFlight int) {
	p.room = make(chan struct{}, inFlight)
	p.dirty = make(chan struct{}, 1)
	p.ended = make(chan struct{})
	p.done_ = position
}

// add registers a book, waiting for room.
func (p *progress) add(ctx context.Context, position uint64) (*entry, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	added := &entry{position: position}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flight = append(p.flight, added)
	return added, nil
}

// skip registers a position at which there is nothing to do.
func (p *progress) skip(position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch last := len(p.flight) - 1; {
	case last < 0:
		p.done_ = position
		p.touch()
	case p.flight[last].skipped:
		// One entry for a run of them: a book that takes for ever must not let
		// the list grow.
		p.flight[last].position = position
	default:
		p.flight = append(p.flight, &entry{position: position, done: true, skipped: true})
	}
}

// done marks a book as done, with the dead letter it leaves, if any.
func (p *progress) done(finished *entry, parked *eventstore.Parked, events *pb.EventBook, subscription string) {
	if parked != nil {
		parked.LastAt = time.Now()
		if parked.FirstAt.IsZero() {
			parked.FirstAt = parked.LastAt
		}
		complete := parkedAt(*parked, subscription, events)
		finished.parked = &complete
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	<-p.room
	finished.done = true
	for len(p.flight) > 0 && p.flight[0].done {
		first := p.flight[0]
		p.flight[0] = nil
		p.flight = p.flight[1:]
		p.done_ = first.position
		if first.parked != nil {
			p.parked = append(p.parked, *first.parked)
		}
		p.touch()
	}
}

func (p *progress) touch() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// finish says that nothing will move any more.
func (p *progress) finish() { close(p.ended) }

// collect returns the position up to which all is done and the dead letters on
// the way there, which are the caller's from now on.
func (p *progress) collect() (uint64, []eventstore.Parked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	parked := p.parked
	p.parked = nil
	return p.done_, parked
}

// recorder writes a consumer's progress to the store.
type recorder struct {
	store eventstore.Subscriptions
	claim eventstore.Claim
	every time.Duration
	ack   func(position uint64) error
}

// run records progress, at most once in each interval, until the consumer has
// finished and everything is recorded.
//
// The context's end does not stop it: a position that has been reached is worth
// recording even while the process is being stopped.
func (r *recorder) run(ctx context.Context, p *progress) error {
	ctx = context.WithoutCancel(ctx)
	for {
		select {
		case <-p.dirty:
			if err := r.record(ctx, p); err != nil {
				return err
			}
		case <-p.ended:
			return r.record(ctx, p)
		}
		select {
		case <-time.After(r.every):
		case <-p.ended:
		}
	}
}

func (r *recorder) record(ctx context.Context, p *progress) error {
	position, parked := p.collect()
	if position == r.claim.Position {
		return nil
	}
	advance := eventstore.Advance{Name: r.claim.Name, Epoch: r.claim.Epoch, From: r.claim.Position, To: position, Park: parked}
	if err := r.store.Advance(ctx, advance); err != nil {
		return fmt.Errorf("advance to %d: %w", position, err)
	}
	r.claim.Position = position
	return r.ack(position)
}
