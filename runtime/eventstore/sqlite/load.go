package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// Bounds of reading together. A long history would make all the others in its
// transaction wait, so it is read alone.
const (
	batchLoads = 64
	longLoad   = 256 // events
)

// loading is one aggregate that somebody waits for.
type loading struct {
	key       book.Key
	snapshots bool
	lead      chan struct{} // closed when its caller is to read for everybody
	done      chan struct{} // closed when the rest holds the answer

	info   eventstore.Info
	events []eventstore.Event
	long   bool // the caller is to read it alone
	err    error
}

// loads reads what many callers ask for in one transaction. Every commit empties
// a reader's page cache, so a transaction of its own for each aggregate would
// read the upper pages of every tree again and again: together they cost half.
//
// One of the callers reads for all who wait, then hands over to one of those who
// came meanwhile.
type loads struct {
	mu      sync.Mutex
	leading bool
	waiting []*loading
}

// join queues a load and says whether the caller is to read at once.
func (l *loads) join(wanted *loading) (lead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, wanted)
	lead, l.leading = !l.leading, true
	return lead
}

// take returns those to be read next.
func (l *loads) take() []*loading {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), batchLoads)
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return batch
}

// handOver lets one of those who wait read next, if there is one.
func (l *loads) handOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.leading, l.waiting = false, nil
		return
	}
	close(l.waiting[0].lead)
}

// Load returns an aggregate's state; see eventstore.Streams.
func (s *Store) Load(ctx context.Context, key book.Key, snapshots bool) (eventstore.Info, []eventstore.Event, error) {
	info, events, err := s.load(ctx, key, snapshots)
	if err != nil {
		return eventstore.Info{}, nil, fmt.Errorf("load %s: %w", key, err)
	}
	return info, events, nil
}

func (s *Store) load(ctx context.Context, key book.Key, snapshots bool) (eventstore.Info, []eventstore.Event, error) {
	if err := ctx.Err(); err != nil {
		return eventstore.Info{}, nil, err
	}
	wanted := &loading{key: key, snapshots: snapshots, lead: make(chan struct{}), done: make(chan struct{})}
	if s.loads.join(wanted) {
		s.loadWaiting(ctx)
	}
	select {
	case <-wanted.done:
	case <-wanted.lead:
		s.loadWaiting(ctx)
		<-wanted.done
	}
	if wanted.long {
		wanted.err = s.inTransaction(ctx, func(ctx context.Context, c *conn) error { return s.readOne(ctx, c, wanted, math.MaxUint32) })
	}
	return wanted.info, wanted.events, wanted.err
}

// loadWaiting reads everything that is waited for. The context only carries
// values: the others are not to suffer when the caller gives up.
func (s *Store) loadWaiting(ctx context.Context) {
	// The callers answered by the last commit are about to ask as well.
	runtime.Gosched()
	batch := s.loads.take()
	err := s.inTransaction(context.WithoutCancel(ctx), func(ctx context.Context, c *conn) error {
		for _, wanted := range batch {
			if err := s.readOne(ctx, c, wanted, longLoad); err != nil {
				return err
			}
		}
		return nil
	})
	for _, wanted := range batch {
		wanted.err = err
		close(wanted.done)
	}
	s.loads.handOver()
}

// inTransaction lends a connection with an open transaction.
func (s *Store) inTransaction(ctx context.Context, work func(context.Context, *conn) error) error {
	return s.read(ctx, func(ctx context.Context, c *conn) (err error) {
		if _, err := c.exec(ctx, `BEGIN`); err != nil {
			return err
		}
		defer func() {
			_, ended := c.exec(ctx, `COMMIT`)
			err = errors.Join(err, ended)
		}()
		return work(ctx, c)
	})
}

// readOne reads one aggregate unless it has too many events.
func (s *Store) readOne(ctx context.Context, c *conn, wanted *loading, most uint32) error {
	generation := s.hints.generation.Load()
	info, stream, err := infoOf(ctx, c, wanted.key)
	if err != nil {
		return err
	}
	wanted.info, wanted.events = info, nil
	if stream != 0 {
		s.hints.put(&hint{key: wanted.key, id: stream, name: info.Name, next: info.Next, generation: generation})
	}
	first := uint32(0)
	if wanted.snapshots && info.Snapshot != nil {
		first = info.Snapshot.Sequence + 1
	}
	if first >= info.Next {
		return nil
	}
	if wanted.long = info.Next-first > most; wanted.long {
		return nil
	}
	return c.query(ctx, selectPart, collectPart(wanted, &wanted.events), stream, int64(first))
}

const selectPart = `SELECT e.position, e.seq, e.type_url, e.payload, e.created_at, e.command_id, e.correlation_id, e.causation, e.part, e.parts, e.trace
	FROM events e WHERE e.stream = ? AND e.seq >= ? ORDER BY e.seq`

// collectPart returns a function that adds rows of selectPart to events.
func collectPart(of *loading, events *[]eventstore.Event) func([]driver.Value) error {
	return func(row []driver.Value) error {
		*events = append(*events, eventstore.Event{
			Position: uint64(integer(row[0])), Key: of.key, Name: of.info.Name, Sequence: uint32(integer(row[1])),
			TypeURL: text(row[2]), Payload: blob(row[3]), CreatedAt: moment(row[4]),
			CommandID: id(row[5]), CorrelationID: text(row[6]), Causation: text(row[7]),
			Offset: int(integer(row[8])), Count: int(integer(row[9])), Trace: text(row[10]),
		})
		return nil
	}
}

// hint is what a reader has just seen of an aggregate. Whoever loads one is about
// to append to it, and the writer need not look it up again. It may be old: then
// the aggregate has the event already that the append wants to add, and the
// unique key refuses it.
type hint struct {
	key        book.Key
	id         int64
	next       uint32
	name       string
	generation uint64
}

// hints keeps the newest of them, each in one place of its own.
type hints struct {
	seed       maphash.Seed
	places     [4096]atomic.Pointer[hint]
	generation atomic.Uint64 // of the file; hints of an older one count no more
}

func (h *hints) place(key book.Key) *atomic.Pointer[hint] {
	return &h.places[maphash.Comparable(h.seed, key)%uint64(len(h.places))]
}

func (h *hints) put(seen *hint) { h.place(seen.key).Store(seen) }

// get returns what a reader saw of an aggregate; nil for nothing.
func (h *hints) get(key book.Key) *hint {
	found := h.place(key).Load()
	if found == nil || found.key != key || found.generation != h.generation.Load() {
		return nil
	}
	return found
}

// forget makes all hints invalid.
func (h *hints) forget() { h.generation.Add(1) }
