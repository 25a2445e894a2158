package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// place is a relay's position in the store. A nil place records nothing.
type place struct {
	subscriptions eventstore.Subscriptions
	name          string
	epoch         uint64
	recorded      uint64
	at            time.Time // of the last record
}

func (p *place) claim(ctx context.Context) (uint64, error) {
	claim, err := p.subscriptions.Claim(ctx, p.name)
	if err != nil {
		return 0, fmt.Errorf("claim the place of %s: %w", p.name, err)
	}
	p.epoch, p.recorded, p.at = claim.Epoch, claim.Position, time.Now()
	return claim.Position, nil
}

func (p *place) behind(position uint64) bool { return p != nil && p.recorded < position }

// rest returns how long the position need not be recorded yet.
func (p *place) rest() time.Duration { return max(0, recordAfter-time.Since(p.at)) }

func (p *place) due(position uint64) bool {
	return p.behind(position) && (position-p.recorded >= recordEvery || p.rest() == 0)
}

func (p *place) advance(ctx context.Context, to uint64) error {
	err := p.subscriptions.Advance(ctx, eventstore.Advance{Name: p.name, Epoch: p.epoch, From: p.recorded, To: to})
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
	if !r.place.behind(r.published) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	return r.place.advance(ctx, r.published)
}
