package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// Bounds of the writer. The queue is what a burst may leave waiting before
// callers are told to come back later; the batch is what one statement carries,
// so that the first one in it does not wait long for the others.
const (
	queueLength   = 4096
	batchRequests = 512
	batchBytes    = 1 << 20
	// yields is how often the writer steps back for callers before it sends.
	yields = 4
	// longestDomain keeps the keys of the indexes within what a page of them holds.
	longestDomain = 1024
	// outage is how long a batch whose fate is unknown is sent again before its
	// callers are told that the database is away.
	outage = 3 * time.Second
)

// request is one append that waits for its commit.
type request struct {
	eventstore.Append
	bytes    int
	resent   bool // its fate is unknown: look for its id
	answered eventstore.Appended
	err      error
	done     chan struct{}
}

// looked says that the database is to look whether the command is known.
func (r *request) looked() bool { return r.Repeatable || r.resent }

// writer is the one goroutine of this process that appends. While a statement is
// on its way the next batch gathers, so batches grow with the load and no timer
// is needed.
type writer struct {
	store     *Store
	queue     chan *request
	batch     []*request
	later     []*request // of an aggregate or a command that the batch has already
	conn      *pgx.Conn  // nil when there is none
	named     named
	arguments arguments
	ended     chan struct{} // closed when everything accepted is answered

	closing sync.RWMutex // held for reading while a request is being queued
	closed  bool
}

func newWriter(s *Store) *writer {
	return &writer{store: s, queue: make(chan *request, queueLength), ended: make(chan struct{})}
}

// Append stores the events of one command; see eventstore.Writer.
func (s *Store) Append(ctx context.Context, wanted eventstore.Append) (eventstore.Appended, error) {
	if err := checkAppend(&wanted); err != nil {
		return eventstore.Appended{}, fmt.Errorf("append to %s: %w", wanted.Key, err)
	}
	if err := ctx.Err(); err != nil {
		return eventstore.Appended{}, fmt.Errorf("append to %s: %w", wanted.Key, err)
	}
	r := &request{Append: wanted, bytes: wanted.Bytes(), done: make(chan struct{})}
	if err := s.writer.enqueue(r); err != nil {
		return eventstore.Appended{}, fmt.Errorf("append to %s: %w", wanted.Key, err)
	}
	<-r.done
	if conflict := (*eventstore.Conflict)(nil); errors.As(r.err, &conflict) {
		return eventstore.Appended{}, conflict
	}
	if r.err != nil {
		return eventstore.Appended{}, fmt.Errorf("append to %s: %w", wanted.Key, r.err)
	}
	if r.answered.Duplicate {
		return s.repeated(ctx, r)
	}
	return r.answered, nil
}

// repeated completes the answer to a command that has been stored before.
func (s *Store) repeated(ctx context.Context, r *request) (eventstore.Appended, error) {
	stored, err := s.ByCommand(context.WithoutCancel(ctx), r.CommandID)
	if err != nil {
		return eventstore.Appended{}, err
	}
	if len(stored) > 0 && stored[0].Key != r.Key {
		return eventstore.Appended{}, fmt.Errorf("append to %s: command id %s belongs to a command for %s", r.Key, r.CommandID, stored[0].Key)
	}
	r.answered.Events = stored
	return r.answered, nil
}

// checkAppend refuses what no state of the log could make right.
func checkAppend(wanted *eventstore.Append) error {
	if err := wanted.Check(); err != nil {
		return err
	}
	if len(wanted.Key.Domain) > longestDomain {
		return fmt.Errorf("the domain's name has %d bytes, more than %d", len(wanted.Key.Domain), longestDomain)
	}
	texts := []string{wanted.Key.Domain, wanted.Name, wanted.CorrelationID, wanted.Causation, wanted.Trace}
	for i := range wanted.Events {
		texts = append(texts, wanted.Events[i].TypeURL)
	}
	if wanted.Snapshot != nil {
		texts = append(texts, wanted.Snapshot.TypeURL)
	}
	return checkTexts(texts...)
}

