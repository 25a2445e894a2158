package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	// page is how many events one read of the log returns.
	page = 500
	// idle is how long the bus may be silent before the log is asked whether a
	// last message was lost.
	idle = 2 * time.Second
	// pause is how long to wait before a log that could not be read is tried
	// again.
	pause = 250 * time.Millisecond
)

// Run takes books from the bus until the context ends, then ends all
// subscriptions and returns nil. It returns an error when the bus or the log has
// been closed. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopped)
	if s.options.Bus == nil {
		close(s.started)
		<-ctx.Done()
		return nil
	}
	f := &follower{server: s, log: s.options.Log}
	if f.log != nil {
		// Read before subscribing: what is appended in between comes twice
		// rather than never.
		f.position = f.log.Head()
	}
	subscription, err := s.options.Bus.Subscribe(ctx, s.options.Name)
	if err != nil {
		return fmt.Errorf("start the event stream: %w", err)
	}
	defer subscription.Close()
	close(s.started)
	err = f.follow(ctx, subscription)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow the events: %w", err)
}

// follower knows how much of the log the subscribers have been offered.
type follower struct {
	server   *Server
	log      Log // may be nil
	position uint64
	failing  bool // the log could not be read the last time
}

// follow dispatches the books of the bus, and those of the log where the bus
// leaves a hole. It returns only with an error.
func (f *follower) follow(ctx context.Context, subscription bus.Subscription) error {
	for {
		message, err := f.next(ctx, subscription)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			if err := f.catchUp(ctx, f.log.Head()); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := f.take(ctx, message); err != nil {
			return err
		}
		if err := subscription.Ack(f.position); err != nil {
			return err
		}
	}
}

// next waits for a message, but where there is a log no longer than idle.
func (f *follower) next(ctx context.Context, subscription bus.Subscription) (bus.Message, error) {
	if f.log == nil {
		return subscription.Next(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	return subscription.Next(waiting)
}

func (f *follower) take(ctx context.Context, message bus.Message) error {
	events := message.Book
	if f.log == nil {
		// Without a log nothing tells an old book from a late one; a doubled
		// book does less harm than a missing one.
		f.position = max(f.position, events.Position)
		f.server.dispatch(events)
		return nil
	}
	if events.Position <= f.position {
		return nil
	}
	if err := f.catchUp(ctx, message.Previous); err != nil {
		return err
	}
	if events.Position <= f.position {
		return nil
	}
	f.position = events.Position
	f.server.dispatch(events)
	return nil
}

// catchUp dispatches the log up to position. While nobody subscribes it only
// moves on: whoever subscribes later wants none of this.
func (f *follower) catchUp(ctx context.Context, position uint64) error {
	for f.position < position {
		if f.server.registry.empty() {
			f.position = position
			return nil
		}
		events, err := f.log.ReadLog(ctx, f.position, page)
		if err != nil {
			if err := f.waitForLog(ctx, err); err != nil {
				return err
			}
			continue
		}
		f.failing = false
		if len(events) == 0 {
			return nil
		}
		for _, events := range eventstore.Books(events) {
			f.position = events.Position
			f.server.dispatch(events)
		}
	}
	return nil
}

// waitForLog waits before the log is read again and says so once. It returns an
// error when there is nothing to wait for.
func (f *follower) waitForLog(ctx context.Context, err error) error {
	if errors.Is(err, eventstore.ErrClosed) {
		return fmt.Errorf("read the log: %w", err)
	}
	if !f.failing {
		f.failing = true
		f.server.options.Logger.WarnContext(ctx, "the log cannot be read; subscribers wait until it can", "error", err)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
