package sqlite

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// Bounds of the writer. The queue is what a burst may leave waiting before
// callers are told to come back later; the batch is what one commit carries, so
// that the first one in it does not wait long for the others.
const (
	queueLength   = 4096
	batchRequests = 512
	batchBytes    = 1 << 20
)

// request is one change that waits for its commit.
type request struct {
	bytes int
	// apply makes the change in an open transaction. It may be called a second
	// time after a rollback. What it returns is the caller's answer; it must
	// have changed nothing then, except for an error of the engine, which rolls
	// the whole transaction back.
	apply  func(context.Context, *transaction) error
	answer error
	done   chan struct{}
}

// writer is the one goroutine that changes the store. While a commit is on its
// way to the disk the next batch gathers, so batches grow with the load and no
// timer is needed.
type writer struct {
	conns       *pool // of one
	recent      *eventstore.Recent
	checkpoints *checkpointer // nil in memory
	metrics     *observe.Metrics
	queue       chan *request
	batch       []*request

	closing sync.RWMutex // held for reading while a request is being queued
	closed  bool

	// Below is what the goroutine knows of the database; after an error it is
	// stale and read again.
	stale   bool
	head    uint64 // position of the newest event
	streams int64  // the highest id of an aggregate
	known   known
	hints   *hints // of readers
}

func newWriter(conns *pool) *writer {
	return &writer{conns: conns, queue: make(chan *request, queueLength)}
}

// submit queues a change and waits until it is durable. The context counts only
// until the change has been accepted.
func (w *writer) submit(ctx context.Context, bytes int, apply func(context.Context, *transaction) error) error {
	wait, err := w.hand(ctx, bytes, apply)
	if err != nil {
		return err
	}
	return wait()
}

// hand queues a change and returns what waits until it is durable. Changes are
// made in the order in which they are queued.
func (w *writer) hand(ctx context.Context, bytes int, apply func(context.Context, *transaction) error) (wait func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &request{bytes: bytes, apply: apply, done: make(chan struct{})}
	if err := w.enqueue(r); err != nil {
		return nil, err
	}
	return func() error {
		<-r.done
		return r.answer
	}, nil
}

func (w *writer) enqueue(r *request) error {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return eventstore.ErrClosed
	}
	select {
	case w.queue <- r:
		return nil
	default:
		return eventstore.ErrOverloaded
	}
}

// stop lets the goroutine end after what it has accepted.
func (w *writer) stop() {
	w.closing.Lock()
	defer w.closing.Unlock()
	w.closed = true
	close(w.queue)
}

// run works until stop. The context only carries values.
func (w *writer) run(ctx context.Context) {
	if w.checkpoints != nil {
		defer w.checkpoints.stop()
	}
	for first := range w.queue {
		// The callers just answered are about to bring their next commands. Letting
		// them go first makes batches larger: 15 % less CPU with 64 callers.
		runtime.Gosched()
		w.gather(first)
		w.process(ctx, w.batch)
		for _, r := range w.batch {
			close(r.done)
		}
		clear(w.batch)
	}
}

// gather takes everything that waits, up to the bounds of a batch.
func (w *writer) gather(first *request) {
	w.batch = append(w.batch[:0], first)
	for size := first.bytes; len(w.batch) < batchRequests && size < batchBytes; {
		select {
		case next, open := <-w.queue:
			if !open {
				return
			}
			w.batch = append(w.batch, next)
			size += next.bytes
		default:
			return
		}
	}
}

// process commits a batch and answers each request in it.
func (w *writer) process(ctx context.Context, batch []*request) {
	err := w.commit(ctx, batch, false)
	if isConstraint(err) {
		// A key that had to be free was taken: a command came again that was
		// announced as new, or somebody else wrote the file. Alone and with a
		// closer look each request finds out for itself.
		for i, r := range batch {
			if err := w.commit(ctx, batch[i:i+1], true); err != nil {
				r.answer = err
			}
		}
		return
	}
	if err != nil {
		for _, r := range batch {
			r.answer = err
		}
	}
}

