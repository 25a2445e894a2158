package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/archive"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// registerAdmin puts what the people who run the system need behind a door.
func (n *Node) registerAdmin(to grpc.ServiceRegistrar) {
	if n.admin != nil {
		pb.RegisterAdminServer(to, n.admin)
	}
	if n.archive != nil {
		pb.RegisterArchiveServer(to, n.archive)
	}
	if n.explorer != nil {
		pb.RegisterExplorerServer(to, n.explorer)
	}
}

// archiveOptions describe the archive of this process's store.
func (n *Node) archiveOptions() archive.Options {
	options := archive.Options{
		Store: n.store, Slices: n.slices(), Sagas: map[string][]string{}, Writing: n.othersWrite, Logger: observe.Component(n.logger, "archive"),
	}
	for _, saga := range n.config.Sagas {
		options.Sagas[saga.Name] = saga.Domains
	}
	if len(n.parts.sagas) > 0 {
		door := "saga"
		if n.parts.all() {
			door = "aggregate"
		}
		options.Hold, options.Address = n.gate.hold, n.advertised(door)
	}
	return options
}

// othersWrite tells who keeps aggregates in memory that an import goes past it.
func (n *Node) othersWrite() {
	if n.commands != nil {
		n.commands.OthersWrite()
	}
}

// gate keeps calls to sagas back while an import is under way, because a saga
// must not act on half of it: its commands would come before the imported books
// that they led to. The zero gate is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed when the gate opens; nil while it is open
}

// gateWait is how long a call waits at the gate before its caller is told to come
// again.
const gateWait = 5 * time.Second

// hold closes the gate until release is called.
func (g *gate) hold() (release func()) {
	opened := make(chan struct{})
	g.mu.Lock()
	g.opened = opened
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		g.opened = nil
		g.mu.Unlock()
		close(opened)
	}
}

// pass waits until the gate is open. Callers take its error for a store that is
// away, and come again.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return nil
	}
	timer := time.NewTimer(gateWait)
	defer timer.Stop()
	select {
	case <-opened:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return rpcerr.Status(fmt.Errorf("sagas wait while an import is under way: %w", eventstore.ErrUnavailable))
}

// before puts the gate before a connection.
func (g *gate) before(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return gated{conn, g}
}

type gated struct {
	grpc.ClientConnInterface
	gate *gate
}

func (c gated) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	if err := c.gate.pass(ctx); err != nil {
		return err
	}
	return c.ClientConnInterface.Invoke(ctx, method, request, response, options...)
}

// ErrNothingStored says that there is no store yet.
var ErrNothingStored = errors.New("nothing is stored yet")

// Archive is the store of a system that does not run, open for export and import.
type Archive struct {
	store eventstore.Store
	conn  *transport.Memory
}

// OpenArchive opens the configured store by itself, without any role that acts on
// it. Nobody else may have it open if it is a file; with create, one that is not
// there is made, else the error is ErrNothingStored.
func OpenArchive(ctx context.Context, c *config.Config, create bool, logger *slog.Logger) (*Archive, error) {
	if err := c.CheckDrivers(Stores, Buses); err != nil {
		return nil, err
	}
	n := &Node{config: c, logger: logger, parts: parts{store: true}}
	if path := StoreFile(c); path != "" && !create {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: there is no %s", ErrNothingStored, path)
		}
	}
	if err := n.openStore(ctx); err != nil {
		return nil, err
	}
	a := &Archive{store: n.store, conn: transport.NewMemory()}
	pb.RegisterArchiveServer(a.conn, archive.New(n.archiveOptions()))
	return a, nil
}

// Conn returns a connection to the archive that stays inside the process.
func (a *Archive) Conn() grpc.ClientConnInterface { return a.conn }

// Empty reports whether nothing is stored.
func (a *Archive) Empty() bool { return a.store.Head() == 0 }

// Close waits for calls under way and releases the store.
func (a *Archive) Close() error {
	a.conn.Wait()
	return a.store.Close()
}

// StoreFile returns the path of the file that is the configured store; empty when
// it is not a file.
func StoreFile(c *config.Config) string {
	path := c.Storage.SQLite.Path
	if c.Storage.Type != "sqlite" || path == "" || path == ":memory:" {
		return ""
	}
	return (&Node{config: c}).inProject(path)
}

// SetStoreAside moves the file of the configured store to another path, which it
// replaces, or removes it when that is empty. It fails when somebody has the
// store open. moved is false when there was no file.
func SetStoreAside(c *config.Config, to string) (moved bool, err error) {
	path := StoreFile(c)
	if path == "" {
		return false, fmt.Errorf("the store is not a file: storage.type is %s", c.Storage.Type)
	}
	return sqlite.SetAside(path, to)
}
