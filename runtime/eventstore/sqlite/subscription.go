package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	claim = `INSERT INTO subscriptions (name, position, epoch, updated_at) VALUES (?, 0, 1, ?)
		ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, updated_at = excluded.updated_at
		RETURNING position, epoch`

	// The position a consumer came from is compared too: a claim that is used
	// twice by mistake must not jump over events.
	advance = `UPDATE subscriptions SET position = ?, updated_at = ? WHERE name = ? AND epoch = ? AND position = ?`

	park = `INSERT INTO parked
			(subscription, position, domain, root, seq, attempts, reason, state, first_at, last_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (subscription, position) DO UPDATE SET
			attempts = excluded.attempts, reason = excluded.reason, state = excluded.state, last_at = excluded.last_at`

	selectParked = `SELECT position, domain, root, seq, attempts, reason, state, first_at, last_at
		FROM parked WHERE subscription = ? AND position > ? AND state = 'parked' ORDER BY position LIMIT ?`

	selectBlocked = `SELECT DISTINCT domain, root FROM parked
		WHERE subscription = ? AND state = 'parked' ORDER BY domain, root`
)

// Claim takes over a subscription; see eventstore.Subscriptions.
func (s *Store) Claim(ctx context.Context, name string) (eventstore.Claim, error) {
	claimed := eventstore.Claim{Name: name}
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error {
		return t.conn.query(ctx, claim, func(row []driver.Value) error {
			claimed.Position, claimed.Epoch = uint64(integer(row[0])), uint64(integer(row[1]))
			return nil
		}, name, now())
	})
	if err != nil {
		return eventstore.Claim{}, fmt.Errorf("claim subscription %q: %w", name, err)
	}
	return claimed, nil
}

// Advance moves a subscription; see eventstore.Subscriptions.
func (s *Store) Advance(ctx context.Context, move eventstore.Advance) error {
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error {
		moved, err := t.conn.exec(ctx, advance, int64(move.To), now(), move.Name, int64(move.Epoch), int64(move.From))
		if err != nil {
			return err
		}
		if moved == 0 {
			return eventstore.ErrFenced
		}
		for i := range move.Park {
			if err := t.park(ctx, cmp.Or(move.Park[i].Subscription, move.Name), &move.Park[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("advance subscription %q from %d to %d: %w", move.Name, move.From, move.To, err)
	}
	return nil
}

func (t *transaction) park(ctx context.Context, subscription string, p *eventstore.Parked) error {
	state := p.State
	if state == "" {
		state = eventstore.StateParked
	}
	_, err := t.conn.exec(ctx, park, subscription, int64(p.Position), p.Key.Domain, p.Key.Root[:], int64(p.Sequence),
		int64(p.Attempts), p.Reason, string(state), nanos(p.FirstAt), nanos(p.LastAt))
	return err
}

// Positions lists all subscriptions; see eventstore.Subscriptions.
func (s *Store) Positions(ctx context.Context) ([]eventstore.Position, error) {
	var positions []eventstore.Position
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, `SELECT name, position, epoch, updated_at FROM subscriptions ORDER BY name`, func(row []driver.Value) error {
			positions = append(positions, eventstore.Position{
				Name: text(row[0]), Position: uint64(integer(row[1])), Epoch: uint64(integer(row[2])), UpdatedAt: moment(row[3]),
			})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return positions, nil
}

// Parked lists parked events; see eventstore.Parking.
func (s *Store) Parked(ctx context.Context, subscription string, after uint64, limit int) ([]eventstore.Parked, error) {
	var parked []eventstore.Parked
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectParked, func(row []driver.Value) error {
			parked = append(parked, eventstore.Parked{
				Subscription: subscription,
				Position:     uint64(integer(row[0])),
				Key:          book.Key{Domain: text(row[1]), Root: id(row[2])},
				Sequence:     uint32(integer(row[3])),
				Attempts:     int(integer(row[4])),
				Reason:       text(row[5]),
				State:        eventstore.State(text(row[6])),
				FirstAt:      moment(row[7]),
				LastAt:       moment(row[8]),
			})
			return nil
		}, subscription, int64(min(after, math.MaxInt64)), int64(max(limit, 1)))
	})
	if err != nil {
		return nil, fmt.Errorf("list parked events of %q: %w", subscription, err)
	}
	return parked, nil
}

// Blocked lists the aggregates with parked events; see eventstore.Parking.
func (s *Store) Blocked(ctx context.Context, subscription string) ([]book.Key, error) {
	var keys []book.Key
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectBlocked, func(row []driver.Value) error {
			keys = append(keys, book.Key{Domain: text(row[0]), Root: id(row[1])})
			return nil
		}, subscription)
	})
	if err != nil {
		return nil, fmt.Errorf("list blocked aggregates of %q: %w", subscription, err)
	}
	return keys, nil
}

// SetParked changes the state of a parked event; see eventstore.Parking.
func (s *Store) SetParked(ctx context.Context, subscription string, position uint64, state eventstore.State) error {
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error {
		changed, err := t.conn.exec(ctx, `UPDATE parked SET state = ? WHERE subscription = ? AND position = ?`,
			string(state), subscription, int64(position))
		if err == nil && changed == 0 {
			err = eventstore.ErrNotParked
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("mark position %d of %q as %s: %w", position, subscription, state, err)
	}
	return nil
}

// now is the only clock the store reads, and only to tell people when something
// moved.
func now() int64 { return time.Now().UnixNano() }
