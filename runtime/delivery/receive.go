package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	// page is how many events one read of the log returns.
	page = 500
	// idle is how long the bus may be silent before the log is asked whether a
	// last message was lost.
	idle = 2 * time.Second
)

// receive takes books in the order of positions, from the log up to its end and
// then from the bus, going back to the log for every hole.
func (c *Consumer[R]) receive(ctx context.Context, subscription bus.Subscription) error {
	for {
		if err := c.catchUp(ctx, c.options.Store.Head()); err != nil {
			return err
		}
		if err := c.follow(ctx, subscription); err != nil {
			return err
		}
	}
}

// follow takes from the bus until it has been silent for a while.
func (c *Consumer[R]) follow(ctx context.Context, subscription bus.Subscription) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, idle)
		message, err := subscription.Next(waiting)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive from the bus: %w", err)
		}
		if message.Book.Position <= c.position() {
			continue
		}
		if err := c.catchUp(ctx, message.Previous); err != nil {
			return err
		}
		if message.Book.Position <= c.position() {
			continue
		}
		if err := c.take(ctx, message.Book); err != nil {
			return err
		}
	}
}

// catchUp reads the log until everything up to position has been taken.
func (c *Consumer[R]) catchUp(ctx context.Context, position uint64) error {
	for c.position() < position {
		events, err := c.options.Store.ReadLog(ctx, c.position(), page)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		for _, events := range eventstore.Books(events) {
			if err := c.take(ctx, events); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Consumer[R]) position() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received
}

// take puts a book from the log into its aggregate's lane. It blocks while too
// many books are in flight.
func (c *Consumer[R]) take(ctx context.Context, events *pb.EventBook) error {
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		return fmt.Errorf("position %d of the log: %w", events.Position, err)
	}
	if !c.Wants(key.Domain) {
		c.mu.Lock()
		c.received = events.Position
		c.mu.Unlock()
		c.progress.skip(events.Position)
		return nil
	}
	entry, err := c.progress.add(ctx, events.Position)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = events.Position
	c.enqueue(key, &job[R]{events: events, entry: entry})
	return nil
}
