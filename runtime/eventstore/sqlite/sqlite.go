// Package sqlite keeps the event store in one SQLite file, or in memory: the
// driver for development, for tests and for whatever one machine can carry.
//
// One process owns the file. One goroutine writes it, everything that waits in
// one transaction, because a durable commit costs the same for one command as
// for five hundred. Readers have connections of their own and never wait for
// the writer. The newest events are also kept in memory, so that whoever
// follows the log does so without touching the database.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// Options says where the store is and how it is kept.
type Options struct {
	// Path of the database file; it and its folder are created when missing.
	// Empty or ":memory:" keeps the store in memory until it is closed.
	Path string
	// CorrelationIndex makes ByCorrelation fast for about 4 µs of CPU per
	// command. Without it ByCorrelation reads the whole log. It can be changed
	// at any opening.
	CorrelationIndex bool
	// Logger receives what nobody waits for, such as a failed checkpoint. Nil
	// discards it.
	Logger *slog.Logger
	// Metrics counts the writer's transactions; nil for nobody.
	Metrics *observe.Metrics
}

// readers is how many reads run at once on a file. Reads are short, so more
// would only cost memory.
const readers = 4

// Store is an open event store.
type Store struct {
	file    *file // nil in memory
	writer  *writer
	readers *pool
	recent  *eventstore.Recent
	loads   loads
	hints   *hints
	clock   clock
	epoch   uuid.UUID

	checkpoints *checkpointer // nil in memory
	finished    sync.WaitGroup

	closing  sync.Once
	closed   atomic.Bool
	closeErr error
}

var _ eventstore.Store = (*Store)(nil)

// Open opens the store and creates it where there is none. It does not change a
// file that is not a store of this version of angz. The context bounds only the
// opening.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Path == "" || options.Path == ":memory:" {
		return openMemory(ctx, options)
	}
	return openFile(ctx, options)
}

func openMemory(ctx context.Context, options Options) (*Store, error) {
	c, err := connect(ctx, ":memory:", memoryPragmas)
	if err != nil {
		return nil, fmt.Errorf("open store in memory: %w", err)
	}
	// The one connection is the database: readers and the writer take turns,
	// and it is never closed because of an error.
	conns := newPool(1, nil)
	conns.idle = []*conn{c}
	store := &Store{readers: conns, writer: newWriter(conns)}
	if err = createSchema(ctx, c); err == nil {
		err = store.start(ctx, c, options)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store in memory: %w", err), conns.close())
	}
	return store, nil
}

func openFile(ctx context.Context, options Options) (*Store, error) {
	f, err := claimFile(options.Path)
	if err != nil {
		return nil, err
	}
	writing := newPool(1, f.connectWriter)
	reading := newPool(readers, f.connectReader)
	s := &Store{
		file: f, writer: newWriter(writing), readers: reading,
		checkpoints: newCheckpointer(f.connectCheckpointer, options.Logger),
	}
	c, err := f.initialise(ctx)
	if err == nil {
		writing.idle = []*conn{c}
		s.writer.checkpoints = s.checkpoints
		err = s.start(ctx, c, options)
	}
	if err != nil {
		return nil, errors.Join(f.explain(err), writing.close(), f.release())
	}
	return s, nil
}

// start reads where the log stands and starts the writer. Nobody else uses the
// connection yet.
func (s *Store) start(ctx context.Context, c *conn, options Options) (err error) {
	if err := setCorrelationIndex(ctx, c, options.CorrelationIndex); err != nil {
		return err
	}
	if s.epoch, err = readEpoch(ctx, c); err != nil {
		return err
	}
	// Whoever held a lease was in a process that is gone.
	if err := c.once(ctx, `DELETE FROM members`); err != nil {
		return err
	}
	s.clock.opened = time.Now()
	s.recent = eventstore.NewRecent()
	s.writer.recent, s.writer.metrics = s.recent, options.Metrics
	s.hints = &hints{seed: maphash.MakeSeed()}
	s.writer.hints = s.hints
	if err := s.writer.reload(ctx, c); err != nil {
		return err
	}
	// What runs until Close must not end with the context of the opening.
	lasting := context.WithoutCancel(ctx)
	s.finished.Go(func() { s.writer.run(lasting) })
	if s.checkpoints != nil {
		s.finished.Go(func() { s.checkpoints.run(lasting) })
	}
	return nil
}

// Epoch identifies this log.
func (s *Store) Epoch() uuid.UUID { return s.epoch }

// Close waits for the writes it has accepted and for running reads, then
// releases the file. Closing again does nothing more.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.writer.stop()
		s.finished.Wait()
		s.closeErr = s.readers.close()
		if s.file == nil {
			return
		}
		// The writer's connection goes last: closing the last one moves the
		// write-ahead log into the file and removes it.
		s.closeErr = errors.Join(s.closeErr, s.writer.conns.close(), s.file.release())
	})
	return s.closeErr
}
