package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

// slowCommits makes a table's commits take different times, so that those who
// began early end late.
func slowCommits(t *testing.T, uri, table string) {
	t.Helper()
	execute(t, uri, `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.004); RETURN NULL; END $$`)
	execute(t, uri, `CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON `+table+` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (random() < 0.1) EXECUTE FUNCTION dawdle()`)
}

func TestFollowersSeeEverythingOfManyProcessesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	var stores []*postgres.Store
	for range 4 {
		stores = append(stores, opened(t, uri))
	}
	slowCommits(t, uri, "angz_events")
	execute(t, uri, `CREATE TABLE elsewhere (n integer)`)
	foreign, err := connected(t, uri).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Exec(t.Context(), `INSERT INTO elsewhere VALUES (1)`); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	writers := start(ctx, stores, 16)
	following, end := context.WithTimeout(t.Context(), patience)
	defer end()
	enough := make(chan struct{})
	var tails errgroup.Group
	seen := make([]follower, 8)
	for i := range seen {
		tails.Go(func() error { return tail(following, stores[i%len(stores)], &seen[i], enough) })
	}
	writers.reach(t, 2000)
	stop()
	writers.work.Wait()
	close(enough)
	if err := tails.Wait(); err != nil {
		t.Error(err)
	}
	for i := range seen {
		if len(seen[i].commands) != writers.count() {
			t.Errorf("follower %d saw %d commands, %d were acknowledged", i, len(seen[i].commands), writers.count())
		}
	}
	writers.wait(t, uri)
	if err := foreign.Rollback(t.Context()); err != nil {
		t.Errorf("the foreign transaction was not open all the time: %v", err)
	}
}

// tail follows a log until it has been told that nothing more comes, and has read
// everything that is there then.
func tail(ctx context.Context, store *postgres.Store, seen *follower, enough <-chan struct{}) error {
	for {
		changed := store.Changed()
		events, err := store.ReadLog(ctx, seen.position, 1+rand.IntN(200))
		if err != nil {
			return err
		}
		if err := seen.take(events); err != nil {
			return err
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
			select {
			case <-enough:
				return nil
			default:
			}
		case <-ctx.Done():
			return fmt.Errorf("at position %d: %w", seen.position, ctx.Err())
		}
	}
}

// The control: the same writers on a table with a sequence, and a reader that asks
// for what comes after the last number it saw. It must be seen to skip events, or
// the test above could not see anything either.
func TestNaiveReaderOfASequenceSkipsEvents(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	execute(t, uri, `CREATE TABLE naive (position bigserial PRIMARY KEY)`)
	slowCommits(t, uri, "naive")
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	reader, last, seen := connected(t, uri), int64(0), 0
	read := func() error {
		rows, err := reader.Query(ctx, `SELECT position FROM naive WHERE position > $1 ORDER BY position`, last)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&last}, func() error { seen++; return nil })
		return err
	}
	// However the machine is busy, one commit comes after a later number is read.
	late, err := connected(t, uri).Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(ctx, `INSERT INTO naive DEFAULT VALUES`); err != nil {
		t.Fatal(err)
	}
	execute(t, uri, `INSERT INTO naive DEFAULT VALUES`)
	if err := errors.Join(read(), late.Commit(ctx)); err != nil {
		t.Fatal(err)
	}
	var writers errgroup.Group
	for range 16 {
		conn := connected(t, uri)
		writers.Go(func() error {
			for range 100 {
				if _, err := conn.Exec(ctx, `INSERT INTO naive DEFAULT VALUES`); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- writers.Wait() }()
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	if seen == 2+16*100 {
		t.Error("the naive reader saw all events: these writers cannot show who skips any")
	}
	t.Logf("the naive reader saw %d of %d events", seen, 2+16*100)
}
