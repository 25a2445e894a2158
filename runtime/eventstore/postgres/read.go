package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// pageBytes is about how much one read of the log may return, so that a page of
// large events does not fill the memory.
const pageBytes = 16 << 20

const (
	eventColumns = `e.position, e.domain, e.root, coalesce(s.name, ''), e.seq, e.type_url, e.payload, e.created_at,
		e.command_id, e.correlation_id, e.causation, e.part, e.parts, coalesce(e.trace, '')`

	eventTables = ` FROM angz_events e LEFT JOIN angz_streams s ON s.domain = e.domain AND s.root = e.root `

	selectInfo = `SELECT coalesce((SELECT seq + 1 FROM angz_events WHERE domain = $1 AND root = $2 ORDER BY seq DESC LIMIT 1), 0),
			coalesce((SELECT name FROM angz_streams WHERE domain = $1 AND root = $2), ''),
			n.seq, n.type_url, n.state, n.checksum
		FROM (VALUES (1)) one LEFT JOIN angz_snapshots n ON n.domain = $1 AND n.root = $2`

	selectEvents = `SELECT ` + eventColumns + eventTables + `
		WHERE e.domain = $1 AND e.root = $2 AND e.seq BETWEEN $3 AND $4 ORDER BY e.seq LIMIT $5`

	// A page is a range of positions, which are without holes, so that no plan is
	// worse than the scan of exactly these rows.
	selectLog = `SELECT ` + eventColumns + eventTables + `
		WHERE e.position > $1 AND e.position <= $1 + $2 ORDER BY e.position`

	selectCommand = `SELECT ` + eventColumns + `
		FROM angz_events f
		JOIN angz_events e ON e.position BETWEEN f.position AND f.position + f.parts - 1
		LEFT JOIN angz_streams s ON s.domain = e.domain AND s.root = e.root
		WHERE f.command_id = $1 AND f.part = 0 ORDER BY e.position`

	// The inner query finds where the command starts that the wanted position is in
	// the middle of.
	selectCorrelation = `SELECT ` + eventColumns + `
		FROM (SELECT * FROM angz_events f WHERE left(f.correlation_id, 200) = left($1, 200) AND f.correlation_id = $1 AND f.part = 0
			AND f.position >= coalesce((SELECT position - part FROM angz_events WHERE position = $2 + 1), $2 + 1)
			ORDER BY f.position LIMIT $3) f
		JOIN angz_events e ON e.position BETWEEN f.position AND f.position + f.parts - 1
		LEFT JOIN angz_streams s ON s.domain = e.domain AND s.root = e.root
		WHERE e.position > $2 ORDER BY e.position`

	selectRoots = `SELECT domain, root, name FROM angz_streams
		WHERE (domain COLLATE "C", root) > ($1, $2) ORDER BY domain COLLATE "C", root LIMIT $3`
)

// open fails when the store has been closed or the caller has left.
func (s *Store) open(ctx context.Context) error {
	if s.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// again reads, and once more when the connection was one of those that an outage
// has left behind. Reading twice harms nobody.
func (s *Store) again(ctx context.Context, read func() error) error {
	err := read()
	if err == nil || !isStale(err) || ctx.Err() != nil {
		return err
	}
	s.pool.Reset() // the others are most likely no better
	return read()
}

// Aggregate returns what is known of an aggregate; see eventstore.Streams.
func (s *Store) Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error) {
	err := s.open(ctx)
	var info eventstore.Info
	if err == nil {
		info, err = s.infoOf(ctx, key)
	}
	if err != nil {
		return eventstore.Info{}, fmt.Errorf("look up %s: %w", key, err)
	}
	return info, nil
}

func (s *Store) infoOf(ctx context.Context, key book.Key) (info eventstore.Info, err error) {
	var next int64
	var seq, sum *int64
	var typeURL *string
	var state []byte
	err = s.again(ctx, func() error {
		return s.pool.QueryRow(ctx, selectInfo, key.Domain, rootOf(key)).Scan(&next, &info.Name, &seq, &typeURL, &state, &sum)
	})
	if err != nil {
		return info, unavailable(err)
	}
	info.Next = uint32(next)
	if next > 0 {
		s.writer.named.put(key, info.Name)
	}
	if seq == nil {
		return info, nil
	}
	found := &eventstore.Snapshot{Key: key, Sequence: uint32(*seq), TypeURL: *typeURL, State: state}
	if found.Sequence < info.Next && *sum == found.Checksum() {
		info.Snapshot = found // else it is damaged, or of events that are not there
	}
	return info, nil
}

