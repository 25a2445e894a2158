package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	pauseSubscription = `INSERT INTO controls (name, paused, note, decided_at)
		SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM slices WHERE name = ?1)
		ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, note = excluded.note, decided_at = excluded.decided_at`

	rewindSubscription = `INSERT INTO controls (name, note, decided_at, rewind, rewinding, target, clear)
		SELECT ?1, ?2, ?3, 1, 1, ?4, ?5 WHERE EXISTS (SELECT 1 FROM slices WHERE name = ?1)
		ON CONFLICT (name) DO UPDATE SET note = excluded.note, decided_at = excluded.decided_at, rewind = rewind + 1,
			rewinding = 1, target = excluded.target, clear = excluded.clear, rewinder = NULL, failed = ''`

	selectControls = `SELECT name, paused, note, decided_at, rewinding, rewind, target, clear, failed, rewinder FROM controls`

	endRewind = `UPDATE controls SET rewinding = 0, rewinder = NULL, failed = ?
		WHERE name = ? AND rewinding = 1 AND rewind = ? AND rewinder = ?`
)

// Pause lets a subscription rest, or go on; see eventstore.Steering.
func (s *Store) Pause(ctx context.Context, p eventstore.Pause) error {
	err := s.control(ctx, pauseSubscription, p.Name, truth(p.Paused), p.Note, now())
	if err != nil {
		return fmt.Errorf("pause subscription %q: %w", p.Name, err)
	}
	return nil
}

// Rewind asks for a subscription to begin again; see eventstore.Steering.
func (s *Store) Rewind(ctx context.Context, r eventstore.Rewind) error {
	err := s.control(ctx, rewindSubscription, r.Name, r.Note, now(), int64(min(r.To, math.MaxInt64)), truth(r.Clear))
	if err != nil {
		return fmt.Errorf("rewind subscription %q: %w", r.Name, err)
	}
	return nil
}

// control writes down a decision about a subscription.
func (s *Store) control(ctx context.Context, statement string, args ...driver.Value) error {
	return s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error {
		changed, err := t.conn.exec(ctx, statement, args...)
		if err == nil && changed == 0 {
			return eventstore.ErrNoSubscription
		}
		return err
	})
}

// Rewound ends a rewind; see eventstore.Steering.
func (s *Store) Rewound(ctx context.Context, r eventstore.Rewound) error {
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error { return t.rewound(ctx, &r) })
	if err != nil {
		return fmt.Errorf("rewind subscription %q: %w", r.Name, err)
	}
	return nil
}

func (t *transaction) rewound(ctx context.Context, r *eventstore.Rewound) error {
	control, err := t.control(ctx, r.Name)
	if err != nil {
		return err
	}
	changed, err := t.conn.exec(ctx, endRewind, r.Failed, r.Name, int64(r.Number), r.Member[:])
	if err != nil {
		return err
	}
	if changed == 0 {
		return eventstore.ErrFenced
	}
	if r.Failed != "" {
		return nil
	}
	// Whoever held slices before may not record anything any more, wherever it was.
	_, err = t.conn.exec(ctx, `UPDATE slices SET position = min(position, ?), epoch = epoch + 1, member = NULL, updated_at = ? WHERE name = ?`,
		int64(control.To), now(), r.Name)
	if err != nil {
		return err
	}
	_, err = t.conn.exec(ctx, `DELETE FROM parked WHERE subscription = ? AND position > ?`, r.Name, int64(control.To))
	return err
}

// rewinding gives a rewind to the member that asks, unless another one does it or
// somebody holds slices. What is held under a lease that has run out holds up
// nothing.
func (t *transaction) rewinding(ctx context.Context, request *eventstore.Share, control *ruling, slices []eventstore.Slice, members map[uuid.UUID]string) (*eventstore.Rewinding, error) {
	for i := range slices {
		if slices[i].Member != uuid.Nil {
			return nil, nil
		}
	}
	if _, alive := members[control.rewinder]; alive && control.rewinder != request.Member {
		return nil, nil
	}
	if control.rewinder != request.Member {
		if _, err := t.conn.exec(ctx, `UPDATE controls SET rewinder = ? WHERE name = ?`, request.Member[:], request.Name); err != nil {
			return nil, err
		}
	}
	return &eventstore.Rewinding{Number: control.Number, To: control.To, Clear: control.Clear}, nil
}

// ruling is what has been decided about a subscription, and who acts on it.
type ruling struct {
	eventstore.Control
	rewinder uuid.UUID
}

func rulingOf(row []driver.Value) ruling {
	return ruling{
		Control: eventstore.Control{
			Name: text(row[0]), Paused: integer(row[1]) != 0, Note: text(row[2]), At: moment(row[3]), Rewinding: integer(row[4]) != 0,
			Number: uint64(integer(row[5])), To: uint64(integer(row[6])), Clear: integer(row[7]) != 0, Failed: text(row[8]),
		},
		rewinder: id(row[9]),
	}
}

// control returns what has been decided about a subscription; zero for nothing.
func (t *transaction) control(ctx context.Context, name string) (found ruling, err error) {
	err = t.conn.query(ctx, selectControls+` WHERE name = ?`, func(row []driver.Value) error {
		found = rulingOf(row)
		return nil
	}, name)
	return found, err
}

// Controls lists what has been decided; see eventstore.Steering.
func (s *Store) Controls(ctx context.Context) (controls []eventstore.Control, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectControls+` ORDER BY name`, func(row []driver.Value) error {
			controls = append(controls, rulingOf(row).Control)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list decisions about subscriptions: %w", err)
	}
	return controls, nil
}

func truth(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
