package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

func TestManyProcessesMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	var wait sync.WaitGroup
	epochs := make([]string, 12)
	for i := range epochs {
		wait.Go(func() {
			store, err := open(t, postgres.Options{URI: uri, Migrate: true, CorrelationIndex: true})
			if err != nil {
				t.Error(err)
				return
			}
			epochs[i] = store.Epoch().String()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, epoch := range epochs {
		if epoch != epochs[0] {
			t.Errorf("two logs were made: %v", epochs)
		}
	}
}

func TestTablesOfAnotherVersionAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version string
		migrate bool
		want    []string
	}{
		"newer":                        {"99", true, []string{"of version 99", "only up to version 4", "use the angz that made them"}},
		"missing, and not to be made":  {"", false, []string{"of version 0", "angz migrate", "storage.postgres.migrate"}},
		"newer, and not to be changed": {"99", false, []string{"of version 99"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri := server.Use(t)
			if c.version != "" {
				execute(t, uri, `CREATE TABLE angz_meta (key text PRIMARY KEY, value text NOT NULL)`)
				execute(t, uri, `INSERT INTO angz_meta VALUES ('schema_version', '`+c.version+`')`)
			}
			_, err := open(t, postgres.Options{URI: uri, Migrate: c.migrate})
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
		})
	}
}

// A process of the version before goes on while others are brought up to this one.
func TestTablesOfTheVersionBeforeAreBroughtUpAndItsProcessesGoOn(t *testing.T) {
	t.Parallel()
	uri := ofVersion(t, 1)
	if _, err := open(t, postgres.Options{URI: uri}); err == nil || !strings.Contains(err.Error(), "of version 1, this version of angz needs version 4") {
		t.Errorf("without a migration: got %v", err)
	}
	old := connected(t, uri)
	key := newKey("order")
	acknowledged := map[uuid.UUID]bool{}
	appendAsBefore := func(next int) {
		t.Helper()
		id := uuid.New()
		var status int
		if err := old.QueryRow(t.Context(), `SELECT status FROM angz_append(ARRAY[$1::uuid], '{f}', '{order}', ARRAY[$2::uuid], '{""}', ARRAY[$3::bigint], '{1}', '{c}', '{""}', '{""}',
			'{1}', '{0}', '{0}', '{t/examples.Happened}', ARRAY[NULL::bytea], '{}', '{}', '{}', '{}', '{}')`, id, key.Root, next).Scan(&status); err != nil || status != 0 {
			t.Fatalf("status %d, %v", status, err)
		}
		acknowledged[id] = true
	}
	appendAsBefore(0)
	store := opened(t, uri)
	appendAsBefore(1)
	request := command(key, 2, "a", "b")
	if answer, err := store.Append(t.Context(), request); err != nil || answer.Last != 4 {
		t.Errorf("got %+v, %v", answer, err)
	}
	acknowledged[request.CommandID] = true
	appendAsBefore(4)
	until(t, "the store has heard of it", func() bool { return store.Head() == 5 })
	checkLog(t, store, acknowledged)
	// What was there, what the old process has stored and what the new one has.
	domains, err := store.Domains(t.Context())
	if err != nil || len(domains) != 1 || domains[0].Aggregates != 1 || domains[0].Events != 5 || domains[0].Position != 5 {
		t.Errorf("the domains are %+v, %v", domains, err)
	}
}

// ofVersion makes a database with the tables of a version.
func ofVersion(t *testing.T, version int) (uri string) {
	t.Helper()
	uri = server.Use(t)
	for _, statement := range postgres.TablesOf(version) {
		execute(t, uri, statement)
	}
	execute(t, uri, fmt.Sprintf(`INSERT INTO angz_meta VALUES ('schema_version', '%d'), ('log_epoch', '%s')`, version, uuid.New()))
	return uri
}

// A process of the version before rests, too, when somebody pauses what it works on.
func TestProcessesOfVersion3HeedAPause(t *testing.T) {
	t.Parallel()
	uri := ofVersion(t, 3)
	old, member := connected(t, uri), uuid.New()
	shareAsBefore := func() (held, surplus int) {
		t.Helper()
		err := old.QueryRow(t.Context(), `SELECT count(member), max(surplus) FROM angz_share('saga', $1, '', 3, 60000, '{}', false)`, member).Scan(&held, &surplus)
		if err != nil {
			t.Fatal(err)
		}
		return held, surplus
	}
	if held, surplus := shareAsBefore(); held != 3 || surplus != 0 {
		t.Errorf("it holds %d slices, %d too many", held, surplus)
	}
	store := opened(t, uri)
	if held, surplus := shareAsBefore(); held != 3 || surplus != 0 {
		t.Errorf("after the migration it holds %d slices, %d too many", held, surplus)
	}
	if err := store.Pause(t.Context(), eventstore.Pause{Name: "saga", Paused: true}); err != nil {
		t.Fatal(err)
	}
	if held, surplus := shareAsBefore(); held != 3 || surplus != 3 {
		t.Errorf("while it is paused it holds %d slices, %d too many", held, surplus)
	}
}

