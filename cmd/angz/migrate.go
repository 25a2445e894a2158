package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// newMigrateCommand brings a database's tables up to this version.
func newMigrateCommand(s streams) *cobra.Command {
	var file string
	var options node.MigrateOptions
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's tables up to this version of angz",
		Long: "Bring the tables of the PostgreSQL database in the configuration up to this version of\n" +
			"angz. Processes do so themselves when they start, unless storage.postgres.migrate is\n" +
			"false. It may run while others do the same or use the database. Tables of a newer version\n" +
			"are refused and stay as they are.\n\n" +
			"--new-epoch is for after a restore that took events back: it gives the log a new\n" +
			"identity, so that messages of the old one are recognised. Stop every process first.",
		Example: "  angz migrate --dry-run\n" +
			"  angz migrate --dry-run --output json | jq -r '.statements[]'\n" +
			"  angz migrate --config /etc/angz/angz.yaml\n" +
			"  angz migrate --new-epoch",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runMigrate(cmd.Context(), s, file, options, output) },
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration file (default: angz.yaml in the working folder or above)")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "print the SQL statements that would be run, and change nothing")
	cmd.Flags().BoolVar(&options.NewEpoch, "new-epoch", false, "give the log a new identity, after a restore to an earlier point")
	output.register(cmd)
	return cmd
}

func runMigrate(ctx context.Context, s streams, file string, options node.MigrateOptions, output outputFormat) error {
	loaded, err := config.Load(config.Options{File: file, Environ: s.environ, NoStore: true})
	if err == nil {
		err = loaded.CheckDrivers(node.Stores, node.Buses)
	}
	if err != nil {
		return usageError{err}
	}
	if loaded.Storage.Type != "postgres" && options.NewEpoch {
		return usagef("--new-epoch: storage.type is %s, and only a PostgreSQL database has an epoch to change", loaded.Storage.Type)
	}
	migration, err := node.Migrate(ctx, loaded, options)
	if err != nil {
		return err
	}
	if output.forPrograms() {
		return output.write(s.out, newMigrationDocument(loaded.Storage.Type, options, migration))
	}
	return printMigration(s.out, loaded.Storage.Type, options, migration)
}

// migrationDocument is what became of the tables, or would.
type migrationDocument struct {
	Storage    string   `json:"storage" doc:"what events are kept in, such as postgres"`
	Needed     bool     `json:"needed" doc:"whether that has tables that are migrated at all"`
	From       int      `json:"from" doc:"the version of the tables before; 0 for none"`
	To         int      `json:"to" doc:"the version of the tables after; 0 where none are needed"`
	DryRun     bool     `json:"dry_run" doc:"whether nothing was changed, because of --dry-run"`
	Statements []string `json:"statements" doc:"the SQL statements, in their order, without the semicolon at the end; empty when there was nothing to do"`
	Epoch      string   `json:"epoch,omitempty" doc:"the log's new identity, with --new-epoch; absent when it keeps the one it has"`
}

func newMigrationDocument(storage string, options node.MigrateOptions, m node.Migration) migrationDocument {
	return migrationDocument{storage, m.Needed, m.From, m.To, options.DryRun, append([]string{}, m.Statements...), m.Epoch}
}

func printMigration(out io.Writer, storage string, options node.MigrateOptions, m node.Migration) error {
	switch {
	case !m.Needed:
		_, err := fmt.Fprintf(out, "nothing to do: storage.type is %s, whose store is brought up to date when it is opened\n", storage)
		return err
	case len(m.Statements) == 0:
		_, err := fmt.Fprintf(out, "nothing to do: the tables are of version %d\n", m.To)
		return err
	case options.DryRun:
		fmt.Fprintf(out, "-- from version %d to %d; nothing has been changed\n", m.From, m.To)
		for _, statement := range m.Statements {
			if _, err := fmt.Fprintf(out, "%s;\n", statement); err != nil {
				return err
			}
		}
		return nil
	}
	text := fmt.Sprintf("the tables are of version %d", m.To)
	if m.From != m.To {
		text = fmt.Sprintf("migrated the tables from version %d to %d", m.From, m.To)
	}
	if m.Epoch != "" {
		text += ", and the log has the new epoch " + m.Epoch
	}
	_, err := fmt.Fprintln(out, text)
	return err
}
