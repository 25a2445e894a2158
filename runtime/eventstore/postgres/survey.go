package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	selectDomains = `SELECT d.domain, d.aggregates, d.events, d.position, coalesce(e.created_at, 0)
		FROM (SELECT domain, sum(aggregates)::bigint AS aggregates, sum(events)::bigint AS events, max(position) AS position FROM angz_count() GROUP BY domain) d
		LEFT JOIN LATERAL (SELECT n.created_at FROM angz_events n WHERE n.position = d.position LIMIT 1) e ON true
		ORDER BY d.domain COLLATE "C"`

	summaryColumns = `s.domain, s.root, s.name, e.seq, e.position, e.type_url, e.created_at,
		EXISTS (SELECT 1 FROM angz_snapshots n WHERE n.domain = s.domain AND n.root = s.root)`

	newestEvent = ` CROSS JOIN LATERAL (
		SELECT n.seq, n.position, n.type_url, n.created_at FROM angz_events n WHERE n.domain = s.domain AND n.root = s.root ORDER BY n.seq DESC LIMIT 1) e `

	selectSummary = `SELECT ` + summaryColumns + `, true FROM angz_streams s` + newestEvent + `WHERE s.domain = $1 AND s.root = $2`

	selectByRoot = `SELECT ` + summaryColumns + `, true FROM (
			SELECT * FROM angz_streams WHERE domain = $1 AND root >= $2 AND root <= $3 ORDER BY root LIMIT $4) s` + newestEvent + `ORDER BY s.root`

	selectByName = `SELECT ` + summaryColumns + `, true FROM (
			SELECT * FROM angz_streams
			WHERE domain = $1 AND (left(name, 200) COLLATE "C", root) >= ($2 COLLATE "C", $3)
			ORDER BY left(name, 200) COLLATE "C", root LIMIT $4) s` + newestEvent + `ORDER BY left(s.name, 200) COLLATE "C", s.root`

	// What an aggregate's newest event is shows in the unique index.
	selectLatest = `SELECT ` + summaryColumns + `, NOT EXISTS (SELECT 1 FROM angz_events f WHERE f.domain = e.domain AND f.root = e.root AND f.seq = e.seq + 1)
		FROM (SELECT * FROM angz_events WHERE position < $1 ORDER BY position DESC LIMIT $2) e
		JOIN angz_streams s ON s.domain = e.domain AND s.root = e.root ORDER BY e.position DESC`
)

// Domains lists the domains; see eventstore.Survey.
func (s *Store) Domains(ctx context.Context) (domains []eventstore.Domain, err error) {
	err = s.reading(ctx, func() error {
		domains = nil
		rows, err := s.pool.Query(ctx, selectDomains)
		if err != nil {
			return err
		}
		var name string
		var aggregates, events, position, at int64
		_, err = pgx.ForEachRow(rows, []any{&name, &aggregates, &events, &position, &at}, func() error {
			domains = append(domains, eventstore.Domain{
				Name: name, Aggregates: uint64(aggregates), Events: uint64(events), Position: uint64(position), At: time.Unix(0, at).UTC(),
			})
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the domains: %w", err)
	}
	return domains, nil
}

// reading does a read that begins anew when it is repeated.
func (s *Store) reading(ctx context.Context, read func() error) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return unavailable(s.again(ctx, read))
}

// seen is a row of a query of summaryColumns and whether its event is its
// aggregate's newest.
type seen struct {
	eventstore.Summary
	newest bool
}

func (s *Store) summaries(ctx context.Context, query string, args ...any) (found []seen, err error) {
	err = s.reading(ctx, func() error {
		found = nil
		rows, err := s.pool.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var domain, name, typeURL string
		var root pgtype.UUID
		var seq, position, at int64
		var snapshot, newest bool
		_, err = pgx.ForEachRow(rows, []any{&domain, &root, &name, &seq, &position, &typeURL, &at, &snapshot, &newest}, func() error {
			found = append(found, seen{eventstore.Summary{
				Root: eventstore.Root{Key: book.Key{Domain: domain, Root: root.Bytes}, Name: name},
				Next: uint32(seq + 1), Position: uint64(position), TypeURL: typeURL, At: time.Unix(0, at).UTC(), Snapshot: snapshot,
			}, newest})
			return nil
		})
		return err
	})
	return found, err
}

// Summary tells what there is to see of an aggregate; see eventstore.Survey.
func (s *Store) Summary(ctx context.Context, key book.Key) (eventstore.Summary, error) {
	found, err := s.summaries(ctx, selectSummary, key.Domain, rootOf(key))
	if err != nil {
		return eventstore.Summary{}, fmt.Errorf("look up %s: %w", key, err)
	}
	if len(found) == 0 {
		return eventstore.Summary{}, nil
	}
	return found[0].Summary, nil
}

// Summaries returns aggregates in order; see eventstore.Survey. One more is read
// than is wanted, because the one before is read again.
func (s *Store) Summaries(ctx context.Context, query eventstore.SummaryQuery) ([]eventstore.Summary, error) {
	read := s.byName
	if query.ByRoot {
		read = s.byRoot
	}
	rows, err := read(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list the aggregates of %s: %w", query.Domain, err)
	}
	var found []eventstore.Summary
	for _, row := range rows {
		if query.After != nil && row.Key == query.After.Key {
			continue
		}
		if !query.ByRoot && !query.Has(row.Name) {
			break // from the prefix on, those that begin with it come first
		}
		if found = append(found, row.Summary); len(found) == query.Limit {
			break
		}
	}
	return found, nil
}

func (s *Store) byRoot(ctx context.Context, query eventstore.SummaryQuery) ([]seen, error) {
	lowest, highest, ok := eventstore.RootRange(query.Prefix)
	if !ok {
		return nil, nil
	}
	if query.After != nil {
		lowest = query.After.Key.Root
	}
	return s.summaries(ctx, selectByRoot, query.Domain, pgtype.UUID{Bytes: lowest, Valid: true}, pgtype.UUID{Bytes: highest, Valid: true}, int64(query.Limit)+1)
}

func (s *Store) byName(ctx context.Context, query eventstore.SummaryQuery) ([]seen, error) {
	name, root := query.Prefix, uuid.Nil
	if query.After != nil {
		name, root = eventstore.NameKey(query.After.Name), query.After.Key.Root
	}
	return s.summaries(ctx, selectByName, query.Domain, name, pgtype.UUID{Bytes: root, Valid: true}, int64(query.Limit)+1)
}

// Latest walks the log backwards; see eventstore.Survey. It takes growing steps, so
// that a page that is soon full does not read everything it might have.
func (s *Store) Latest(ctx context.Context, query eventstore.LatestQuery) (found []eventstore.Summary, next uint64, err error) {
	next = min(query.Before, math.MaxInt64)
	for left, step := query.Look, 2*query.Limit; left > 0; step *= 4 {
		step = min(step, left)
		rows, err := s.summaries(ctx, selectLatest, int64(next), int64(step))
		if err != nil {
			return nil, 0, fmt.Errorf("list the latest aggregates: %w", err)
		}
		for _, row := range rows {
			next = row.Position
			if !row.newest || query.Domain != "" && row.Key.Domain != query.Domain {
				continue
			}
			if found = append(found, row.Summary); len(found) == query.Limit {
				return found, afterLast(next), nil
			}
		}
		if len(rows) < step {
			return found, 0, nil
		}
		left -= step
	}
	return found, afterLast(next), nil
}

// afterLast is where the next page begins below a position, 0 when nothing is
// there.
func afterLast(position uint64) uint64 {
	if position == 1 {
		return 0
	}
	return position
}
