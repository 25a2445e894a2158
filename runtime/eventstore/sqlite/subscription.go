package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	insertSlice = `INSERT INTO slices (name, number, position, epoch, updated_at) VALUES (?, ?, 0, 0, ?)`

	selectSlices = `SELECT number, position, epoch, member FROM slices WHERE name = ? ORDER BY number`

	// The position a consumer came from is compared too: a claim that is used
	// twice by mistake must not jump over events.
	advance = `UPDATE slices SET position = ?, updated_at = ?
		WHERE name = ? AND number = ? AND epoch = ? AND position = ?`

	handOver = `UPDATE slices SET member = ?, epoch = ?, updated_at = ? WHERE name = ? AND number = ?`

	upsertMember = `INSERT INTO members (name, member, address, until) VALUES (?, ?, ?, ?)
		ON CONFLICT (name, member) DO UPDATE SET address = excluded.address, until = excluded.until`

	selectPositions = `SELECT s.name, s.number, (SELECT count(*) FROM slices c WHERE c.name = s.name),
			s.position, s.epoch, m.member, m.address, s.updated_at
		FROM slices s LEFT JOIN members m ON m.name = s.name AND m.member = s.member AND m.until > ?
		ORDER BY s.name, s.number`

	park = `INSERT INTO parked
			(subscription, position, domain, root, seq, attempts, reason, state, first_at, last_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (subscription, position) DO UPDATE SET
			attempts = excluded.attempts, reason = excluded.reason, state = excluded.state, last_at = excluded.last_at`

	selectParked = `SELECT subscription, position, domain, root, seq, attempts, reason, state, first_at, last_at, note
		FROM parked WHERE (subscription, position) > (?, ?)`

	selectBlocked = `SELECT DISTINCT domain, root FROM parked
		WHERE subscription = ? AND state IN ('parked', 'retry') ORDER BY domain, root`
)

// Share shares a subscription out; see eventstore.Subscriptions.
func (s *Store) Share(ctx context.Context, request eventstore.Share) (eventstore.Shared, error) {
	err := request.Check()
	var shared eventstore.Shared
	if err == nil {
		err = s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) (err error) {
			shared, err = t.share(ctx, &request, s.clock.now())
			return err
		})
	}
	if err != nil {
		return eventstore.Shared{}, fmt.Errorf("share subscription %q: %w", request.Name, err)
	}
	return shared, nil
}
func (t *transaction) share(ctx context.Context, request *eventstore.Share, at time.Duration) (eventstore.Shared, error) {
	slices, err := t.slices(ctx, request)
	if err != nil {
		return eventstore.Shared{}, err
	}
	members, err := t.members(ctx, request, at)
	if err != nil {
		return eventstore.Shared{}, err
	}
	control, err := t.control(ctx, request.Name)
	if err != nil {
		return eventstore.Shared{}, err
	}
	var shared eventstore.Shared
	if request.Leave {
		err = t.giveBack(ctx, request, slices)
	} else {
		shared.Surplus, err = t.takeShare(ctx, request, slices, members, !control.Paused && !control.Rewinding)
	}
	if err != nil {
		return eventstore.Shared{}, err
	}
	for i := range slices {
		address, alive := members[slices[i].Member]
		if !alive {
			slices[i].Member = uuid.Nil
		}
		slices[i].Address = address
	}
	shared.Slices = slices
	if shared.Paused = control.Paused; control.Paused {
		shared.Note = control.Note
	}
	if control.Rewinding && !request.Leave {
		shared.Rewind, err = t.rewinding(ctx, request, &control, slices, members)
	}
	return shared, err
}

// giveBack frees all slices of a member.
func (t *transaction) giveBack(ctx context.Context, request *eventstore.Share, slices []eventstore.Slice) error {
	for i := range slices {
		if slices[i].Member == request.Member {
			if err := t.handOver(ctx, request.Name, &slices[i], uuid.Nil); err != nil {
				return err
			}
		}
	}
	_, err := t.conn.exec(ctx, `DELETE FROM members WHERE name = ? AND member = ?`, request.Name, request.Member[:])
	return err
}

