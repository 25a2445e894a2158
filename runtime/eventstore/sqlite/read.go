package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"sort"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// pageBytes is about how much one read of the log may return, so that a page of
// large events does not fill the memory.
const pageBytes = 16 << 20

const (
	eventColumns = `e.position, s.domain, s.root, s.name, e.seq, e.type_url, e.payload, e.created_at,
		e.command_id, e.correlation_id, e.causation, e.part, e.parts, e.trace`

	// CROSS JOIN keeps the order of the tables: the planner must not start with
	// the other one when its statistics are missing.
	selectInfo = `SELECT s.name, (SELECT max(seq) FROM events WHERE stream = s.id),
			n.seq, n.type_url, n.state, n.checksum, s.id
		FROM streams s LEFT JOIN snapshots n ON n.stream = s.id
		WHERE s.domain = ? AND s.root = ?`

	selectEvents = `SELECT ` + eventColumns + `
		FROM streams s CROSS JOIN events e ON e.stream = s.id
		WHERE s.domain = ? AND s.root = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq LIMIT ?`

	selectLog = `SELECT ` + eventColumns + `
		FROM events e CROSS JOIN streams s ON s.id = e.stream
		WHERE e.position > ? ORDER BY e.position`

	selectCommand = `SELECT ` + eventColumns + `
		FROM events f
		CROSS JOIN events e ON e.position BETWEEN f.position AND f.position + f.parts - 1
		CROSS JOIN streams s ON s.id = e.stream
		WHERE f.command_id = ? AND f.part = 0 ORDER BY e.position`

	// The inner query finds where the command starts that the wanted position
	// is in the middle of.
	selectCorrelation = `SELECT ` + eventColumns + `
		FROM events f
		CROSS JOIN events e ON e.position BETWEEN f.position AND f.position + f.parts - 1
		CROSS JOIN streams s ON s.id = e.stream
		WHERE f.correlation_id = ?1 AND f.part = 0 AND e.position > ?2
			AND f.position >= coalesce((SELECT position - part FROM events WHERE position = ?2 + 1), ?2 + 1)
		ORDER BY f.position, e.position`

	selectRoots = `SELECT domain, root, name FROM streams
		WHERE (domain, root) > (?, ?) ORDER BY domain, root LIMIT ?`
)

// read lends a connection to work for one short read.
func (s *Store) read(ctx context.Context, work func(context.Context, *conn) error) error {
	if s.closed.Load() {
		return eventstore.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.readers.get(ctx)
	if err != nil {
		return err
	}
	err = work(context.WithoutCancel(ctx), c)
	s.readers.put(c, err)
	return err
}

// Aggregate returns what is known of an aggregate; see eventstore.Streams.
func (s *Store) Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error) {
	var info eventstore.Info
	err := s.read(ctx, func(ctx context.Context, c *conn) (err error) {
		info, _, err = infoOf(ctx, c, key)
		return err
	})
	if err != nil {
		return eventstore.Info{}, fmt.Errorf("look up %s: %w", key, err)
	}
	return info, nil
}

// infoOf also returns the aggregate's id, 0 when there is none.
func infoOf(ctx context.Context, c *conn, key book.Key) (info eventstore.Info, stream int64, err error) {
	err = c.query(ctx, selectInfo, func(row []driver.Value) error {
		info = eventstore.Info{Name: text(row[0]), Next: uint32(integer(row[1]) + 1)}
		info.Snapshot, stream = intact(key, info.Next, row[2:]), integer(row[6])
		return errStop
	}, key.Domain, key.Root[:])
	return info, stream, err
}

// intact returns the snapshot in a row, nil if there is none or it is damaged
// or of events that are not there.
func intact(key book.Key, next uint32, row []driver.Value) *eventstore.Snapshot {
	if row[0] == nil {
		return nil
	}
	found := &eventstore.Snapshot{Key: key, Sequence: uint32(integer(row[0])), TypeURL: text(row[1]), State: blob(row[2])}
	if found.Sequence >= next || integer(row[3]) != found.Checksum() {
		return nil
	}
	return found
}

// Events returns an aggregate's events; see eventstore.Streams.
func (s *Store) Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error) {
	limit := int64(wanted.Limit)
	if limit <= 0 {
		limit = -1
	}
	var events []eventstore.Event
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectEvents, collect(&events), key.Domain, key.Root[:], int64(wanted.From), int64(wanted.To), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return events, nil
}

// NextAt returns the number that was next at a position; see
// eventstore.Streams.
func (s *Store) NextAt(ctx context.Context, key book.Key, position uint64) (uint32, error) {
	var next uint32
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		stream, events, newest, err := newestOf(ctx, c, key)
		if err != nil || newest <= position {
			next = events
			return err
		}
		// An aggregate's numbers rise with its positions, so halving finds the
		// place in a history of any length with a few probes.
		var failed error
		next = uint32(sort.Search(int(events)-1, func(seq int) bool {
			at, err := c.number(ctx, `SELECT position FROM events WHERE stream = ? AND seq = ?`, stream, int64(seq))
			if err != nil {
				failed = err
			}
			return failed != nil || uint64(at) > position
		}))
		return failed
	})
	if err != nil {
		return 0, fmt.Errorf("look up %s at position %d: %w", key, position, err)
	}
	return next, nil
}

