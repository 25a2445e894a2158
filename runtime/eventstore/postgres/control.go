package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	pauseSubscription = `INSERT INTO angz_controls AS c (name, paused, note, decided_at)
		SELECT $1, $2, $3, clock_timestamp() WHERE EXISTS (SELECT 1 FROM angz_slices s WHERE s.name = $1)
		ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, note = excluded.note, decided_at = excluded.decided_at`

	rewindSubscription = `INSERT INTO angz_controls AS c (name, note, decided_at, rewind, rewinding, target, clear)
		SELECT $1, $2, clock_timestamp(), 1, true, $3, $4 WHERE EXISTS (SELECT 1 FROM angz_slices s WHERE s.name = $1)
		ON CONFLICT (name) DO UPDATE SET note = excluded.note, decided_at = excluded.decided_at, rewind = c.rewind + 1,
			rewinding = true, target = excluded.target, clear = excluded.clear, rewinder = NULL, failed = ''`
)

// Pause lets a subscription rest, or go on; see eventstore.Steering.
func (s *Store) Pause(ctx context.Context, p eventstore.Pause) error {
	err := s.control(ctx, p.Name, p.Note, pauseSubscription, p.Name, p.Paused, p.Note)
	if err != nil {
		return fmt.Errorf("pause subscription %q: %w", p.Name, err)
	}
	return nil
}

// Rewind asks for a subscription to begin again; see eventstore.Steering.
func (s *Store) Rewind(ctx context.Context, r eventstore.Rewind) error {
	err := s.control(ctx, r.Name, r.Note, rewindSubscription, r.Name, r.Note, int64(min(r.To, math.MaxInt64)), r.Clear)
	if err != nil {
		return fmt.Errorf("rewind subscription %q: %w", r.Name, err)
	}
	return nil
}

// control writes down a decision about a subscription.
func (s *Store) control(ctx context.Context, name, note, statement string, args ...any) error {
	if err := errors.Join(s.open(ctx), checkTexts(name, note)); err != nil {
		return err
	}
	changed, err := s.pool.Exec(ctx, statement, args...)
	if err == nil && changed.RowsAffected() == 0 {
		return eventstore.ErrNoSubscription
	}
	return unavailable(err)
}

// Rewound ends a rewind; see eventstore.Steering.
func (s *Store) Rewound(ctx context.Context, r eventstore.Rewound) error {
	err := s.rewound(ctx, &r)
	if err != nil {
		return fmt.Errorf("rewind subscription %q: %w", r.Name, err)
	}
	return nil
}

func (s *Store) rewound(ctx context.Context, r *eventstore.Rewound) error {
	if err := errors.Join(s.open(ctx), checkTexts(r.Name, r.Failed)); err != nil {
		return err
	}
	var done bool
	err := s.pool.QueryRow(ctx, `SELECT angz_rewound($1, $2, $3, $4)`, r.Name, int64(r.Number), pgtype.UUID{Bytes: r.Member, Valid: true}, r.Failed).Scan(&done)
	if err == nil && !done {
		return eventstore.ErrFenced
	}
	return unavailable(err)
}

// Controls lists what has been decided; see eventstore.Steering.
func (s *Store) Controls(ctx context.Context) ([]eventstore.Control, error) {
	controls, err := s.controls(ctx)
	if err != nil {
		return nil, fmt.Errorf("list decisions about subscriptions: %w", err)
	}
	return controls, nil
}

func (s *Store) controls(ctx context.Context) (controls []eventstore.Control, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `SELECT name, paused, note, decided_at, rewinding, rewind, target, clear, failed FROM angz_controls ORDER BY name`)
	if err != nil {
		return nil, unavailable(err)
	}
	var c eventstore.Control
	var number, target int64
	_, err = pgx.ForEachRow(rows, []any{&c.Name, &c.Paused, &c.Note, &c.At, &c.Rewinding, &number, &target, &c.Clear, &c.Failed}, func() error {
		c.Number, c.To = uint64(number), uint64(target)
		controls = append(controls, c)
		return nil
	})
	return controls, unavailable(err)
}
