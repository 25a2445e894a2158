package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// mostLooks is about how many blocked aggregates the store is asked in one look.
// Those that are to be retried are found all at once and do not count.
const mostLooks = 1000

// undecided are the states in which dead letters block their aggregate.
var undecided = []eventstore.State{eventstore.StateParked, eventstore.StateRetry}

// Decided says that somebody has decided about dead letters or the subscription, so
// that it is looked at now rather than after a third of the lease.
func (c *Consumer[R]) Decided() {
	c.lookAtLetters()
	c.nudge()
}

// lookAtLetters has people's decisions about dead letters looked at now.
func (c *Consumer[R]) lookAtLetters() {
	select {
	case c.decided <- struct{}{}:
	default:
	}
}

// keepHeeding looks again and again at what people have decided about dead
// letters, until the context ends.
func (c *Consumer[R]) keepHeeding(ctx context.Context) error {
	looks := time.NewTicker(c.options.Lease / 3)
	defer looks.Stop()
	for {
		select {
		case <-looks.C:
		case <-c.decided:
		case <-ctx.Done():
			return nil
		}
		switch err := errors.Join(c.heed(ctx), c.heedAside(ctx)); {
		case err == nil || ctx.Err() != nil:
		case passing(err):
			c.options.Logger.Debug("decisions about dead letters could not be read, trying again", "component", c.options.Name, "error", err)
		default:
			return fmt.Errorf("read decisions about dead letters: %w", err)
		}
	}
}

// heed has the dead letters that are due handled in their aggregates' lanes.
func (c *Consumer[R]) heed(ctx context.Context) error {
	// What is not recorded yet is looked at before the store is asked, so that
	// what is recorded in between is seen at least once.
	blocked, failed := c.blockedHere()
	if len(blocked) == 0 {
		return nil
	}
	retried, err := c.toBeRetried(ctx)
	if err != nil {
		return err
	}
	looks := 0
	for key, why := range blocked { // in another order each time, so that everyone's turn comes
		due := retried[key]
		if !due && !failed[key] && looks < mostLooks {
			looks++
			if due, err = c.freed(ctx, key); err != nil {
				return err
			}
		}
		if due {
			c.beginRetry(key, why)
		}
	}
	return nil
}

// blockedHere returns the blocked aggregates, and those among them whose failure
// has not been recorded yet, so that nobody can have decided about it.
func (c *Consumer[R]) blockedHere() (blocked map[book.Key]*poison, failed map[book.Key]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.blocked) == 0 {
		return nil, nil
	}
	failed = map[book.Key]bool{}
	for _, s := range c.held {
		for i := range s.parked {
			failed[s.parked[i].Key] = failed[s.parked[i].Key] || c.blocks(&s.parked[i]) && s.parked[i].Attempts > 0
		}
		for _, entry := range s.flight {
			if c.blocks(entry.parked) && entry.parked.Attempts > 0 {
				failed[entry.parked.Key] = true
			}
		}
	}
	blocked = make(map[book.Key]*poison, len(c.blocked))
	for key, why := range c.blocked {
		blocked[key] = why
	}
	return blocked, failed
}

// blocks reports whether a dead letter, if it is one, blocks its aggregate.
func (c *Consumer[R]) blocks(letter *eventstore.Parked) bool {
	return letter != nil && letter.Subscription == c.options.Name
}

// toBeRetried returns the aggregates of which a dead letter is to be retried.
func (c *Consumer[R]) toBeRetried(ctx context.Context) (map[book.Key]bool, error) {
	const page = 1000
	query := eventstore.ParkedQuery{
		Subscription: c.options.Name, AfterSubscription: c.options.Name, States: []eventstore.State{eventstore.StateRetry}, Limit: page,
	}
	keys := map[book.Key]bool{}
	for {
		letters, err := c.options.Store.Parked(ctx, query)
		if err != nil {
			return nil, err
		}
		for i := range letters {
			keys[letters[i].Key] = true
			query.AfterPosition = letters[i].Position
		}
		if len(letters) < page {
			return keys, nil
		}
	}
}

// freed reports whether the dead letters that held an aggregate up have been
// decided about: none is left, or the first one left only waits behind them.
func (c *Consumer[R]) freed(ctx context.Context, key book.Key) (bool, error) {
	first, err := c.nextLetter(ctx, key, 0)
	return err == nil && (first == nil || first.Attempts == 0), err
}

// nextLetter returns an aggregate's first dead letter behind a position, nil when
// there is none.
func (c *Consumer[R]) nextLetter(ctx context.Context, key book.Key, after uint64) (*eventstore.Parked, error) {
	letters, err := c.options.Store.Parked(ctx, eventstore.ParkedQuery{
		Subscription: c.options.Name, AfterSubscription: c.options.Name, AfterPosition: after, Key: key, States: undecided, Limit: 1,
	})
	if err != nil || len(letters) == 0 {
		return nil, err
	}
	return &letters[0], nil
}

// beginRetry has an aggregate's dead letters handled in its lane, unless that goes
// on already or the aggregate is blocked for another reason than when it was
// looked at.
func (c *Consumer[R]) beginRetry(key book.Key, why *poison) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.held[c.sliceOf(key)]
	if s == nil || s.leaving || s.draining[key] || c.blocked[key] != why {
		return
	}
	s.draining[key] = true
	c.enqueue(key, &job[R]{slice: s})
}

// retryLetters handles an aggregate's dead letters in order, in its lane, until
// one fails again or none is left: then the aggregate goes on.
func (c *Consumer[R]) retryLetters(key book.Key, s *slice) {
	err := c.retryAll(s.working, s, key)
	c.mu.Lock()
	delete(s.draining, key)
	c.mu.Unlock()
	if err != nil && s.working.Err() == nil {
		c.options.Logger.Warn("dead letters could not be retried, trying again soon", "component", c.options.Name,
			"domain", key.Domain, "root", key.Root.String(), "error", err)
	}
}