// Load returns an aggregate's state; see eventstore.Streams. The events are read
// after the rest, so they may be newer; those that are too new are left out.
func (s *Store) Load(ctx context.Context, key book.Key, snapshots bool) (info eventstore.Info, events []eventstore.Event, err error) {
	if err = s.open(ctx); err == nil {
		info, events, err = s.load(ctx, key, snapshots)
	}
	if err != nil {
		return eventstore.Info{}, nil, fmt.Errorf("load %s: %w", key, err)
	}
	return info, events, nil
}

func (s *Store) load(ctx context.Context, key book.Key, snapshots bool) (eventstore.Info, []eventstore.Event, error) {
	info, err := s.infoOf(ctx, key)
	if err != nil {
		return info, nil, err
	}
	first := uint32(0)
	if snapshots && info.Snapshot != nil {
		first = info.Snapshot.Sequence + 1
	}
	if first >= info.Next {
		return info, nil, nil
	}
	events, err := s.events(ctx, selectEvents, key.Domain, rootOf(key), int64(first), int64(info.Next)-1, int64(math.MaxInt64))
	return info, events, err
}

// Events returns an aggregate's events; see eventstore.Streams.
func (s *Store) Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error) {
	limit := int64(wanted.Limit)
	if limit <= 0 {
		limit = math.MaxInt64
	}
	events, err := s.events(ctx, selectEvents, key.Domain, rootOf(key), int64(wanted.From), int64(wanted.To), limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return events, nil
}

// NextAt returns the number that was next at a position; see eventstore.Streams.
// An aggregate's numbers rise with its positions, so halving finds the place in a
// history of any length with a few probes.
func (s *Store) NextAt(ctx context.Context, key book.Key, position uint64) (uint32, error) {
	if err := s.open(ctx); err != nil {
		return 0, fmt.Errorf("look up %s at position %d: %w", key, position, err)
	}
	low, high := int64(0), int64(-1)
	var newest int64
	err := s.pool.QueryRow(ctx, `SELECT seq, position FROM angz_events WHERE domain = $1 AND root = $2 ORDER BY seq DESC LIMIT 1`, key.Domain, rootOf(key)).Scan(&high, &newest)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, nil
	case err == nil && uint64(newest) <= position:
		return uint32(high + 1), nil
	}
	for err == nil && low < high {
		middle := (low + high) / 2
		var at int64
		err = s.pool.QueryRow(ctx, `SELECT position FROM angz_events WHERE domain = $1 AND root = $2 AND seq = $3`, key.Domain, rootOf(key), middle).Scan(&at)
		if uint64(at) > position {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if err != nil {
		return 0, fmt.Errorf("look up %s at position %d: %w", key, position, unavailable(err))
	}
	return uint32(low), nil
}

// Head returns the position of the newest event that this process knows of.
func (s *Store) Head() uint64 { return s.recent.Head() }

// Changed returns a channel that is closed when Head next moves.
func (s *Store) Changed() <-chan struct{} { return s.recent.Changed() }

// ReadLog returns events in the order of positions; see eventstore.Log. The
// newest ones of this process come from memory.
func (s *Store) ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	if after >= math.MaxInt64-math.MaxInt32 {
		return nil, nil
	}
	limit = max(limit, 1)
	if events, ok := s.recent.After(after, limit); ok {
		return events, nil
	}
	events, err := s.page(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the log after position %d: %w", after, err)
	}
	return events, nil
}

// page reads whole commands: when the last one is cut, the rest of it is read too.
func (s *Store) page(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	events, err := s.limited(ctx, selectLog, int64(after), int64(limit))
	for err == nil && len(events) > 0 {
		newest := &events[len(events)-1]
		if newest.Last() {
			break
		}
		var more []eventstore.Event
		more, err = s.events(ctx, selectLog, int64(newest.Position), int64(newest.Count-newest.Offset-1))
		events = append(events, more...)
	}
	return events, err
}

// limited reads events until they are too many bytes.
func (s *Store) limited(ctx context.Context, query string, args ...any) ([]eventstore.Event, error) {
	bytes := 0
	return s.collect(ctx, query, func(e *eventstore.Event) bool {
		bytes += len(e.Payload)
		return bytes < pageBytes || !e.Last()
	}, args...)
}

// ByCommand returns the events of one command; see eventstore.Index.
func (s *Store) ByCommand(ctx context.Context, id uuid.UUID) ([]eventstore.Event, error) {
	events, err := s.events(ctx, selectCommand, pgtype.UUID{Bytes: id, Valid: true})
	if err != nil {
		return nil, fmt.Errorf("look up command %s: %w", id, err)
	}
	return events, nil
}

// ByCorrelation returns the events of a correlation; see eventstore.Index.
func (s *Store) ByCorrelation(ctx context.Context, correlationID string, after uint64, limit int) ([]eventstore.Event, error) {
	if after >= math.MaxInt64-1 || checkTexts(correlationID) != nil {
		return nil, s.open(ctx)
	}
	limit = max(limit, 1)
	count, bytes := 0, 0
	events, err := s.collect(ctx, selectCorrelation, func(e *eventstore.Event) bool {
		count, bytes = count+1, bytes+len(e.Payload)
		return !e.Last() || count < limit && bytes < pageBytes
	}, correlationID, int64(after), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("look up correlation %q: %w", correlationID, err)
	}
	return events, nil
}

// Roots returns aggregates in the order of their keys; see eventstore.Index.
func (s *Store) Roots(ctx context.Context, after book.Key, limit int) ([]eventstore.Root, error) {
	roots, err := s.roots(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list aggregates: %w", err)
	}
	return roots, nil
}

func (s *Store) roots(ctx context.Context, after book.Key, limit int) (roots []eventstore.Root, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, selectRoots, after.Domain, rootOf(after), int64(max(limit, 1)))
	if err != nil {
		return nil, unavailable(err)
	}
	var domain, name string
	var root pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&domain, &root, &name}, func() error {
		roots = append(roots, eventstore.Root{Key: book.Key{Domain: domain, Root: root.Bytes}, Name: name})
		return nil
	})
	return roots, unavailable(err)
}