// newestOf returns the aggregate's id, how many events it has and the position
// of the newest one.
func newestOf(ctx context.Context, c *conn, key book.Key) (stream int64, events uint32, position uint64, err error) {
	err = c.query(ctx, `SELECT e.stream, e.seq, e.position FROM streams s CROSS JOIN events e ON e.stream = s.id
		WHERE s.domain = ? AND s.root = ? ORDER BY e.seq DESC LIMIT 1`, func(row []driver.Value) error {
		stream, events, position = integer(row[0]), uint32(integer(row[1])+1), uint64(integer(row[2]))
		return errStop
	}, key.Domain, key.Root[:])
	return stream, events, position, err
}

// Head returns the position of the newest event.
func (s *Store) Head() uint64 { return s.recent.Head() }

// Changed returns a channel that is closed when Head next moves.
func (s *Store) Changed() <-chan struct{} { return s.recent.Changed() }

// ReadLog returns events in the order of positions; see eventstore.Log. The
// newest ones come from memory.
func (s *Store) ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("read the log: %w", eventstore.ErrClosed)
	}
	if events, ok := s.recent.After(after, limit); ok {
		return events, ctx.Err()
	}
	events, err := s.readPage(ctx, limit, selectLog, int64(after))
	if err != nil {
		return nil, fmt.Errorf("read the log after position %d: %w", after, err)
	}
	return events, nil
}

// ByCommand returns the events of one command; see eventstore.Index.
func (s *Store) ByCommand(ctx context.Context, id uuid.UUID) ([]eventstore.Event, error) {
	var events []eventstore.Event
	err := s.read(ctx, func(ctx context.Context, c *conn) (err error) {
		events, err = eventsOfCommand(ctx, c, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up command %s: %w", id, err)
	}
	return events, nil
}

func eventsOfCommand(ctx context.Context, c *conn, id uuid.UUID) ([]eventstore.Event, error) {
	var events []eventstore.Event
	err := c.query(ctx, selectCommand, collect(&events), id[:])
	return events, err
}

// ByCorrelation returns the events of a correlation; see eventstore.Index.
func (s *Store) ByCorrelation(ctx context.Context, correlationID string, after uint64, limit int) ([]eventstore.Event, error) {
	if after >= math.MaxInt64 {
		return nil, nil
	}
	events, err := s.readPage(ctx, limit, selectCorrelation, correlationID, int64(after))
	if err != nil {
		return nil, fmt.Errorf("look up correlation %q: %w", correlationID, err)
	}
	return events, nil
}

// Roots returns aggregates in the order of their keys; see eventstore.Index.
func (s *Store) Roots(ctx context.Context, after book.Key, limit int) ([]eventstore.Root, error) {
	var roots []eventstore.Root
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectRoots, func(row []driver.Value) error {
			roots = append(roots, eventstore.Root{Key: book.Key{Domain: text(row[0]), Root: id(row[1])}, Name: text(row[2])})
			return nil
		}, after.Domain, after.Root[:], int64(max(limit, 1)))
	})
	if err != nil {
		return nil, fmt.Errorf("list aggregates: %w", err)
	}
	return roots, nil
}

// readPage reads whole commands until there are about limit events. The query
// has no LIMIT of its own: rows are made one by one, and the reading just ends.
func (s *Store) readPage(ctx context.Context, limit int, query string, args ...driver.Value) ([]eventstore.Event, error) {
	var events []eventstore.Event
	bytes := 0
	add := collect(&events)
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, query, func(row []driver.Value) error {
			_ = add(row)
			newest := &events[len(events)-1]
			bytes += len(newest.Payload)
			if newest.Last() && (len(events) >= limit || bytes >= pageBytes) {
				return errStop
			}
			return nil
		}, args...)
	})
	return events, err
}

// collect returns a function that adds rows of eventColumns to events.
func collect(events *[]eventstore.Event) func([]driver.Value) error {
	return func(row []driver.Value) error {
		*events = append(*events, eventstore.Event{
			Position:      uint64(integer(row[0])),
			Key:           book.Key{Domain: text(row[1]), Root: id(row[2])},
			Name:          text(row[3]),
			Sequence:      uint32(integer(row[4])),
			TypeURL:       text(row[5]),
			Payload:       blob(row[6]),
			CreatedAt:     moment(row[7]),
			CommandID:     id(row[8]),
			CorrelationID: text(row[9]),
			Causation:     text(row[10]),
			Offset:        int(integer(row[11])),
			Count:         int(integer(row[12])),
			Trace:         text(row[13]),
		})
		return nil
	}
}
