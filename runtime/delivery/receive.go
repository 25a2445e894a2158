package delivery

import (
	"context"
	"fmt"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

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