// checkTexts refuses what PostgreSQL cannot hold in a text.
func checkTexts(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("the text %q is not UTF-8, which PostgreSQL cannot store", text)
		}
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("the text %q has a zero byte, which PostgreSQL cannot store", text)
		}
	}
	return nil
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

// run appends until stop. The context ends what hangs.
func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	for w.gather(ctx) {
		w.process(ctx)
		for _, r := range w.batch {
			close(r.done)
		}
	}
	if w.conn != nil {
		closeConn(ctx, w.conn)
	}
}

// gather takes everything that waits, up to the bounds of a batch and at most one
// request for an aggregate, so that all of them can be decided at once. It returns
// false when nothing will come any more.
func (w *writer) gather(ctx context.Context) bool {
	answered := len(w.batch)
	clear(w.batch)
	w.batch = w.batch[:0]
	waiting := w.later
	w.later = nil
	taken := taken{}
	bytes := 0
	for _, r := range waiting {
		bytes += w.place(r, taken)
	}
	if len(w.batch) == 0 {
		first, open := <-w.queue
		if !open {
			return false
		}
		bytes += w.place(first, taken)
	}
	// The callers just answered are about to bring their next commands: they get
	// the processor for as long as that makes the batch larger.
	for range yields {
		runtime.Gosched()
		had := len(w.batch)
		bytes = w.drain(taken, bytes)
		if len(w.batch) == had {
			break
		}
	}
	if len(w.batch) < answered && bytes < batchBytes && w.conn != nil {
		w.stepAside(ctx)
		w.drain(taken, bytes)
	}
	return true
}

// stepAside waits until those who wait for the log's lock now have had it. The
// writer does so when fewer requests have come than it has just answered, since
// most of the callers are on their way back: one statement with all of them costs
// less than one now and one for the rest, and another process holds the lock as
// often as not. There is no timer, as what it would have to be set to depends on
// the disk. The lock is not held for longer than the statement.
func (w *writer) stepAside(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	if _, err := w.conn.Exec(bounded, stepAsideSQL); err != nil {
		w.dropConn(ctx) // nothing has been sent: the batch goes by a new one
	}
}

// drain takes what waits in the queue and returns the size of the batch with it.
func (w *writer) drain(has taken, bytes int) int {
	for len(w.batch) < batchRequests && bytes < batchBytes && len(w.later) < batchRequests {
		select {
		case next, open := <-w.queue:
			if !open {
				return bytes
			}
			bytes += w.place(next, has)
		default:
			return bytes
		}
	}
	return bytes
}

// taken are the aggregates and commands that a batch has.
type taken map[any]struct{}

// place puts a request into the batch, or after it, and returns its size there.
func (w *writer) place(r *request, has taken) int {
	_, sameKey := has[r.Key]
	_, sameID := has[r.CommandID]
	if sameKey || sameID || len(w.batch) == batchRequests {
		has[r.Key] = struct{}{} // those behind it must not overtake it
		w.later = append(w.later, r)
		return 0
	}
	has[r.Key], has[r.CommandID] = struct{}{}, struct{}{}
	w.batch = append(w.batch, r)
	return r.bytes
}

// process stores a batch and answers each request in it.
func (w *writer) process(ctx context.Context) {
	err := w.persist(ctx, w.batch)
	if isRefused(err) && len(w.batch) > 1 {
		// A key that had to be free was taken, since a command came again that was
		// announced as new, or one of them cannot be stored. Alone and with a closer
		// look each one finds out.
		for i := range w.batch {
			w.batch[i].resent = true
			w.fail(w.batch[i:i+1], w.persist(ctx, w.batch[i:i+1]))
		}
		return
	}
	w.fail(w.batch, err)
}