// takeShare gives a member free slices up to its fair share, and returns how
// many it has beyond that. The share of a subscription that rests is none.
func (t *transaction) takeShare(ctx context.Context, request *eventstore.Share, all []eventstore.Slice, members map[uuid.UUID]string, goesOn bool) (int, error) {
	held := 0
	var free []*eventstore.Slice
	for i := range all {
		slice := &all[i]
		if slice.Member == request.Member && slices.Contains(request.Return, slice.Number) {
			if err := t.handOver(ctx, request.Name, slice, uuid.Nil); err != nil {
				return 0, err
			}
		}
		if _, alive := members[slice.Member]; !alive {
			free = append(free, slice)
		}
		if slice.Member == request.Member {
			held++
		}
	}
	fair := 0
	if goesOn {
		fair = (len(all) + len(members) - 1) / len(members)
	}
	for ; len(free) > 0 && held < fair; free = free[1:] {
		if err := t.handOver(ctx, request.Name, free[0], request.Member); err != nil {
			return 0, err
		}
		held++
	}
	return max(0, held-fair), nil
}

// slices returns the slices of a subscription, made if there are none.
func (t *transaction) slices(ctx context.Context, request *eventstore.Share) ([]eventstore.Slice, error) {
	var slices []eventstore.Slice
	err := t.conn.query(ctx, selectSlices, func(row []driver.Value) error {
		slices = append(slices, eventstore.Slice{
			Number: int(integer(row[0])), Position: uint64(integer(row[1])), Epoch: uint64(integer(row[2])), Member: id(row[3]),
		})
		return nil
	}, request.Name)
	if err != nil {
		return nil, err
	}
	if len(slices) != 0 && len(slices) != request.Slices {
		return nil, fmt.Errorf("%w: %d, not %d", eventstore.ErrSlices, len(slices), request.Slices)
	}
	for number := len(slices); number < request.Slices; number++ {
		if _, err := t.conn.exec(ctx, insertSlice, request.Name, int64(number), now()); err != nil {
			return nil, err
		}
		slices = append(slices, eventstore.Slice{Number: number})
	}
	return slices, nil
}

// members renews the lease of the one who asks and returns the addresses of all
// whose leases have not run out. The others are forgotten; their slices are
// theirs until somebody takes them, so that one who only was late goes on.
func (t *transaction) members(ctx context.Context, request *eventstore.Share, at time.Duration) (map[uuid.UUID]string, error) {
	_, err := t.conn.exec(ctx, upsertMember, request.Name, request.Member[:], request.Address, int64(at+request.Lease))
	if err != nil {
		return nil, err
	}
	members := map[uuid.UUID]string{request.Member: request.Address}
	err = t.conn.query(ctx, `SELECT member, address FROM members WHERE name = ? AND until > ?`, func(row []driver.Value) error {
		members[id(row[0])] = text(row[1])
		return nil
	}, request.Name, int64(at))
	if err != nil {
		return nil, err
	}
	_, err = t.conn.exec(ctx, `DELETE FROM members WHERE name = ? AND until <= ?`, request.Name, int64(at))
	return members, err
}

// handOver gives a slice to a member, or to nobody. The epoch counts holders, so
// whatever the one before still wants to record is refused.
func (t *transaction) handOver(ctx context.Context, name string, slice *eventstore.Slice, member uuid.UUID) error {
	slice.Member = member
	holder := driver.Value(nil)
	if member != uuid.Nil {
		slice.Epoch++
		holder = member[:]
	}
	_, err := t.conn.exec(ctx, handOver, holder, int64(slice.Epoch), now(), name, int64(slice.Number))
	return err
}

// Advance moves slices; see eventstore.Subscriptions.
func (s *Store) Advance(ctx context.Context, moves eventstore.Advance) error {
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error { return t.advance(ctx, &moves) })
	if err != nil {
		return fmt.Errorf("advance subscription %q: %w", moves.Name, err)
	}
	return nil
}

