package node

import (
	"context"
	"fmt"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

// MigrateOptions say what Migrate is to do.
type MigrateOptions struct {
	DryRun   bool // only says what would be done
	NewEpoch bool // gives the log a new identity, after a restore to an earlier point
}

// Migration is what Migrate did, or would do.
type Migration struct {
	Needed     bool     // whether the store has tables that are migrated at all
	From, To   int      // versions of the tables
	Statements []string // in order; none when there was nothing to do
	Epoch      string   // the log's new identity, empty when it keeps the one it has
}

// Migrate brings the tables of the configured store up to this version. Only
// PostgreSQL needs that: a file is brought up to date when it is opened.
func Migrate(ctx context.Context, c *config.Config, options MigrateOptions) (Migration, error) {
	if c.Storage.Type != "postgres" {
		return Migration{}, nil
	}
	migrated, err := postgres.Migrate(ctx, c.Storage.Postgres.URI, postgres.MigrateOptions{
		DryRun: options.DryRun, NewEpoch: options.NewEpoch, CorrelationIndex: c.Storage.CorrelationIndex,
	})
	if err != nil {
		return Migration{}, fmt.Errorf("migrate the event store: %w", err)
	}
	migration := Migration{Needed: true, From: migrated.From, To: migrated.To, Statements: migrated.Statements}
	if options.NewEpoch {
		migration.Epoch = migrated.Epoch.String()
	}
	return migration, nil
}
