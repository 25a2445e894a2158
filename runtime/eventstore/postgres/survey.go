package postgres

import (
	"context"
	"fmt"
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

	selectSummary = `SELECT ` + summaryColumns + ` FROM angz_streams s` + newestEvent + `WHERE s.domain = $1 AND s.root = $2`

	selectByRoot = `SELECT ` + summaryColumns + ` FROM (
			SELECT * FROM angz_streams WHERE domain = $1 AND root >= $2 AND root <= $3 ORDER BY root LIMIT $4) s` + newestEvent + `ORDER BY s.root`

	selectByName = `SELECT ` + summaryColumns + ` FROM (
			SELECT * FROM angz_streams
			WHERE domain = $1 AND (left(name, 200) COLLATE "C", root) >= ($2 COLLATE "C", $3)
			ORDER BY left(name, 200) COLLATE "C", root LIMIT $4) s` + newestEvent + `ORDER BY left(s.name, 200) COLLATE "C", s.root`

	// What an aggregate's newest event is shows in the unique index. The question is put
	// so that it can only be asked event by event: for NOT EXISTS the planner may read
	// the whole log once instead.
	selectLatest = `SELECT ` + summaryColumns + ` FROM (
			SELECT * FROM angz_events n
			WHERE n.position < $1 AND n.position >= $2 AND CASE WHEN $3 = '' OR n.domain = $3 THEN
				(SELECT f.seq FROM angz_events f WHERE f.domain = n.domain AND f.root = n.root AND f.seq = n.seq + 1 LIMIT 1) IS NULL ELSE false END
			ORDER BY n.position DESC LIMIT $4) e
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

func (s *Store) summaries(ctx context.Context, query string, args ...any) (found []eventstore.Summary, err error) {
	err = s.reading(ctx, func() error {
		found = nil
		rows, err := s.pool.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var domain, name, typeURL string
		var root pgtype.UUID
		var seq, position, at int64
		var snapshot bool
		_, err = pgx.ForEachRow(rows, []any{&domain, &root, &name, &seq, &position, &typeURL, &at, &snapshot}, func() error {
			found = append(found, eventstore.Summary{
				Root: eventstore.Root{Key: book.Key{Domain: domain, Root: root.Bytes}, Name: name},
				Next: uint32(seq + 1), Position: uint64(position), TypeURL: typeURL, At: time.Unix(0, at).UTC(), Snapshot: snapshot,
			})
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
	return found[0], nil
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
		if found = append(found, row); len(found) == query.Limit {
			break
		}
	}
	return found, nil
}

func (s *Store) byRoot(ctx context.Context, query eventstore.SummaryQuery) ([]eventstore.Summary, error) {
	lowest, highest, ok := eventstore.RootRange(query.Prefix)
	if !ok {
		return nil, nil
	}
	if query.After != nil {
		lowest = query.After.Key.Root
	}
	return s.summaries(ctx, selectByRoot, query.Domain, pgtype.UUID{Bytes: lowest, Valid: true}, pgtype.UUID{Bytes: highest, Valid: true}, int64(query.Limit)+1)
}

func (s *Store) byName(ctx context.Context, query eventstore.SummaryQuery) ([]eventstore.Summary, error) {
	name, root := query.Prefix, uuid.Nil
	if query.After != nil {
		name, root = eventstore.NameKey(query.After.Name), query.After.Key.Root
	}
	return s.summaries(ctx, selectByName, query.Domain, name, pgtype.UUID{Bytes: root, Valid: true}, int64(query.Limit)+1)
}

// Latest walks the log backwards; see eventstore.Survey. Positions have no holes, so
// that what it looks at ends is known before.
func (s *Store) Latest(ctx context.Context, query eventstore.LatestQuery) (found []eventstore.Summary, next uint64, err error) {
	before := min(query.Before, s.Head()+1)
	next = max(before, uint64(query.Look)+1) - uint64(query.Look)
	found, err = s.summaries(ctx, selectLatest, int64(before), int64(next), query.Domain, int64(query.Limit))
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
