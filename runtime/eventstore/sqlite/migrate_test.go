package sqlite

import (
	"database/sql/driver"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// version1 is how the tables of version 1 were made.
var version1 = []string{
	`CREATE TABLE streams (id INTEGER NOT NULL, domain TEXT NOT NULL, root BLOB NOT NULL, name TEXT NOT NULL,
		PRIMARY KEY (domain, root)) STRICT, WITHOUT ROWID`,
	`CREATE UNIQUE INDEX streams_id ON streams (id)`,
	`CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
		part INTEGER NOT NULL, parts INTEGER NOT NULL, created_at INTEGER NOT NULL, command_id BLOB NOT NULL,
		correlation_id TEXT NOT NULL, causation TEXT NOT NULL, type_url TEXT NOT NULL, payload BLOB) STRICT`,
	`CREATE UNIQUE INDEX events_stream ON events (stream, seq)`,
	`CREATE UNIQUE INDEX events_command ON events (command_id) WHERE part = 0`,
	`CREATE TABLE snapshots (stream INTEGER PRIMARY KEY, seq INTEGER NOT NULL, type_url TEXT NOT NULL, state BLOB,
		checksum INTEGER NOT NULL) STRICT`,
	`CREATE TABLE subscriptions (name TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, epoch INTEGER NOT NULL,
		updated_at INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	`CREATE TABLE parked (subscription TEXT NOT NULL, position INTEGER NOT NULL, domain TEXT NOT NULL, root BLOB NOT NULL,
		seq INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL, state TEXT NOT NULL,
		first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, PRIMARY KEY (subscription, position)) STRICT, WITHOUT ROWID`,
	`CREATE INDEX parked_waiting ON parked (subscription, domain, root) WHERE state = 'parked'`,
	`CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID`,
	`PRAGMA application_id = 0x616e677a`,
	`PRAGMA user_version = 1`,
	`PRAGMA journal_mode = WAL`,
}

// old is what a file of version 1 holds.
var (
	oldEpoch   = uuid.UUID{0: 1}
	oldKey     = book.Key{Domain: "order", Root: uuid.UUID{0: 2}}
	oldCommand = uuid.UUID{0: 3}
	oldMoment  = time.Unix(0, 1_700_000_000_123_456_789).UTC()
)

// oldFile makes a store of version 1.
func oldFile(t *testing.T, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	c, err := connect(t.Context(), (&file{path: path}).uri(), nil)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...driver.Value) {
		t.Helper()
		if _, err := c.exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, statement := range append(version1, more...) {
		exec(statement)
	}
	at := eventstore.Nanos(oldMoment)
	exec(`INSERT INTO meta VALUES ('log_epoch', ?)`, oldEpoch[:])
	exec(`INSERT INTO streams VALUES (7, ?, ?, 'order-1')`, oldKey.Domain, oldKey.Root[:])
	exec(`INSERT INTO events VALUES (1, 7, 0, 0, 2, ?, ?, 'c', 'saga a/b/0', 't/Made', x'0102')`, at, oldCommand[:])
	exec(`INSERT INTO events VALUES (2, 7, 1, 1, 2, ?, ?, 'c', 'saga a/b/0', 't/Paid', NULL)`, at, oldCommand[:])
	exec(`INSERT INTO snapshots VALUES (7, 1, 't/State', x'03', ?)`, (&eventstore.Snapshot{Sequence: 1, TypeURL: "t/State", State: []byte{3}}).Checksum())
	exec(`INSERT INTO subscriptions VALUES ('saga', 2, 9, ?), ('relay', 1, 4, ?)`, at, at)
	exec(`INSERT INTO parked VALUES ('saga', 2, ?, ?, 0, 3, 'broken', 'parked', ?, ?)`, oldKey.Domain, oldKey.Root[:], at, at)
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileOfVersion1KeepsEverything(t *testing.T) {
	t.Parallel()
	path := oldFile(t)
	for range 2 {
		s := opened(t, path)
		checkOldContents(t, s)
		domains, err := s.Domains(t.Context())
		if want := []eventstore.Domain{{Name: "order", Aggregates: 1, Events: 2, Position: 2, At: oldMoment}}; err != nil || !cmp.Equal(want, domains) {
			t.Errorf("the domains are %+v, %v", domains, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	s := opened(t, path)
	shared, err := s.Share(t.Context(), eventstore.Share{Name: "saga", Member: uuid.UUID{1}, Slices: 1, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := []eventstore.Slice{{Position: 2, Epoch: 10, Member: uuid.UUID{1}}}
	if diff := cmp.Diff(want, shared.Slices); diff != "" {
		t.Errorf("Share (-want +got):\n%s", diff)
	}
	request := command(oldKey, 2, "new")
	request.Trace = "00-a-b-01"
	if _, err := s.Append(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	events, err := s.ReadLog(t.Context(), 0, 10)
	if err != nil || len(events) != 3 || events[1].Trace != "" || events[2].Trace != "00-a-b-01" {
		t.Errorf("the log holds %+v, %v", events, err)
	}
}

func checkOldContents(t *testing.T, s *Store) {
	t.Helper()
	event := eventstore.Event{
		Position: 1, Key: oldKey, Name: "order-1", TypeURL: "t/Made", Payload: []byte{1, 2}, CreatedAt: oldMoment,
		CommandID: oldCommand, CorrelationID: "c", Causation: "saga a/b/0", Count: 2,
	}
	second := event
	second.Position, second.Sequence, second.TypeURL, second.Payload, second.Offset = 2, 1, "t/Paid", nil, 1
	type contents struct {
		Epoch     uuid.UUID
		Info      eventstore.Info
		Log       []eventstore.Event
		Positions []eventstore.Position
		Parked    []eventstore.Parked
		Blocked   []book.Key
	}
	want := contents{
		Epoch: oldEpoch,
		Info: eventstore.Info{
			Next: 2, Name: "order-1", Snapshot: &eventstore.Snapshot{Key: oldKey, Sequence: 1, TypeURL: "t/State", State: []byte{3}},
		},
		Log: []eventstore.Event{event, second},
		Positions: []eventstore.Position{
			{Name: "relay", Slices: 1, Position: 1, Epoch: 4, UpdatedAt: oldMoment},
			{Name: "saga", Slices: 1, Position: 2, Epoch: 9, UpdatedAt: oldMoment},
		},
		Parked: []eventstore.Parked{{
			Subscription: "saga", Position: 2, Key: oldKey, Attempts: 3, Reason: "broken", State: eventstore.StateParked,
			FirstAt: oldMoment, LastAt: oldMoment,
		}},
		Blocked: []book.Key{oldKey},
	}
	got, errs := contents{Epoch: s.Epoch()}, make([]error, 5)
	got.Info, errs[0] = s.Aggregate(t.Context(), oldKey)
	got.Log, errs[1] = s.ReadLog(t.Context(), 0, 10)
	got.Positions, errs[2] = s.Positions(t.Context())
	got.Parked, errs[3] = s.Parked(t.Context(), eventstore.ParkedQuery{Limit: 10})
	got.Blocked, errs[4] = s.Blocked(t.Context(), "saga")
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

func TestFileOfVersion2IsCounted(t *testing.T) {
	t.Parallel()
	path := oldFile(t)
	c, err := connect(t.Context(), (&file{path: path}).uri(), nil)
	if err != nil {
		t.Fatal(err)
	}
	more := append(slices.Clone(migrations[0]), `PRAGMA user_version = 2`,
		`INSERT INTO streams VALUES (8, 'order', x'08', ''), (9, 'customer', x'09', 'alice')`,
		`INSERT INTO events SELECT 3, 8, 0, 0, 1, created_at, x'08', 'c', '', 't/Made', NULL, NULL FROM events WHERE position = 1`,
		`INSERT INTO events SELECT 4, 9, 0, 0, 1, created_at, x'09', 'c', '', 't/Made', NULL, NULL FROM events WHERE position = 1`,
		`INSERT INTO events SELECT 5, 7, 2, 0, 1, created_at, x'0a', 'c', '', 't/Sent', NULL, NULL FROM events WHERE position = 1`)
	for _, statement := range more {
		if _, err := c.exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	want := []eventstore.Domain{
		{Name: "customer", Aggregates: 1, Events: 1, Position: 4, At: oldMoment},
		{Name: "order", Aggregates: 2, Events: 4, Position: 5, At: oldMoment},
	}
	for range 2 {
		s := opened(t, path)
		domains, err := s.Domains(t.Context())
		if diff := cmp.Diff(want, domains); err != nil || diff != "" {
			t.Errorf("Domains: %v (-want +got):\n%s", err, diff)
		}
		found, err := s.Summaries(t.Context(), eventstore.SummaryQuery{Domain: "order", Prefix: "order", Limit: 9})
		if err != nil || len(found) != 1 || found[0].Key != oldKey || found[0].Next != 3 {
			t.Errorf("by name there is %+v, %v", found, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A store that was brought up to date has to be what a new one is.
func TestMigratedTablesAreThoseOfANewStore(t *testing.T) {
	t.Parallel()
	migrated := tables(t, opened(t, oldFile(t)))
	fresh := tables(t, opened(t, filepath.Join(t.TempDir(), "store.db")))
	if diff := cmp.Diff(fresh, migrated); diff != "" {
		t.Errorf("tables (-new +migrated):\n%s", diff)
	}
}

// tables describes every column and index.
func tables(t *testing.T, s *Store) []string {
	t.Helper()
	var lines []string
	withWriter(t, s, func(c *conn) error {
		add := func(row []driver.Value) error {
			var line strings.Builder
			for _, value := range row {
				line.WriteString(text(value) + " ")
			}
			lines = append(lines, line.String())
			return nil
		}
		return errors.Join(
			c.query(t.Context(), `SELECT m.name, i.name, i.type, printf('%d %d %s', i."notnull", i.pk, i.dflt_value)
				FROM sqlite_schema m, pragma_table_xinfo(m.name) i WHERE m.type = 'table' ORDER BY m.name, i.cid`, add),
			c.query(t.Context(), `SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name`, add))
	})
	return lines
}

func TestMigrationThatFailsLeavesTheOldStore(t *testing.T) {
	t.Parallel()
	path := oldFile(t, `CREATE TABLE members (mine TEXT)`)
	if s, err := Open(t.Context(), Options{Path: path}); err == nil {
		t.Fatal(errors.Join(errors.New("the store was opened"), s.Close()))
	} else if !strings.Contains(err.Error(), "migrate the tables from version 1") {
		t.Errorf("the error does not say what was being done: %v", err)
	}
	c, err := connect(t.Context(), (&file{path: path}).uri(), nil)
	if err != nil {
		t.Fatal(err)
	}
	version, err := c.number(t.Context(), `PRAGMA user_version`)
	subscriptions, err2 := c.number(t.Context(), `SELECT count(*) FROM subscriptions`)
	if err := errors.Join(err, err2, c.close()); err != nil || version != 1 || subscriptions != 2 {
		t.Errorf("version %d with %d subscriptions, %v", version, subscriptions, err)
	}
}

// The process that held a lease is gone when the file can be opened.
func TestReopenedStoreWaitsForNoLease(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	for restart := range 3 {
		s := opened(t, path)
		member := uuid.New()
		shared, err := s.Share(t.Context(), eventstore.Share{Name: "saga", Member: member, Slices: 1, Lease: time.Hour})
		want := []eventstore.Slice{{Epoch: uint64(restart + 1), Member: member}}
		if diff := cmp.Diff(want, shared.Slices); err != nil || diff != "" {
			t.Errorf("Share (-want +got), %v:\n%s", err, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