// commit runs one transaction. An error means that nothing of it was stored, or
// that nobody can tell whether it was; the requests' ids decide that when they
// come again.
func (w *writer) commit(ctx context.Context, batch []*request, careful bool) error {
	c, err := w.conns.get(ctx)
	if err != nil {
		return err
	}
	if err := w.ready(ctx, c); err != nil {
		w.conns.put(c, err)
		return err
	}
	t, start := &transaction{conn: c, writer: w, careful: careful, head: w.head}, time.Now()
	if err := t.run(ctx, batch); err != nil {
		w.metrics.Committed(0, 0, 0, err)
		// In memory this ends the transaction; a file's connection is given up,
		// because after a failed sync it may believe in pages that the disk
		// does not have.
		_ = c.once(ctx, `ROLLBACK`)
		w.stale = true
		w.conns.put(c, err)
		w.refresh(ctx)
		return err
	}
	w.conns.put(c, nil)
	w.publish(t)
	if commands := t.commands(); commands > 0 {
		w.metrics.Committed(commands, len(t.events), time.Since(start), nil)
	}
	return nil
}

// ready prepares for a transaction what an earlier one left undone.
func (w *writer) ready(ctx context.Context, c *conn) error {
	if w.stale {
		if err := w.reload(ctx, c); err != nil {
			return err
		}
	}
	if w.checkpoints == nil {
		return nil
	}
	return w.checkpoints.makeRoom(ctx, c)
}

// refresh tries to learn at once what became of a failed commit, since its
// events may be in the log after all. If it cannot, the next commit does.
func (w *writer) refresh(ctx context.Context) {
	c, err := w.conns.get(ctx)
	if err != nil {
		return
	}
	w.conns.put(c, w.reload(ctx, c))
}

// reload reads where the log ends and forgets everything else.
func (w *writer) reload(ctx context.Context, c *conn) error {
	w.known.forget()
	w.hints.forget()
	head, err := c.number(ctx, `SELECT max(position) FROM events`)
	if err != nil {
		return err
	}
	if w.streams, err = c.number(ctx, `SELECT max(id) FROM streams`); err != nil {
		return err
	}
	w.head, w.stale = uint64(head), false
	w.recent.Reset(w.head)
	return nil
}

// publish makes known what has become durable.
func (w *writer) publish(t *transaction) {
	w.head = t.head
	for _, renamed := range t.renamed {
		w.recent.Rename(renamed.Key, renamed.Name)
	}
	w.recent.Add(t.events)
	if w.checkpoints != nil {
		w.checkpoints.wrote(t.pages())
	}
}

// transaction is one batch on its way into the database.
type transaction struct {
	conn    *conn
	writer  *writer
	careful bool   // look for every command id, whatever the caller said
	head    uint64 // position of the newest event, with those of this transaction
	events  []eventstore.Event
	renamed []eventstore.Root // aggregates that had no name until now
	bytes   int
}

func (t *transaction) run(ctx context.Context, batch []*request) error {
	if _, err := t.conn.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	for _, r := range batch {
		r.answer = r.apply(ctx, t)
		if errors.Is(r.answer, eventstore.ErrUnavailable) {
			return r.answer
		}
		t.bytes += r.bytes
	}
	if err := t.count(ctx); err != nil {
		return err
	}
	_, err := t.conn.exec(ctx, `COMMIT`)
	return err
}

// count adds what the transaction stores to what is known of the domains.
func (t *transaction) count(ctx context.Context) error {
	var domains []eventstore.Domain // of one transaction there are few
	for i := range t.events {
		event := &t.events[i]
		at := slices.IndexFunc(domains, func(d eventstore.Domain) bool { return d.Name == event.Key.Domain })
		if at < 0 {
			at, domains = len(domains), append(domains, eventstore.Domain{Name: event.Key.Domain})
		}
		if domains[at].Events++; event.Sequence == 0 {
			domains[at].Aggregates++
		}
		domains[at].Position = event.Position
	}
	for _, d := range domains {
		if _, err := t.conn.exec(ctx, addToDomain, d.Name, int64(d.Aggregates), int64(d.Events), int64(d.Position)); err != nil {
			return err
		}
	}
	return nil
}

// commands returns how many commands stored something.
func (t *transaction) commands() (count int) {
	for i := range t.events {
		if t.events[i].Offset == 0 {
			count++
		}
	}
	return count
}

// pages estimates how many pages the transaction added to the write-ahead log:
// the payloads, the trees' edges that every commit touches, and a random page
// or two for each event.
func (t *transaction) pages() int { return 6 + 2*len(t.events) + t.bytes/4096 }
