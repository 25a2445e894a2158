package delivery

import (
	"context"
	"errors"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// anewKey is the context's key for events that somebody wants handled anew.
type anewKey struct{}

// Anew reports whether a Handle is called because somebody wants the events of a
// dead letter under Options.Aside handled once more, though they have been: what
// was refused or given up then is to be tried again.
func Anew(ctx context.Context) bool {
	anew, _ := ctx.Value(anewKey{}).(bool)
	return anew
}

// aside is a dead letter under Options.Aside that is being retried.
type aside struct {
	slice *slice // in whose lane it waits or is handled; nil between two looks
	tries int    // that failed with an error that may pass
}

// heedAside has the dead letters under Options.Aside that are to be retried
// handled in their aggregates' lanes. They block nothing, so each stands for
// itself.
func (c *Consumer[R]) heedAside(ctx context.Context) error {
	if c.options.Aside == "" {
		return nil
	}
	const page = 1000
	letters, err := c.options.Store.Parked(ctx, eventstore.ParkedQuery{
		Subscription: c.options.Aside, AfterSubscription: c.options.Aside, States: []eventstore.State{eventstore.StateRetry}, Limit: page,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := map[uint64]bool{}
	for i := range letters {
		wanted[letters[i].Position] = true
	}
	for position, found := range c.asides {
		if !wanted[position] && (found.slice == nil || found.slice.lost) {
			delete(c.asides, position) // somebody else has decided it
		}
	}
	for i := range letters {
		key := letters[i].Key
		s := c.held[c.sliceOf(key)]
		if s == nil || s.leaving || s.lost {
			continue
		}
		found := c.asides[letters[i].Position]
		if found == nil {
			found = &aside{}
			c.asides[letters[i].Position] = found
		}
		if found.slice != s {
			found.slice = s
			c.enqueue(key, &job[R]{slice: s, aside: &letters[i]})
		}
	}
	return nil
}

// retryAside handles one such dead letter, in its aggregate's lane.
func (c *Consumer[R]) retryAside(key book.Key, job *job[R]) {
	s, letter := job.slice, job.aside
	decided, err := c.anew(s.working, letter)
	c.mu.Lock()
	if found := c.asides[letter.Position]; found != nil && found.slice == s {
		if found.slice = nil; decided {
			delete(c.asides, letter.Position)
		}
	}
	c.mu.Unlock()
	if err != nil && s.working.Err() == nil {
		c.options.Logger.Warn("a dead letter could not be retried, trying again soon", "component", letter.Subscription,
			"domain", key.Domain, "root", key.Root.String(), "error", err)
	}
}

// anew handles the events of a dead letter and tells the store what became of it.
// It reports whether that is decided; if not, the next look comes back to it.
func (c *Consumer[R]) anew(ctx context.Context, letter *eventstore.Parked) (decided bool, err error) {
	if waits, err := c.waitsForRetry(ctx, letter); err != nil || !waits {
		return err == nil, err
	}
	events, err := c.eventsOf(ctx, letter)
	if err != nil {
		return false, err
	}
	_, err = c.call(context.WithValue(about(ctx, events), anewKey{}, true), events)
	decision := eventstore.Decision{
		Subscription: letter.Subscription, Position: letter.Position, From: []eventstore.State{eventstore.StateRetry}, To: eventstore.StateResolved, Attempts: 1,
	}
	var also *Park
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &also):
		decision.To, decision.Reason = eventstore.StateParked, also.Reason
	case err != nil && c.passes(letter, err):
		return false, err
	case err != nil:
		decision.To, decision.Reason = eventstore.StateParked, reasonOf(err)
	}
	err = c.options.Store.Decide(ctx, decision)
	if errors.Is(err, eventstore.ErrNotParked) {
		err = nil // somebody was faster, and has the last word
	}
	return err == nil, err
}

// waitsForRetry reports whether a dead letter is still to be retried: it may have
// been decided between being found and its turn in the lane.
func (c *Consumer[R]) waitsForRetry(ctx context.Context, letter *eventstore.Parked) (bool, error) {
	found, err := c.options.Store.Parked(ctx, eventstore.ParkedQuery{
		Subscription: letter.Subscription, AfterSubscription: letter.Subscription, AfterPosition: letter.Position - 1, Limit: 1,
	})
	return err == nil && len(found) > 0 && found[0].Position == letter.Position && found[0].State == eventstore.StateRetry, err
}

// passes reports whether an error may pass and has not come too often.
func (c *Consumer[R]) passes(letter *eventstore.Parked, err error) bool {
	if c.options.Absent(err) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.asides[letter.Position]
	if found == nil || !c.options.Retryable(err) {
		return false
	}
	found.tries++
	return found.tries < c.options.Attempts
}