func (w *writer) fail(batch []*request, err error) {
	if err == nil {
		return
	}
	// No caller's time limit is part of this.
	failure := away(err)
	if isRefused(err) && !isUnique(err) {
		failure = fmt.Errorf("PostgreSQL refuses it: %w", err)
	}
	for _, r := range batch {
		r.err = failure
	}
	w.store.options.Metrics.Committed(0, 0, 0, err)
}

// count tells how much a statement stored and how long that took.
func (w *writer) count(batch []*request, outcomes []outcome, took time.Duration) {
	commands, events := 0, 0
	for i, r := range batch {
		if outcomes[i].status == stored {
			commands, events = commands+1, events+len(r.Events)
		}
	}
	if commands > 0 {
		w.store.options.Metrics.Committed(commands, events, took, nil)
	}
}

// persist stores requests. While nobody can tell what became of them they are
// sent again, on a new connection: their ids decide.
func (w *writer) persist(ctx context.Context, batch []*request) error {
	began := time.Now()
	delays := backoff.ExponentialBackOff{InitialInterval: 10 * time.Millisecond, MaxInterval: 500 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.3}
	// Only what has never been sent is given back at once when the database is away.
	// Later on that it has been lost says nothing of what became of the batch.
	knownAway := w.conn == nil && !w.up()
	for {
		err := w.send(ctx, batch)
		if err == nil {
			return nil
		}
		if lone := len(batch) == 1 && !batch[0].resent; lone && isUnique(err) {
			batch[0].resent = true
			continue
		}
		if !isConnection(err) && !isLost(err) || ctx.Err() != nil {
			return err
		}
		w.dropConn(ctx)
		for _, r := range batch {
			r.resent = true
		}
		if knownAway || time.Since(began) > outage {
			w.store.health.set(false)
			return err
		}
		timer := time.NewTimer(delays.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func (w *writer) up() bool {
	up, _ := w.store.health.get()
	return up
}

func (w *writer) dropConn(ctx context.Context) {
	if w.conn != nil {
		closeConn(ctx, w.conn)
		w.conn = nil
	}
}

// send makes one call of the append function and answers the requests.
func (w *writer) send(ctx context.Context, batch []*request) error {
	if w.conn == nil || w.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(ctx, connectWithin)
		defer cancel()
		conn, err := w.store.connect(ctx)
		if err != nil {
			return err
		}
		if err := prepareAppend(ctx, conn); err != nil {
			closeConn(ctx, conn)
			return err
		}
		w.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second) // beyond the server's own limits
	defer cancel()
	sent := time.Now()
	w.arguments.set(batch, w.newName)
	outcomes, err := call(ctx, w.conn, batch, &w.arguments)
	if err != nil {
		return err
	}
	w.publish(batch, outcomes)
	w.count(batch, outcomes, time.Since(sent))
	return nil
}

// publish answers the requests and makes known what has become durable.
func (w *writer) publish(batch []*request, outcomes []outcome) {
	var events []eventstore.Event
	complete := true
	head := int64(0)
	for i, r := range batch {
		o := outcomes[i]
		switch o.status {
		case conflicting:
			r.err = &eventstore.Conflict{Key: r.Key, Want: r.Next, Next: uint32(o.next)}
		case known:
			r.answered = eventstore.Appended{Next: uint32(o.next), Last: uint64(o.last), Duplicate: true}
		default:
			r.answered = eventstore.Appended{Next: uint32(o.next), Last: uint64(o.last)}
			head = max(head, o.last)
			if w.named.isFirst(r) {
				w.store.recent.Rename(r.Key, r.Name)
			}
			name, sure := w.named.settle(r)
			complete = complete && sure
			if complete {
				events = appendStored(events, r, uint64(o.last), name)
			}
		}
	}
	if head == 0 {
		return
	}
	if !complete || !w.store.recent.Join(events) {
		w.store.recent.Reach(uint64(head))
	}
	w.store.news.grown(uint64(head))
}

// appendStored adds a request's events as the log has them now.
func appendStored(events []eventstore.Event, r *request, last uint64, name string) []eventstore.Event {
	first := last + 1 - uint64(len(r.Events))
	for i := range r.Events {
		event := &r.Events[i]
		events = append(events, eventstore.Event{
			Position: first + uint64(i), Key: r.Key, Name: name, Sequence: r.Next + uint32(i),
			TypeURL: event.TypeURL, Payload: event.Payload, CreatedAt: time.Unix(0, eventstore.Nanos(event.CreatedAt)).UTC(),
			CommandID: r.CommandID, CorrelationID: r.CorrelationID, Causation: r.Causation, Trace: r.Trace,
			Offset: i, Count: len(r.Events),
		})
	}
	return events
}

// named remembers the names of the aggregates used last, so that events can be
// given to those who follow the log without a look at the database. Whoever loads
// an aggregate, which comes before every append to it, makes its name known.
type named struct {
	mu         sync.Mutex
	young, old map[book.Key]string
}

const namedAggregates = 8192

func (n *named) get(key book.Key) (name string, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, known = n.young[key]; !known {
		name, known = n.old[key]
	}
	return name, known
}

func (n *named) put(key book.Key, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.young) >= namedAggregates {
		n.old, n.young = n.young, nil
	}
	if n.young == nil {
		n.young = map[book.Key]string{}
	}
	n.young[key] = name
}

// settle returns the aggregate's name after a request, and whether that is known
// here.
func (n *named) settle(r *request) (name string, sure bool) {
	name, sure = n.get(r.Key)
	switch {
	case !sure && r.Next > 0:
		return "", false
	case name == "":
		name = r.Name
	}
	n.put(r.Key, name)
	return name, true
}

// isFirst reports whether a request gave an aggregate that had events its name.
func (n *named) isFirst(r *request) bool {
	name, known := n.get(r.Key)
	return r.Next > 0 && r.Name != "" && known && name == ""
}

// newName returns the name that a request gives its aggregate, nothing if it is
// known to have one.
func (w *writer) newName(r *request) string {
	if name, _ := w.named.get(r.Key); name != "" {
		return ""
	}
	return r.Name
}

// SaveSnapshot keeps a snapshot; see eventstore.Writer.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot eventstore.Snapshot) error {
	err := checkTexts(snapshot.TypeURL)
	if err == nil {
		err = s.saveSnapshot(ctx, &snapshot)
	}
	if err != nil {
		return fmt.Errorf("save the snapshot of %s: %w", snapshot.Key, err)
	}
	return nil
}