// retryAll takes the letters in the store first: they are older than those that
// wait to be recorded.
func (c *Consumer[R]) retryAll(ctx context.Context, s *slice, key book.Key) error {
	position := uint64(0)
	for {
		letter, err := c.nextLetter(ctx, key, position)
		if err != nil {
			return err
		}
		done := false
		if letter != nil {
			position = letter.Position
			done, err = c.retryRecorded(ctx, s, letter)
		} else {
			done, err = c.retryUnrecorded(ctx, s, key)
		}
		if done || err != nil {
			return err
		}
	}
}

// retryRecorded handles one dead letter and tells the store what became of it. It
// is done with the aggregate when the letter has failed again.
func (c *Consumer[R]) retryRecorded(ctx context.Context, s *slice, letter *eventstore.Parked) (done bool, err error) {
	outcome, err := c.again(ctx, s, letter)
	if err != nil {
		return false, err
	}
	if outcome.aside != nil {
		if err := c.options.Store.Advance(ctx, eventstore.Advance{Name: c.options.Name, Park: []eventstore.Parked{*outcome.aside}}); err != nil {
			return false, err
		}
	}
	decision := eventstore.Decision{
		Subscription: letter.Subscription, Position: letter.Position, From: undecided, To: eventstore.StateResolved, Attempts: outcome.attempts,
	}
	if outcome.failed != nil {
		decision.To, decision.Reason = eventstore.StateParked, reasonOf(outcome.failed)
	}
	err = c.options.Store.Decide(ctx, decision)
	if errors.Is(err, eventstore.ErrNotParked) {
		err = nil // somebody was faster, and has the last word
	}
	return outcome.failed != nil, err
}

// retryUnrecorded handles an aggregate's first dead letter that the store does not
// know yet. It is done with the aggregate when there is none, and lets it go on,
// or when the letter has failed.
func (c *Consumer[R]) retryUnrecorded(ctx context.Context, s *slice, key book.Key) (done bool, err error) {
	found, letter, recordable := c.reopen(s, key)
	switch {
	case recordable:
		return false, c.record(ctx, true) // then the store knows it
	case found == nil:
		return true, ctx.Err()
	}
	outcome, err := c.again(ctx, s, letter)
	if ctx.Err() != nil {
		return false, err // left undone, so it comes again
	}
	rest := outcome.aside
	if err == nil && outcome.failed == nil {
		letter = nil
	}
	if outcome.failed != nil {
		letter.Attempts, letter.Reason, letter.LastAt = letter.Attempts+outcome.attempts, reasonOf(outcome.failed), time.Now()
	}
	if letter != nil {
		rest = letter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(found, rest)
	return outcome.failed != nil, err
}

// reopen returns an aggregate's first dead letter that is not recorded, and its
// entry as one that is not done, so that nothing moves past it. Recordable means
// that it waits for nothing but to be written. If there is none the aggregate is
// let go on: this is its lane, in which none can arise meanwhile.
func (c *Consumer[R]) reopen(s *slice, key book.Key) (found *entry, letter *eventstore.Parked, recordable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.lost {
		return nil, nil, false
	}
	for i := range s.parked {
		if s.parked[i].Key == key && c.blocks(&s.parked[i]) {
			return nil, nil, true
		}
	}
	for _, entry := range s.flight {
		if c.blocks(entry.parked) && entry.parked.Key == key {
			letter, entry.parked, entry.done = entry.parked, nil, false
			return entry, letter, false
		}
	}
	delete(c.blocked, key)
	c.options.Logger.Info("no dead letters are left that hold the aggregate up, it goes on",
		"component", c.options.Name, "domain", key.Domain, "root", key.Root.String())
	return nil, nil, false
}

// repeated is what became of a dead letter that was handled once more.
type repeated struct {
	attempts int
	aside    *eventstore.Parked // which it leaves in another subscription's name
	failed   error
}

// again handles the events that a dead letter stands for.
func (c *Consumer[R]) again(ctx context.Context, s *slice, letter *eventstore.Parked) (outcome repeated, err error) {
	events, err := c.eventsOf(ctx, letter)
	if err != nil {
		return outcome, err
	}
	var also *Park
	first := time.Now()
	outcome.attempts, err = c.try(ctx, s, letter.Key, events)
	switch {
	case ctx.Err() != nil:
		return outcome, ctx.Err()
	case errors.As(err, &also):
		outcome.aside = parkedAt(eventstore.Parked{
			Attempts: outcome.attempts, Reason: also.Reason, FirstAt: first, LastAt: time.Now(),
		}, also.Subscription, events)
	case err != nil:
		outcome.failed = err
		c.block(letter.Key, events, err)
	}
	return outcome, nil
}

// eventsOf returns the events that a dead letter stands for, as they were stored.
func (c *Consumer[R]) eventsOf(ctx context.Context, letter *eventstore.Parked) (*pb.EventBook, error) {
	from := letter.Sequence
	events, err := c.options.Store.Events(ctx, letter.Key, eventstore.Range{From: from, To: from})
	if err == nil && len(events) > 0 && !events[0].Last() {
		to := from + uint32(events[0].Count-events[0].Offset-1)
		events, err = c.options.Store.Events(ctx, letter.Key, eventstore.Range{From: from, To: to})
	}
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("event %d of %s, which a dead letter stands for, is not in the store", from, letter.Key)
	}
	return eventstore.Book(events), nil
}
