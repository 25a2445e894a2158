package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// impatience is how often the share is looked at while it is not yet fair, and at
// least in each lease.
const impatience = 500 * time.Millisecond

// restraint is how long the store is left alone after the share was looked at, so
// that many callers who wait for a slice do not ask without end.
const restraint = 50 * time.Millisecond

// join becomes one of those who share the subscription. A store that is away is
// waited for.
func (c *Consumer[R]) join(ctx context.Context) error {
	told := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := c.renew(ctx)
		if passing(err) {
			return struct{}{}, err
		}
		if err != nil {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(patience()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if !told {
			told = true
			c.options.Logger.Warn("waiting for the event store", "component", c.options.Name, "error", err)
		}
	}))
	return err
}

func patience() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, MaxInterval: 2 * time.Second, Multiplier: 2, RandomizationFactor: 0.3}
}

// passing reports whether a failure of the store is one to wait out.
func passing(err error) bool {
	return errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrOverloaded)
}

// keepShare says again and again that this instance is there, until the context
// ends.
func (c *Consumer[R]) keepShare(ctx context.Context) error {
	for {
		timer := time.NewTimer(c.untilNextShare())
		select {
		case <-timer.C:
		case <-c.nudged:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
		switch err := c.renew(ctx); {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case passing(err):
			c.options.Logger.Debug("the share of the subscription could not be renewed, trying again", "component", c.options.Name, "error", err)
		default:
			return fmt.Errorf("renew the share: %w", err)
		}
		if pause(ctx, min(c.options.Lease/10, restraint)) != nil {
			return nil
		}
	}
}

// untilNextShare returns how long the share may be left alone.
func (c *Consumer[R]) untilNextShare() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.options.Lease / 3
	// While the subscription is paused nobody holds a slice, and nothing is to be
	// waited for.
	if c.unsettled() && !(c.paused && len(c.held) == 0) || time.Until(c.until) < rest {
		rest = min(rest, impatience)
	}
	return rest
}

// unsettled reports whether slices are about to change hands: some are free or
// leave here, or another instance has more than its fair share while this one has
// less. The caller holds the lock.
func (c *Consumer[R]) unsettled() bool {
	holders := map[uuid.UUID]int{c.member: 0}
	for _, s := range c.share {
		holders[s.Member]++
	}
	if holders[uuid.Nil] > 0 || holders[c.member] == 0 {
		return true
	}
	fair := (len(c.share) + len(holders) - 1) / len(holders)
	for _, count := range holders {
		if count > fair {
			return true
		}
	}
	return false
}

// nudge has the share looked at now.
func (c *Consumer[R]) nudge() {
	select {
	case c.nudged <- struct{}{}:
	default:
	}
}

// renew tells the store that this instance is there, gives back the slices that
// have come to rest, and takes over what it is given.
func (c *Consumer[R]) renew(ctx context.Context) error {
	asked := time.Now()
	rested := c.rested()
	shared, err := c.options.Store.Share(ctx, eventstore.Share{
		Name: c.options.Name, Member: c.member, Address: c.options.Address,
		Slices: c.options.Slices, Lease: c.options.Lease, Return: rested,
	})
	if err != nil {
		return err
	}
	var fresh []eventstore.Slice
	c.mu.Lock()
	for _, number := range rested {
		c.drop(number)
	}
	for _, given := range shared.Slices {
		ours, held := c.held[given.Number]
		if held && (given.Member != c.member || given.Epoch != ours.epoch) {
			c.lose(ours)
			held = false
		}
		if given.Member == c.member && !held {
			fresh = append(fresh, given)
		}
	}
	c.share, c.until = shared.Slices, asked.Add(c.options.Lease)
	c.heedPause(shared)
	c.bringToRest(shared.Surplus)
	c.announce()
	c.mu.Unlock()
	c.beginRewind(shared.Rewind)
	return c.takeOver(ctx, fresh)
}

// rested returns the slices to be given back. The follower skips them from the
// moment they are leaving.
func (c *Consumer[R]) rested() (numbers []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number, s := range c.held {
		if s.leaving && s.resting(c.seen) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// drop forgets a slice that has been given back. The caller holds the lock.
func (c *Consumer[R]) drop(number int) {
	if s, held := c.held[number]; held {
		c.lose(s)
	}
}

// bringToRest lets as many slices as are too many run out. What still runs after
// the grace period, for a service that is away perhaps, is given up: it comes
// again at the instance that gets the slice. The caller holds the lock.
func (c *Consumer[R]) bringToRest(surplus int) {
	held := slices.SortedFunc(maps.Values(c.held), func(a, b *slice) int {
		if a.abandoned != b.abandoned {
			return map[bool]int{true: -1, false: 1}[a.abandoned]
		}
		return b.number - a.number
	})
	for i, s := range held {
		leave := i < surplus || s.abandoned
		switch {
		case leave && !s.leaving:
			s.leaving, s.since = true, time.Now()
			c.stopFollowing(s)
			c.touch() // it is given back only when all is recorded
			if s.resting(c.seen) {
				c.nudge()
			}
		case !leave && s.leaving:
			s.leaving = false
			c.restart()
		case leave && time.Since(s.since) > c.options.Grace:
			s.abandoned = true
			s.cancel()
		}
	}
}

// takeOver begins with slices that this instance has been given. What another one
// did with their aggregates is not known here.
func (c *Consumer[R]) takeOver(ctx context.Context, fresh []eventstore.Slice) error {
	if len(fresh) == 0 {
		return nil
	}
	blocked, err := c.options.Store.Blocked(ctx, c.options.Name)
	if err != nil {
		return err
	}
	mine := map[int]bool{}
	for _, given := range fresh {
		mine[given.Number] = true
	}
	for key := range c.results.Keys() {
		if mine[c.sliceOf(key)] {
			c.results.Invalidate(key)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range blocked {
		if mine[c.sliceOf(key)] {
			c.blocked[key] = &poison{}
		}
	}
	for _, given := range fresh {
		c.held[given.Number] = c.newSlice(given)
	}
	c.announce()
	c.restart()
	c.lookAtLetters() // about which somebody may have decided under the former holder
	return nil
}

// depart lets the other instances have everything at once.
func (c *Consumer[R]) depart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.Grace)
	defer cancel()
	_, err := c.options.Store.Share(ctx, eventstore.Share{
		Name: c.options.Name, Member: c.member, Slices: c.options.Slices, Lease: c.options.Lease, Leave: true,
	})
	if err == nil || passing(err) || errors.Is(err, eventstore.ErrClosed) || errors.Is(err, eventstore.ErrSlices) || ctx.Err() != nil {
		return nil // the lease runs out by itself
	}
	return err
}

// awaitLease returns when the lease is known not to have run out, or with an
// error when the slice is lost. The process may have been stopped for long
// without noticing.
func (c *Consumer[R]) awaitLease(ctx context.Context) error {
	for {
		c.mu.Lock()
		changed, left := c.changed, time.Until(c.until)
		c.mu.Unlock()
		if left > 0 {
			return ctx.Err()
		}
		c.nudge()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sliceOf returns the slice that an aggregate is in.
func (c *Consumer[R]) sliceOf(key book.Key) int { return eventstore.SliceOf(key, c.options.Slices) }
