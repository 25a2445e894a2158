package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// keepRecording writes what is done to the store, at most once in each interval,
// until the context ends. Slices in which nothing happens move now and then only:
// the worst that can come of it is that some of the log is read again.
func (c *Consumer[R]) keepRecording(ctx context.Context) error {
	lazily := time.NewTicker(c.options.Lease / 3)
	defer lazily.Stop()
	delays := patience()
	for {
		everything := false
		select {
		case <-c.dirty:
		case <-lazily.C:
			everything = true
		case <-ctx.Done():
			return nil
		}
		rest := c.options.Checkpoint
		switch err := c.recordWhole(ctx, everything); {
		case err == nil:
			delays.Reset()
		case ctx.Err() != nil: // it is recorded once more at the end
			return nil
		case passing(err), errors.Is(err, context.DeadlineExceeded):
			c.options.Logger.Debug("the position could not be recorded, trying again", "component", c.options.Name, "error", err)
			c.touch()
			rest = max(rest, delays.NextBackOff())
		default:
			return fmt.Errorf("record the position: %w", err)
		}
		if pause(ctx, rest) != nil {
			return nil
		}
	}
}

// recordWhole records although the context may end meanwhile. Of a call that was
// cancelled nobody knows whether the store has done it, and what follows would
// seem to come from an instance that has lost its slices.
func (c *Consumer[R]) recordWhole(ctx context.Context, everything bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.Grace)
	defer cancel()
	return c.record(ctx, everything)
}

// recordLast records everything at the end. What cannot be recorded comes again.
func (c *Consumer[R]) recordLast(ctx context.Context) error {
	err := c.recordWhole(ctx, true)
	if passing(err) || errors.Is(err, context.DeadlineExceeded) {
		c.options.Logger.Warn("the position could not be recorded, some events will come again", "component", c.options.Name, "error", err)
		return nil
	}
	return err
}

// record moves the slices' positions. Slices that another instance has are lost.
func (c *Consumer[R]) record(ctx context.Context, everything bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		moves, parked := c.collect(everything)
		if len(moves) == 0 {
			return nil
		}
		err := c.options.Store.Advance(ctx, eventstore.Advance{Name: c.options.Name, Moves: moves, Park: parked})
		c.recorded(moves, err)
		var fenced *eventstore.Fenced
		if !errors.As(err, &fenced) {
			return err
		}
		c.fencedOff(fenced)
	}
}

// collect returns what is to be recorded. The dead letters stay with their slices
// until it has been.
func (c *Consumer[R]) collect(everything bool) (moves []eventstore.Move, parked []eventstore.Parked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.held {
		to := s.done(c.seen)
		if to <= s.recorded || !(everything || s.moved || s.leaving || c.options.Slices == 1) {
			continue
		}
		moves = append(moves, eventstore.Move{Slice: s.number, Epoch: s.epoch, From: s.recorded, To: to})
		parked = append(parked, s.parked...)
		s.recording, s.moved = len(s.parked), false
	}
	return moves, parked
}

// recorded notes what has been written, if it has.
func (c *Consumer[R]) recorded(moves []eventstore.Move, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, move := range moves {
		s := c.held[move.Slice]
		if s == nil || s.epoch != move.Epoch {
			continue
		}
		if err != nil {
			s.moved = true
			continue
		}
		s.recorded = move.To
		c.metrics.Parked(s.recording)
		s.parked = s.parked[s.recording:]
		s.recording = 0
		if s.leaving && s.resting(c.seen) {
			c.nudge()
		}
	}
}

// fencedOff gives up the slices that another instance has taken over.
func (c *Consumer[R]) fencedOff(fenced *eventstore.Fenced) {
	c.options.Logger.Warn("another instance has taken slices over; what was being done with them comes again there",
		"component", c.options.Name, "slices", fenced.Slices)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, number := range fenced.Slices {
		if s := c.held[number]; s != nil {
			c.lose(s)
		}
	}
	c.nudge()
}