// advance checks everything before it changes anything.
func (t *transaction) advance(ctx context.Context, moves *eventstore.Advance) error {
	held := map[int]eventstore.Slice{}
	err := t.conn.query(ctx, selectSlices, func(row []driver.Value) error {
		held[int(integer(row[0]))] = eventstore.Slice{Position: uint64(integer(row[1])), Epoch: uint64(integer(row[2]))}
		return nil
	}, moves.Name)
	if err != nil {
		return err
	}
	fenced := &eventstore.Fenced{Name: moves.Name}
	for _, move := range moves.Moves {
		slice, known := held[move.Slice]
		if !known || slice.Epoch != move.Epoch || slice.Position != move.From {
			fenced.Slices = append(fenced.Slices, move.Slice)
		}
		slice.Position = move.To
		held[move.Slice] = slice
	}
	if len(fenced.Slices) > 0 {
		return fenced
	}
	for _, move := range moves.Moves {
		if _, err := t.conn.exec(ctx, advance, int64(move.To), now(), moves.Name, int64(move.Slice), int64(move.Epoch), int64(move.From)); err != nil {
			return err
		}
	}
	for i := range moves.Park {
		if err := t.park(ctx, cmp.Or(moves.Park[i].Subscription, moves.Name), &moves.Park[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) park(ctx context.Context, subscription string, p *eventstore.Parked) error {
	state := p.State
	if state == "" {
		state = eventstore.StateParked
	}
	_, err := t.conn.exec(ctx, park, subscription, int64(p.Position), p.Key.Domain, p.Key.Root[:], int64(p.Sequence),
		int64(p.Attempts), p.Reason, string(state), eventstore.Nanos(p.FirstAt), eventstore.Nanos(p.LastAt))
	return err
}

// Positions lists all slices; see eventstore.Subscriptions.
func (s *Store) Positions(ctx context.Context) ([]eventstore.Position, error) {
	var positions []eventstore.Position
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectPositions, func(row []driver.Value) error {
			positions = append(positions, eventstore.Position{
				Name: text(row[0]), Slice: int(integer(row[1])), Slices: int(integer(row[2])),
				Position: uint64(integer(row[3])), Epoch: uint64(integer(row[4])),
				Member: id(row[5]), Address: text(row[6]), UpdatedAt: moment(row[7]),
			})
			return nil
		}, int64(s.clock.now()))
	})
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return positions, nil
}

// Parked lists parked events; see eventstore.Parking.
func (s *Store) Parked(ctx context.Context, wanted eventstore.ParkedQuery) ([]eventstore.Parked, error) {
	query := selectParked
	args := []driver.Value{wanted.AfterSubscription, int64(min(wanted.AfterPosition, math.MaxInt64))}
	if wanted.AfterSubscription == "" && wanted.Subscription != "" {
		args[0] = wanted.Subscription
	}
	if wanted.Subscription != "" {
		query += ` AND subscription = ?`
		args = append(args, wanted.Subscription)
	}
	if wanted.Key != (book.Key{}) {
		query += ` AND domain = ? AND root = ?`
		args = append(args, wanted.Key.Domain, wanted.Key.Root[:])
	}
	if len(wanted.States) > 0 {
		query += ` AND state IN (?` + strings.Repeat(`, ?`, len(wanted.States)-1) + `)`
		for _, state := range wanted.States {
			args = append(args, string(state))
		}
	}
	query += ` ORDER BY subscription, position LIMIT ?`
	args = append(args, int64(max(wanted.Limit, 1)))
	var parked []eventstore.Parked
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, query, func(row []driver.Value) error {
			parked = append(parked, eventstore.Parked{
				Subscription: text(row[0]),
				Position:     uint64(integer(row[1])),
				Key:          book.Key{Domain: text(row[2]), Root: id(row[3])},
				Sequence:     uint32(integer(row[4])),
				Attempts:     int(integer(row[5])),
				Reason:       text(row[6]),
				State:        eventstore.State(text(row[7])),
				FirstAt:      moment(row[8]),
				LastAt:       moment(row[9]),
				Note:         text(row[10]),
			})
			return nil
		}, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("list parked events: %w", err)
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

// Decide changes the state of parked events; see eventstore.Parking.
func (s *Store) Decide(ctx context.Context, decision eventstore.Decision) error {
	query := `UPDATE parked SET state = ?1, attempts = attempts + ?2, reason = iif(?3 = '', reason, ?3), note = iif(?4 = '', note, ?4),
		last_at = iif(?2 > 0, ?5, last_at) WHERE subscription = ?6 AND position = ?7`
	args := []driver.Value{
		string(decision.To), int64(decision.Attempts), decision.Reason, decision.Note, now(), decision.Subscription, int64(decision.Position),
	}
	if len(decision.From) > 0 {
		query += ` AND state IN (?` + strings.Repeat(`, ?`, len(decision.From)-1) + `)`
		for _, state := range decision.From {
			args = append(args, string(state))
		}
	}
	err := s.writer.submit(ctx, 0, func(ctx context.Context, t *transaction) error {
		changed, err := t.conn.exec(ctx, query, args...)
		if err == nil && changed == 0 {
			err = eventstore.ErrNotParked
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("mark position %d of %q as %s: %w", decision.Position, decision.Subscription, decision.To, err)
	}
	return nil
}

// now is what people are told about when something moved.
func now() int64 { return time.Now().UnixNano() }

// clock measures leases. One process owns the file and drops all leases when it
// opens it, so the time since then will do, which no adjustment of the
// computer's clock changes.
type clock struct {
	opened time.Time
	ahead  atomic.Int64 // what tests have let pass
}

func (c *clock) now() time.Duration { return time.Since(c.opened) + time.Duration(c.ahead.Load()) }
