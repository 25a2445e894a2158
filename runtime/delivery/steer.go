package delivery

import (
	"context"
	"errors"
	"fmt"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// Paused says that somebody has paused the component. Its events wait in the log.
type Paused struct {
	Component string
	Note      string // who has and why; may be empty
}

func (e *Paused) Error() string {
	said := e.Component + " is paused"
	if e.Note != "" {
		said += " (" + e.Note + ")"
	}
	return said + `, and gets its events when somebody says "angz projections resume ` + e.Component + `"`
}

// GRPCStatus says that asking again does not help.
func (e *Paused) GRPCStatus() *status.Status { return status.New(codes.FailedPrecondition, e.Error()) }

// heedPause notes whether the subscription is paused. The caller holds the lock.
func (c *Consumer[R]) heedPause(shared eventstore.Shared) {
	switch {
	case shared.Paused && !c.paused:
		c.options.Logger.Info("somebody has paused the component; its events wait", "component", c.options.Name, "note", shared.Note)
	case !shared.Paused && c.paused:
		c.options.Logger.Info("the component is not paused any more, it goes on", "component", c.options.Name)
	}
	c.paused, c.note = shared.Paused, shared.Note
}

// pausedError returns a *Paused while the subscription is paused, else nil. The
// caller holds the lock.
func (c *Consumer[R]) pausedError() error {
	if !c.paused {
		return nil
	}
	return &Paused{Component: c.options.Name, Note: c.note}
}

// rewind is one that this instance does.
type rewind struct {
	number uint64
	cancel context.CancelFunc
}

// beginRewind begins with the rewind that is this instance's to do, beside the
// renewing of the lease: clearing away may take long. What another one does now, or
// nobody any more, is given up here.
func (c *Consumer[R]) beginRewind(wanted *eventstore.Rewinding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rewind != nil && (wanted == nil || wanted.Number != c.rewind.number) {
		c.rewind.cancel()
		c.rewind = nil
	}
	if wanted == nil || c.rewind != nil || c.stopping {
		return
	}
	ctx, cancel := context.WithCancel(c.working)
	begun := &rewind{number: wanted.Number, cancel: cancel}
	c.rewind = begun
	c.work.Go(func() {
		defer cancel()
		c.doRewind(ctx, *wanted)
		c.mu.Lock()
		if c.rewind == begun {
			c.rewind = nil
		}
		c.mu.Unlock()
		c.nudge()
	})
}

// doRewind clears away what the component has made, if that is wanted, and lets
// its events come again.
func (c *Consumer[R]) doRewind(ctx context.Context, wanted eventstore.Rewinding) {
	rewound := eventstore.Rewound{Name: c.options.Name, Number: wanted.Number, Member: c.member}
	if wanted.Clear {
		err := c.reset(ctx)
		if ctx.Err() != nil {
			return // it begins again, here or elsewhere
		}
		if err != nil {
			rewound.Failed = reasonOf(err)
		}
	}
	err := c.awaitLease(ctx)
	if err == nil {
		err = c.options.Store.Rewound(ctx, rewound)
	}
	switch {
	case errors.Is(err, eventstore.ErrFenced): // somebody wants another one by now
	case err != nil:
		c.options.Logger.Warn("the component could not be rewound, trying again", "component", c.options.Name, "error", err)
	case rewound.Failed != "":
		c.options.Logger.Warn("the component is not rewound, because what it has made could not be cleared away", "component", c.options.Name, "reason", rewound.Failed)
	default:
		c.options.Logger.Info("the component is rewound, its events come again", "component", c.options.Name, "after", wanted.To)
	}
}

// reset has the component clear away what it has made. It is asked again for as
// long as it is away, and as often as for an event when it fails.
func (c *Consumer[R]) reset(ctx context.Context) error {
	if c.options.Reset == nil {
		return fmt.Errorf("%s cannot clear away what it has made", c.options.Name)
	}
	failures := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		if err := c.awaitLease(ctx); err != nil {
			return struct{}{}, err
		}
		err := c.options.Reset(ctx)
		switch {
		case err == nil || c.options.Absent(err):
		case c.options.Retryable(err) && failures < c.options.Attempts-1:
			failures++
		default:
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(c.delays()), backoff.WithMaxElapsedTime(0))
	return err
}