func rootOf(key book.Key) pgtype.UUID { return pgtype.UUID{Bytes: key.Root, Valid: true} }

// events reads all events of a query of eventColumns.
func (s *Store) events(ctx context.Context, query string, args ...any) ([]eventstore.Event, error) {
	return s.collect(ctx, query, func(*eventstore.Event) bool { return true }, args...)
}

// collect reads events as long as more says so.
func (s *Store) collect(ctx context.Context, query string, more func(*eventstore.Event) bool, args ...any) (events []eventstore.Event, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var broken error // after the first event, when it is too late to begin again
	err = s.again(ctx, func() error {
		events, err = s.query(ctx, query, more, args...)
		if err != nil && len(events) > 0 {
			broken = err
			return nil
		}
		return err
	})
	if err = cmp.Or(err, broken); err != nil {
		return nil, unavailable(err)
	}
	return events, nil
}

func (s *Store) query(ctx context.Context, query string, more func(*eventstore.Event) bool, args ...any) (events []eventstore.Event, err error) {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		event, err := scan(rows)
		if err != nil {
			return events, err
		}
		events = append(events, event)
		if !more(&events[len(events)-1]) {
			return events, nil
		}
	}
	return events, rows.Err()
}

func scan(rows pgx.Rows) (event eventstore.Event, err error) {
	var position, seq, created int64
	var part, parts int32
	var root, command pgtype.UUID
	err = rows.Scan(&position, &event.Key.Domain, &root, &event.Name, &seq, &event.TypeURL, &event.Payload, &created,
		&command, &event.CorrelationID, &event.Causation, &part, &parts, &event.Trace)
	event.Position, event.Sequence, event.CreatedAt = uint64(position), uint32(seq), time.Unix(0, created).UTC()
	event.Key.Root, event.CommandID = root.Bytes, command.Bytes
	event.Offset, event.Count = int(part), int(parts)
	return event, err
}
