package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/inspect/dump"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/payload"
)

// archived says whose data a command is about: a system's that runs, or that of a
// project that does not.
type archived struct {
	connection connection
	project    runningProject
}

func (a *archived) register(cmd *cobra.Command) {
	a.connection.register(cmd)
	a.project.register(cmd)
}

// archive is an archive that is open.
type archive struct {
	conn    grpc.ClientConnInterface
	types   dump.Types
	address string
	close   func() error
}

// open opens the archive and says on standard error which it is. With create a
// store that is not there is made.
func (a *archived) open(ctx context.Context, s streams, create bool) (*archive, error) {
	if err := a.connection.resolve(s); err != nil {
		return nil, err
	}
	if a.connection.address != "" {
		a.connection.context = "" // it is resolved
		return a.dial(ctx, s, "using the system at "+a.connection.address)
	}
	dir, err := a.project.folder()
	if err != nil {
		return nil, err
	}
	client, err := control.Find(dir)
	if idle := (*control.NotRunning)(nil); errors.As(err, &idle) {
		if !idle.Project {
			return a.dial(ctx, s, "no project here: using the system that is configured")
		}
		return openStore(ctx, s, idle.Dir, create)
	}
	if err != nil {
		return nil, err
	}
	defer client.Close()
	now, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, endpoint := range now.Endpoints {
		if endpoint.Role == "gateway" {
			a.connection.address = endpoint.Address
			return a.dial(ctx, s, fmt.Sprintf("using the running angz dev of %s (process %d) at %s", now.Project, now.PID, endpoint.Address))
		}
	}
	return nil, fmt.Errorf("angz dev of %s (process %d) is just starting: try again when it is ready, see \"angz ps\"", now.Project, now.PID)
}

func (a *archived) dial(ctx context.Context, s streams, what string) (*archive, error) {
	conn, err := a.connection.dial(s)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(s.err, printable(what))
	types := payload.FromReflection(ctx, conn)
	return &archive{conn: conn, types: types, address: conn.Address(), close: func() error {
		types.Close()
		return conn.Close()
	}}, nil
}

// openStore opens the store of a project that does not run.
func openStore(ctx context.Context, s streams, dir string, create bool) (*archive, error) {
	loaded, err := config.Load(config.Options{Dir: dir, Environ: s.environ, Dev: true})
	if err != nil {
		return nil, usageError{err}
	}
	opened, err := node.OpenArchive(ctx, loaded, create, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	types, err := schemaOf(ctx, loaded)
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	where := node.StoreFile(loaded)
	if where == "" {
		where = "the " + loaded.Storage.Type + " store of " + loaded.Dir
	}
	fmt.Fprintf(s.err, "angz dev does not run here: working on %s directly\n", printable(where))
	return &archive{conn: opened.Conn(), types: types, address: where, close: opened.Close}, nil
}

// schemaOf reads a project's .proto files.
func schemaOf(ctx context.Context, loaded *config.Config) (*payload.Schema, error) {
	var folders []string
	for _, folder := range loaded.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(loaded.Dir, folder)
		}
		folders = append(folders, folder)
	}
	return payload.Load(ctx, folders, nil)
}

// countsText says in words how much there is.
func countsText(counts dump.Counts) string {
	text := fmt.Sprintf("%s of %s", plural(counts.Events, "event", "events"), plural(counts.Books, "command", "commands"))
	if counts.Snapshots > 0 {
		text += ", " + plural(counts.Snapshots, "snapshot", "snapshots")
	}
	return text
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
