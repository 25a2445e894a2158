package relay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// errLost says that another relay publishes now, or may.
var errLost = errors.New("the lease is lost")

// place is a relay's position in the store, which one relay at a time holds by a
// lease. A nil place records nothing.
type place struct {
	subscriptions eventstore.Subscriptions
	name          string
	member        uuid.UUID
	lease         time.Duration

	epoch    uint64
	recorded uint64
	at       time.Time // of the last record
	until    atomic.Pointer[time.Time]
}

// share asks for the place, or says that it is still used, and reports whether
// this relay holds it.
func (p *place) share(ctx context.Context) (held bool, err error) {
	asked := time.Now()
	shared, err := p.subscriptions.Share(ctx, eventstore.Share{
		Name: p.name, Member: p.member, Slices: 1, Lease: p.lease,
	})
	if err != nil {
		return false, fmt.Errorf("share %s: %w", p.name, err)
	}
	slice := shared.Slices[0]
	if slice.Member != p.member {
		return false, nil
	}
	if slice.Epoch != p.epoch {
		// New to this relay, or somebody else's in between.
		if p.until.Load() != nil {
			return false, nil
		}
		p.epoch, p.recorded, p.at = slice.Epoch, slice.Position, time.Now()
	}
	until := asked.Add(p.lease)
	p.until.Store(&until)
	return true, nil
}

// lapsed reports whether the lease may have run out, by this process's own
// clock, which also goes on while the process is stopped.
func (p *place) lapsed() bool {
	if p == nil {
		return false
	}
	until := p.until.Load()
	return until == nil || !time.Now().Before(*until)
}

// lose forgets that the place was ever held.
func (p *place) lose() {
	p.epoch = 0
	p.until.Store(nil)
}

// leave lets another relay take the place at once. If the store cannot be told,
// the lease runs out by itself.
func (p *place) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	_, err := p.subscriptions.Share(ctx, eventstore.Share{Name: p.name, Member: p.member, Slices: 1, Lease: p.lease, Leave: true})
	if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// renew keeps the lease until the context ends or the lease is lost, which it
// returns.
func (p *place) renew(ctx context.Context) error {
	ticks := time.NewTicker(p.lease / 3)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		held, err := p.share(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case errors.Is(err, eventstore.ErrClosed):
			return err
		case err == nil && !held, err != nil && p.lapsed():
			return errors.Join(errLost, err)
		}
	}
}

func (p *place) behind(position uint64) bool { return p != nil && p.recorded < position }

// rest returns how long the position need not be recorded yet.
func (p *place) rest() time.Duration { return max(0, recordAfter-time.Since(p.at)) }

func (p *place) due(position uint64) bool {
	return p.behind(position) && (position-p.recorded >= recordEvery || p.rest() == 0)
}

func (p *place) advance(ctx context.Context, to uint64) error {
	err := p.subscriptions.Advance(ctx, eventstore.Advance{
		Name: p.name, Moves: []eventstore.Move{{Epoch: p.epoch, From: p.recorded, To: to}},
	})
	if err != nil {
		return fmt.Errorf("record that %s has published up to position %d: %w", p.name, to, err)
	}
	p.recorded, p.at = to, time.Now()
	return nil
}

// record moves the place when that is due. Trouble is waited out, unless the
// relay has been replaced or the store closed.
func (r *Relay) record(ctx context.Context) error {
	if !r.place.due(r.published) {
		return nil
	}
	_, err := retry(ctx, r.logger, "record the relay's position", func() (struct{}, error) {
		err := r.place.advance(ctx, r.published)
		if errors.Is(err, eventstore.ErrFenced) || errors.Is(err, eventstore.ErrClosed) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	})
	return err
}

// recordLast moves the place at the end, when the context has ended already.
func (r *Relay) recordLast(ctx context.Context) error {
	if !r.place.behind(r.published) || r.place.lapsed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	err := r.place.advance(ctx, r.published)
	if errors.Is(err, eventstore.ErrFenced) {
		return nil // another relay goes on from what was recorded
	}
	return err
}
