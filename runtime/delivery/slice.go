package delivery

import (
	"context"
	"maps"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// slice is a part of the subscription that this instance holds: the events of
// some aggregates, and a position of their own. The consumer's lock guards it.
type slice struct {
	number   int
	epoch    uint64
	recorded uint64 // what the store knows to be done
	received uint64 // its events up to here are in lanes, done or not wanted

	working context.Context    // of its calls
	cancel  context.CancelFunc // ends them
	lost    bool               // another instance has it, or may
	leaving bool               // is being brought to rest, so that it can be given away
	since   time.Time          // when it began to leave
	// abandoned says that what is under way is given up, so that it can leave.
	abandoned bool
	lanes     int // that run
	// following says that the follower takes its events, so that all of them up
	// to where the follower is have been taken.
	following bool

	flight []*entry            // books in flight, in the order of positions
	parked []eventstore.Parked // on the way to what is done, to be recorded with it
	moved  bool                // something was done since it was recorded
	// recording is how many of parked are being written.
	recording int
	// draining are the aggregates whose dead letters are being retried.
	draining map[book.Key]bool
}

func (c *Consumer[R]) newSlice(given eventstore.Slice) *slice {
	working, cancel := context.WithCancel(c.working)
	return &slice{
		number: given.Number, epoch: given.Epoch, recorded: given.Position, received: given.Position,
		working: working, cancel: cancel, draining: map[book.Key]bool{},
	}
}

// refuses reports whether nothing more is begun for the slice here.
func (s *slice) refuses() bool { return s.lost || s.abandoned }

// entry is one book in flight.
type entry struct {
	slice  *slice
	before uint64 // everything up to here was taken before the book
	done   bool
	parked *eventstore.Parked
}

// finish marks an entry as done and moves past everything that is.
func (s *slice) finish(finished *entry) {
	finished.done = true
	for len(s.flight) > 0 && s.flight[0].done {
		first := s.flight[0]
		s.flight[0] = nil
		s.flight = s.flight[1:]
		if first.parked != nil {
			s.parked = append(s.parked, *first.parked)
		}
		s.moved = true
	}
}

// done returns the position up to which everything is done, given how far the
// follower has come.
func (s *slice) done(seen uint64) uint64 {
	if len(s.flight) > 0 {
		return s.flight[0].before
	}
	return s.taken(seen)
}

// taken returns the position up to which everything is in a lane, done or not
// wanted.
func (s *slice) taken(seen uint64) uint64 {
	if !s.following {
		return s.received
	}
	return max(seen, s.received)
}

// resting reports whether nothing of the slice is under way or waits to be
// recorded. What was given up stands behind what is recorded.
func (s *slice) resting(seen uint64) bool {
	return s.lanes == 0 && len(s.parked) == 0 && s.recorded >= s.done(seen)
}

// done marks a book of the log as done, with the dead letter it leaves, if any.
func (c *Consumer[R]) done(finished *entry, parked *eventstore.Parked, events *pb.EventBook, subscription string) {
	var letter *eventstore.Parked
	if parked != nil {
		parked.LastAt = time.Now()
		if parked.FirstAt.IsZero() {
			parked.FirstAt = parked.LastAt
		}
		letter = parkedAt(*parked, subscription, events)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(finished, letter)
	c.release()
}

// settle notes that an entry is done and which dead letter it leaves. The caller
// holds the lock.
func (c *Consumer[R]) settle(finished *entry, letter *eventstore.Parked) {
	if finished.slice.lost {
		return
	}
	finished.parked = letter
	finished.slice.finish(finished)
	c.touch()
}

// release gives back the place of a book in flight.
func (c *Consumer[R]) release() { <-c.room }

// touch says that something is to be recorded.
func (c *Consumer[R]) touch() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// lose gives up a slice that another instance has, or may have: what is under
// way is cancelled, and nothing of it is recorded any more. The caller holds the
// lock.
func (c *Consumer[R]) lose(s *slice) {
	if s.lost {
		return
	}
	s.lost = true
	s.cancel()
	s.flight, s.parked = nil, nil
	delete(c.held, s.number)
	here := func(key book.Key) bool { return c.sliceOf(key) == s.number }
	maps.DeleteFunc(c.blocked, func(key book.Key, _ *poison) bool { return here(key) })
	maps.DeleteFunc(c.left, func(key book.Key, _ []left) bool { return here(key) })
	c.announce()
}

// announce wakes everybody who waits for a change of who holds what. The caller
// holds the lock.
func (c *Consumer[R]) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
	c.metrics.Slices(len(c.held))
}
