// Package follow is the one way in which a role keeps up with the log: it takes
// books from the bus, notices what the bus lost, doubled or reordered, and reads
// that from the log, so that its caller sees every book once and in order.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
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

// Log is the part of an event store from which holes are filled.
type Log interface {
	ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error)
	Head() uint64
}

// Follow calls handle for every book that ends above position from, in the order
// of positions, until the context ends, handle fails, or the bus or the log is
// closed; it returns that error. It begins with what the log holds already. What
// handle has returned from is acknowledged to the bus. A log that cannot be read
// for a while is waited for, which the logger hears of once.
func Follow(ctx context.Context, subscription bus.Subscription, log Log, from uint64, logger *slog.Logger, handle func(context.Context, *pb.EventBook) error) error {
	f := &follower{subscription: subscription, log: log, position: from, logger: logger, handle: handle}
	if err := f.acknowledge(); err != nil {
		return err
	}
	for {
		if err := f.catchUp(ctx, log.Head()); err != nil {
			return err
		}
		if err := f.listen(ctx); err != nil {
			return err
		}
	}
}

type follower struct {
	subscription bus.Subscription
	log          Log
	position     uint64 // everything up to here has been handled
	logger       *slog.Logger
	handle       func(context.Context, *pb.EventBook) error
}

// listen takes from the bus until it has been silent for a while.
func (f *follower) listen(ctx context.Context) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, idle)
		message, err := f.subscription.Next(waiting)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive from the bus: %w", err)
		}
		if message.Book.Position > f.position {
			if err := f.catchUp(ctx, message.Previous); err != nil {
				return err
			}
		}
		if message.Previous > f.position {
			// The log does not show the hole yet. It will show this book too.
			continue
		}
		if err := f.take(ctx, message.Book); err != nil {
			return err
		}
	}
}

// take handles a book unless it has been handled.
func (f *follower) take(ctx context.Context, events *pb.EventBook) error {
	if events.Position <= f.position {
		return nil
	}
	if err := f.handle(ctx, events); err != nil {
		return err
	}
	f.position = events.Position
	return f.acknowledge()
}

// acknowledge lets the bus forget what has been handled, wherever it came from.
func (f *follower) acknowledge() error {
	if err := f.subscription.Ack(f.position); err != nil {
		return fmt.Errorf("acknowledge position %d to the bus: %w", f.position, err)
	}
	return nil
}

// catchUp reads the log until everything up to position has been handled.
func (f *follower) catchUp(ctx context.Context, position uint64) error {
	for f.position < position {
		events, err := f.read(ctx)
		if err != nil {
			return fmt.Errorf("read the log after position %d: %w", f.position, err)
		}
		if len(events) == 0 {
			return nil
		}
		for _, events := range eventstore.Books(events) {
			if err := f.take(ctx, events); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *follower) read(ctx context.Context) ([]eventstore.Event, error) {
	told := false
	return backoff.Retry(ctx, func() ([]eventstore.Event, error) {
		events, err := f.log.ReadLog(ctx, f.position, page)
		if errors.Is(err, eventstore.ErrClosed) {
			err = backoff.Permanent(err)
		}
		return events, err
	}, backoff.WithBackOff(patience()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if !told {
			told = true
			f.logger.Warn("the log cannot be read, trying again", "error", err)
		}
	}))
}

// patience is how often a log that cannot be read is asked: often enough that a
// person who repairs it need not wait.
func patience() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, MaxInterval: idle, Multiplier: 2, RandomizationFactor: 0.3}
}
