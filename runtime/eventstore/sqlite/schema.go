package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// What identifies a database of angz in its header, and the version of the
// tables in it.
const (
	applicationID = 0x616e677a // "angz"
	schemaVersion = 4
)

// Every row of events stands on its own, so that reading a page of the log
// needs one pass. Indexes by command and correlation hold only the first event
// of each command, and part and parts lead to the others.
//
// streams is clustered by its key because that is how a command that meets an
// unknown aggregate asks for it. People look for names, by the part that
// eventstore.NameKey leaves of them. domains holds what counting would take a scan
// for: the writer adds each transaction's events to it.
var schema = []string{
	`CREATE TABLE streams (
		id INTEGER NOT NULL,
		domain TEXT NOT NULL,
		root BLOB NOT NULL,
		name TEXT NOT NULL,
		PRIMARY KEY (domain, root)
	) STRICT, WITHOUT ROWID`,
	`CREATE UNIQUE INDEX streams_id ON streams (id)`,
	createNameIndex,
	createDomains,
	`CREATE TABLE events (
		position INTEGER PRIMARY KEY,
		stream INTEGER NOT NULL,
		seq INTEGER NOT NULL,
		part INTEGER NOT NULL,
		parts INTEGER NOT NULL,
		created_at INTEGER NOT NULL,
		command_id BLOB NOT NULL,
		correlation_id TEXT NOT NULL,
		causation TEXT NOT NULL,
		type_url TEXT NOT NULL,
		payload BLOB,
		trace TEXT
	) STRICT`,
	`CREATE UNIQUE INDEX events_stream ON events (stream, seq)`,
	`CREATE UNIQUE INDEX events_command ON events (command_id) WHERE part = 0`,
	`CREATE TABLE snapshots (
		stream INTEGER PRIMARY KEY,
		seq INTEGER NOT NULL,
		type_url TEXT NOT NULL,
		state BLOB,
		checksum INTEGER NOT NULL
	) STRICT`,
	createSlices,
	createMembers,
	createControls,
	`CREATE TABLE parked (
		subscription TEXT NOT NULL,
		position INTEGER NOT NULL,
		domain TEXT NOT NULL,
		root BLOB NOT NULL,
		seq INTEGER NOT NULL,
		attempts INTEGER NOT NULL,
		reason TEXT NOT NULL,
		state TEXT NOT NULL,
		first_at INTEGER NOT NULL,
		last_at INTEGER NOT NULL,
		note TEXT NOT NULL DEFAULT '',
		PRIMARY KEY (subscription, position)
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX parked_waiting ON parked (subscription, domain, root) WHERE state IN ('parked', 'retry')`,
	`CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID`,
}

const (
	createNameIndex = `CREATE INDEX streams_name ON streams (domain, substr(name, 1, 200))`

	createDomains = `CREATE TABLE domains (
		domain TEXT NOT NULL PRIMARY KEY,
		aggregates INTEGER NOT NULL,
		events INTEGER NOT NULL,
		position INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`

	createSlices = `CREATE TABLE slices (
		name TEXT NOT NULL,
		number INTEGER NOT NULL,
		position INTEGER NOT NULL,
		epoch INTEGER NOT NULL,
		member BLOB,
		updated_at INTEGER NOT NULL,
		PRIMARY KEY (name, number)
	) STRICT, WITHOUT ROWID`

	createMembers = `CREATE TABLE members (
		name TEXT NOT NULL,
		member BLOB NOT NULL,
		address TEXT NOT NULL,
		until INTEGER NOT NULL,
		PRIMARY KEY (name, member)
	) STRICT, WITHOUT ROWID`

	// What people decided: rewind counts wishes, rewinder is who does the newest.
	createControls = `CREATE TABLE controls (
		name TEXT NOT NULL PRIMARY KEY,
		paused INTEGER NOT NULL DEFAULT 0,
		note TEXT NOT NULL,
		decided_at INTEGER NOT NULL,
		rewind INTEGER NOT NULL DEFAULT 0,
		rewinding INTEGER NOT NULL DEFAULT 0,
		target INTEGER NOT NULL DEFAULT 0,
		clear INTEGER NOT NULL DEFAULT 0,
		rewinder BLOB,
		failed TEXT NOT NULL DEFAULT ''
	) STRICT, WITHOUT ROWID`
)