func (s *Store) saveSnapshot(ctx context.Context, snapshot *eventstore.Snapshot) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	var next int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce((SELECT seq + 1 FROM angz_events WHERE domain = $1 AND root = $2 ORDER BY seq DESC LIMIT 1), 0)`,
		snapshot.Key.Domain, pgtype.UUID{Bytes: snapshot.Key.Root, Valid: true}).Scan(&next)
	if err != nil {
		return unavailable(err)
	}
	if int64(snapshot.Sequence) >= next {
		return fmt.Errorf("it contains event %d, the aggregate has only %d", snapshot.Sequence, next)
	}
	_, err = s.pool.Exec(ctx, `INSERT INTO angz_snapshots AS s (domain, root, seq, type_url, state, checksum) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain, root) DO UPDATE
			SET seq = excluded.seq, type_url = excluded.type_url, state = excluded.state, checksum = excluded.checksum
			WHERE excluded.seq >= s.seq`,
		snapshot.Key.Domain, pgtype.UUID{Bytes: snapshot.Key.Root, Valid: true}, int64(snapshot.Sequence), snapshot.TypeURL,
		bytesOrNull(snapshot.State), snapshot.Checksum())
	return unavailable(err)
}

// bytesOrNull keeps nothing as NULL.
func bytesOrNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
