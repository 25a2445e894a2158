package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	addToDomain = `INSERT INTO domains (domain, aggregates, events, position) VALUES (?, ?, ?, ?)
		ON CONFLICT (domain) DO UPDATE SET
			aggregates = aggregates + excluded.aggregates, events = events + excluded.events, position = excluded.position`

	selectDomains = `SELECT d.domain, d.aggregates, d.events, d.position, e.created_at
		FROM domains d LEFT JOIN events e ON e.position = d.position ORDER BY d.domain`

	summaryColumns = `s.domain, s.root, s.name, e.seq, e.position, e.type_url, e.created_at,
		EXISTS (SELECT 1 FROM snapshots n WHERE n.stream = s.id)`

	// CROSS JOIN keeps the order of the tables, as in the other queries.
	newestEvent = ` CROSS JOIN events e ON e.stream = s.id AND e.seq = (SELECT max(seq) FROM events WHERE stream = s.id) `

	selectSummary = `SELECT ` + summaryColumns + ` FROM streams s` + newestEvent + `WHERE s.domain = ? AND s.root = ?`

	selectByRoot = `SELECT ` + summaryColumns + ` FROM streams s` + newestEvent + `
		WHERE s.domain = ? AND s.root >= ? AND s.root <= ? ORDER BY s.root`

	// Each of these is one walk along the index. One condition on both columns would
	// be clearer, and the engine walks along the whole domain for it.
	selectFromName  = selectNames + `AND substr(s.name, 1, 200) >= ? ORDER BY substr(s.name, 1, 200), s.root`
	selectAfterName = selectNames + `AND substr(s.name, 1, 200) > ? ORDER BY substr(s.name, 1, 200), s.root`
	selectSameName  = selectNames + `AND substr(s.name, 1, 200) = ? AND s.root > ? ORDER BY s.root`
	selectNames     = `SELECT ` + summaryColumns + ` FROM streams s INDEXED BY streams_name` + newestEvent + `
		WHERE s.domain = ? `

	// What an aggregate's newest event is shows in the unique index, which is asked
	// before the aggregate is looked up. The columns stand before the payload in their
	// rows, so no large event is read.
	selectLatest = `SELECT ` + summaryColumns + ` FROM events e CROSS JOIN streams s ON s.id = e.stream
		WHERE e.position < ? AND e.position >= ? AND (? = '' OR s.domain = ?)
			AND NOT EXISTS (SELECT 1 FROM events f WHERE f.stream = e.stream AND f.seq = e.seq + 1)
		ORDER BY e.position DESC LIMIT ?`
)

// Domains lists the domains; see eventstore.Survey.
func (s *Store) Domains(ctx context.Context) (domains []eventstore.Domain, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectDomains, func(row []driver.Value) error {
			domains = append(domains, eventstore.Domain{
				Name: text(row[0]), Aggregates: uint64(integer(row[1])), Events: uint64(integer(row[2])),
				Position: uint64(integer(row[3])), At: moment(row[4]),
			})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the domains: %w", err)
	}
	return domains, nil
}

// Summary tells what there is to see of an aggregate; see eventstore.Survey.
func (s *Store) Summary(ctx context.Context, key book.Key) (summary eventstore.Summary, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectSummary, func(row []driver.Value) error {
			summary = summaryOf(row)
			return errStop
		}, key.Domain, key.Root[:])
	})
	if err != nil {
		return eventstore.Summary{}, fmt.Errorf("look up %s: %w", key, err)
	}
	return summary, nil
}

// Summaries returns aggregates in order; see eventstore.Survey.
func (s *Store) Summaries(ctx context.Context, query eventstore.SummaryQuery) ([]eventstore.Summary, error) {
	var found []eventstore.Summary
	read := s.byName
	if query.ByRoot {
		read = s.byRoot
	}
	err := read(ctx, query, func(summary eventstore.Summary) error {
		if query.After != nil && summary.Key == query.After.Key {
			return nil
		}
		if found = append(found, summary); len(found) >= query.Limit {
			return errStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the aggregates of %s: %w", query.Domain, err)
	}
	return found, nil
}

func (s *Store) byRoot(ctx context.Context, query eventstore.SummaryQuery, take func(eventstore.Summary) error) error {
	lowest, highest, ok := eventstore.RootRange(query.Prefix)
	if !ok {
		return nil
	}
	if query.After != nil {
		lowest = query.After.Key.Root
	}
	return s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectByRoot, func(row []driver.Value) error { return take(summaryOf(row)) }, query.Domain, lowest[:], highest[:])
	})
}

// byName ends at the first name that does not begin with the prefix: from the
// prefix on, those that do come first.
func (s *Store) byName(ctx context.Context, query eventstore.SummaryQuery, take func(eventstore.Summary) error) error {
	return s.read(ctx, func(ctx context.Context, c *conn) error {
		done := false
		each := func(row []driver.Value) error {
			summary := summaryOf(row)
			err := errStop
			if query.Has(summary.Name) {
				err = take(summary)
			}
			done = err != nil
			return err
		}
		if query.After == nil {
			return c.query(ctx, selectFromName, each, query.Domain, query.Prefix)
		}
		name := eventstore.NameKey(query.After.Name)
		if err := c.query(ctx, selectSameName, each, query.Domain, name, query.After.Key.Root[:]); err != nil || done {
			return err
		}
		return c.query(ctx, selectAfterName, each, query.Domain, name)
	})
}

// Latest walks the log backwards; see eventstore.Survey. Positions have no holes, so
// that what it looks at ends is known before.
func (s *Store) Latest(ctx context.Context, query eventstore.LatestQuery) (found []eventstore.Summary, next uint64, err error) {
	before := min(query.Before, s.Head()+1)
	next = max(before, uint64(query.Look)+1) - uint64(query.Look)
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		return c.query(ctx, selectLatest, func(row []driver.Value) error {
			found = append(found, summaryOf(row))
			return nil
		}, int64(before), int64(next), query.Domain, query.Domain, int64(query.Limit))
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list the latest aggregates: %w", err)
	}
	if len(found) == query.Limit {
		next = found[len(found)-1].Position
	}
	if next <= 1 {
		next = 0
	}
	return found, next, nil
}

func summaryOf(row []driver.Value) eventstore.Summary {
	return eventstore.Summary{
		Root: eventstore.Root{Key: book.Key{Domain: text(row[0]), Root: id(row[1])}, Name: text(row[2])},
		Next: uint32(integer(row[3]) + 1), Position: uint64(integer(row[4])), TypeURL: text(row[5]), At: moment(row[6]), Snapshot: integer(row[7]) != 0,
	}
}