// appendAsVersion2 makes a new aggregate with one event as a process of version 2 does.
const appendAsVersion2 = `SELECT head FROM angz_append_batch(ARRAY[$1::uuid], '{f}', ARRAY[$2], ARRAY[$1::uuid], '{0}', '{1}', '{c}', '{""}', '{""}',
	'{1}', '{0}', '{7}', '{t/examples.Happened}', ARRAY[NULL::bytea], '{1}', '{"name"}', NULL, NULL, NULL, NULL, NULL)`

func TestStoreOfVersion2IsCounted(t *testing.T) {
	t.Parallel()
	uri := ofVersion(t, 2)
	for range 3 {
		execute(t, uri, appendAsVersion2, uuid.New(), "order")
	}
	execute(t, uri, appendAsVersion2, uuid.New(), "customer")
	want := []eventstore.Domain{
		{Name: "customer", Aggregates: 1, Events: 1, Position: 4, At: time.Unix(0, 7).UTC()},
		{Name: "order", Aggregates: 3, Events: 3, Position: 3, At: time.Unix(0, 7).UTC()},
	}
	for range 2 {
		checkDomains(t, opened(t, uri), want)
	}
	execute(t, uri, appendAsVersion2, uuid.New(), "customer")
	want[0].Aggregates, want[0].Events, want[0].Position = 2, 2, 5
	checkDomains(t, opened(t, uri), want)
}

// A call that waits for the log's lock goes on with the functions of the version
// before when the migration is over, and nobody may wait for it.
func TestAnAppendThatBeganBeforeTheMigrationIsCounted(t *testing.T) {
	t.Parallel()
	uri := ofVersion(t, 2)
	holder, watcher := connected(t, uri), connected(t, uri)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(1634625402, 0)`); err != nil {
		t.Fatal(err)
	}
	old, answered := connected(t, uri), make(chan error, 1)
	go func() {
		_, err := old.Exec(t.Context(), appendAsVersion2, uuid.New(), "order")
		answered <- err
	}()
	until(t, "the append waits for the log's lock", func() (waits bool) {
		if err := watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks
			WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	if _, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_unlock(1634625402, 0)`); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	checkDomains(t, opened(t, uri), []eventstore.Domain{{Name: "order", Aggregates: 1, Events: 1, Position: 1, At: time.Unix(0, 7).UTC()}})
}

// What counts is kept in few rows, so their dead versions would be in the way of all
// appends while a long transaction keeps them.
func TestFewAppendsChangeWhatIsCounted(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	store, stranger := opened(t, uri), connected(t, uri)
	versions := func() (all string) {
		t.Helper()
		if err := stranger.QueryRow(t.Context(), `SELECT coalesce(string_agg(domain || ctid || xmin, ' '), '') FROM angz_domains`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	seen := map[string]bool{}
	for range 9_000 / 300 {
		if _, err := store.Append(t.Context(), command(newKey("order"), 0, slices.Repeat([]string{"a"}, 300)...)); err != nil {
			t.Fatal(err)
		}
		seen[versions()] = true
	}
	if len(seen) != 3 { // none, after 4,096 and after 8,192
		t.Errorf("30 appends of 9,000 events left %d versions of the counts, want 3", len(seen))
	}
	checkDomains(t, store, []eventstore.Domain{{Name: "order", Aggregates: 30, Events: 9_000, Position: 9_000, At: time.Unix(1, 2).UTC()}})
}

func checkDomains(t *testing.T, store eventstore.Store, want []eventstore.Domain) {
	t.Helper()
	domains, err := store.Domains(t.Context())
	if diff := cmp.Diff(want, domains); err != nil || diff != "" {
		t.Errorf("Domains: %v (-want +got):\n%s", err, diff)
	}
}

func execute(t *testing.T, uri, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	planned, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{DryRun: true})
	if err != nil || planned.From != 0 || planned.To != 4 || len(planned.Statements) < 10 {
		t.Fatalf("dry run: %+v, %v", planned, err)
	}
	if _, err := open(t, postgres.Options{URI: uri}); err == nil {
		t.Error("the tables are there after a dry run")
	}
	done, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{})
	if err != nil || len(done.Statements) != len(planned.Statements) {
		t.Fatalf("migrate: %+v, %v", done, err)
	}
	again, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{})
	if err != nil || again.From != 4 || len(again.Statements) != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
}

func TestANewEpochMakesAnotherLogOfIt(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	before := epochOf(t, uri)
	if _, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{NewEpoch: true, DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if now := epochOf(t, uri); now != before {
		t.Errorf("a dry run changed the epoch from %s to %s", before, now)
	}
	migrated, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{NewEpoch: true})
	if err != nil {
		t.Fatal(err)
	}
	if now := epochOf(t, uri); now == before || now != migrated.Epoch.String() {
		t.Errorf("the epoch was %s and is %s, said to be %s", before, now, migrated.Epoch)
	}
}

func epochOf(t *testing.T, uri string) string {
	t.Helper()
	store, err := open(t, postgres.Options{URI: uri, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return store.Epoch().String()
}

func TestAURIThatCannotBeReadIsNotShown(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"postgres://u:s3cret@host:port/db", "postgres://u:s3cr%et@host/db", "s3cret", "host=h password=s3cret sslmode=sideways"} {
		_, err := open(t, postgres.Options{URI: uri})
		if err == nil || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("%q: got %v", uri, err)
		}
	}
}