// migrations lead from one version of the tables to the next; the first is from
// version 1 to 2. Every one keeps everything.
var migrations = [][]string{
	{
		`ALTER TABLE events ADD COLUMN trace TEXT`,
		`ALTER TABLE parked ADD COLUMN note TEXT NOT NULL DEFAULT ''`,
		`DROP INDEX parked_waiting`,
		`CREATE INDEX parked_waiting ON parked (subscription, domain, root) WHERE state IN ('parked', 'retry')`,
		createSlices,
		createMembers,
		`INSERT INTO slices (name, number, position, epoch, updated_at) SELECT name, 0, position, epoch, updated_at FROM subscriptions`,
		`DROP TABLE subscriptions`,
	},
	{
		createNameIndex,
		createDomains,
		// One look for each aggregate instead of one for each event.
		`INSERT INTO domains (domain, aggregates, events, position)
			SELECT s.domain, count(*), sum(e.seq + 1), max(e.position)
			FROM streams s CROSS JOIN events e ON e.stream = s.id AND e.seq = (SELECT max(seq) FROM events WHERE stream = s.id)
			GROUP BY s.domain`,
	},
	{createControls},
}

// migrate brings the tables of an older version up to this one.
func migrate(ctx context.Context, c *conn) error {
	version, err := c.number(ctx, `PRAGMA user_version`)
	if err != nil || version >= schemaVersion {
		return err
	}
	if version < 1 {
		return errors.Join(eventstore.ErrUnavailable, errors.New("the version of the tables is missing"))
	}
	statements := []string{`BEGIN IMMEDIATE`}
	for _, step := range migrations[version-1:] {
		statements = append(statements, step...)
	}
	statements = append(statements, fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion), `COMMIT`)
	for _, statement := range statements {
		if err := c.once(ctx, statement); err != nil {
			return fmt.Errorf("migrate the tables from version %d: %w", version, err)
		}
	}
	return nil
}

// createSchema fills a database that holds nothing yet; another one it leaves
// as it is.
func createSchema(ctx context.Context, c *conn) error {
	tables, err := c.number(ctx, `SELECT count(*) FROM sqlite_schema`)
	if err != nil || tables > 0 {
		return err
	}
	statements := append([]string{`BEGIN IMMEDIATE`}, schema...)
	statements = append(statements,
		fmt.Sprintf(`PRAGMA application_id = %d`, applicationID),
		fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion))
	for _, statement := range statements {
		if err := c.once(ctx, statement); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
	}
	epoch := uuid.New()
	if _, err := c.exec(ctx, `INSERT INTO meta (key, value) VALUES ('log_epoch', ?)`, epoch[:]); err != nil {
		return fmt.Errorf("create the log's epoch: %w", err)
	}
	return c.once(ctx, `COMMIT`)
}

func readEpoch(ctx context.Context, c *conn) (uuid.UUID, error) {
	var epoch uuid.UUID
	err := c.query(ctx, `SELECT value FROM meta WHERE key = 'log_epoch'`, func(row []driver.Value) error {
		epoch = id(row[0])
		return errStop
	})
	if err == nil && epoch == uuid.Nil {
		err = errors.Join(eventstore.ErrUnavailable, errors.New("the log's epoch is missing"))
	}
	return epoch, err
}

func setCorrelationIndex(ctx context.Context, c *conn, wanted bool) error {
	if !wanted {
		return c.once(ctx, `DROP INDEX IF EXISTS events_correlation`)
	}
	return c.once(ctx, `CREATE INDEX IF NOT EXISTS events_correlation ON events (correlation_id) WHERE part = 0`)
}
