package delivery

import (
	"context"
	"fmt"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/follow"
)

// followLog takes books from the log and the bus until the context ends. When
// this instance is given slices, it begins again where the slice that is furthest
// behind stands; the others skip what they have.
func (c *Consumer[R]) followLog(ctx context.Context, subscription bus.Subscription) error {
	for {
		from, err := c.begin(ctx)
		if err != nil {
			return err
		}
		following, cancel := context.WithCancel(ctx)
		if !c.onRestart(cancel) {
			cancel()
			continue // something was given meanwhile
		}
		err = follow.Follow(following, subscription, c.options.Store, from, c.options.Logger, c.take)
		restarted := following.Err() != nil
		cancel()
		if ctx.Err() != nil || !restarted {
			return err
		}
	}
}

// begin waits until there is a slice to follow for and returns from where.
func (c *Consumer[R]) begin(ctx context.Context) (uint64, error) {
	for {
		c.mu.Lock()
		from, any := uint64(0), false
		for _, s := range c.held {
			if s.leaving {
				continue
			}
			c.stopFollowing(s)
			if !any || s.received < from {
				from, any = s.received, true
			}
		}
		if any {
			for _, s := range c.held {
				s.following = !s.leaving
			}
			c.seen, c.stale = from, false
		}
		changed := c.changed
		c.mu.Unlock()
		if any {
			return from, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// stopFollowing notes how far a slice has been followed. The caller holds the
// lock.
func (c *Consumer[R]) stopFollowing(s *slice) {
	if s.following {
		s.received, s.following = max(s.received, c.seen), false
	}
}

// onRestart notes how the follower is made to begin again, unless it has to at
// once.
func (c *Consumer[R]) onRestart(cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refollow = cancel
	return !c.stale
}

// restart makes the follower begin again. The caller holds the lock.
func (c *Consumer[R]) restart() {
	c.stale = true
	if c.refollow != nil {
		c.refollow()
	}
}

// take puts a book from the log into its aggregate's lane, if it is one of this
// instance's. It blocks while too many books are in flight.
func (c *Consumer[R]) take(ctx context.Context, events *pb.EventBook) error {
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		return fmt.Errorf("position %d of the log: %w", events.Position, err)
	}
	number, wanted := c.sliceOf(key), c.Wants(key.Domain)
	c.mu.Lock()
	if !wanted || !c.takes(number, events.Position) {
		c.seen = events.Position
		c.mu.Unlock()
		if c.options.Slices == 1 {
			c.touch()
		}
		return nil
	}
	c.mu.Unlock()
	select {
	case c.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.takes(number, events.Position) || ctx.Err() != nil {
		c.release()
		if ctx.Err() == nil {
			c.seen = events.Position
		}
		return ctx.Err()
	}
	s := c.held[number]
	added := &entry{slice: s, before: s.taken(c.seen)}
	s.flight = append(s.flight, added)
	s.received, c.seen = events.Position, events.Position
	c.enqueue(key, &job[R]{slice: s, events: events, entry: added})
	return nil
}

// takes reports whether a book at a position is to be handled here. The caller
// holds the lock.
func (c *Consumer[R]) takes(number int, position uint64) bool {
	s := c.held[number]
	return s != nil && s.following && position > s.received
}
