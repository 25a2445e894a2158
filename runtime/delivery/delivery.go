// Package delivery brings the events of the log to one component, a projector or
// a saga: at least once, in order for each aggregate, different aggregates side
// by side, from a durable position, with retries, and with dead letters for what
// cannot be handled. DESIGN.md beside this file states the invariant.
package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/follow"
)

// Handle gives one book of consecutive events to the component and returns what
// it made of them. It may be called again with the same events. Calls for one
// aggregate never overlap.
type Handle[R any] func(ctx context.Context, events *pb.EventBook) (R, error)

// Store is the part of an event store that a consumer needs.
type Store interface {
	eventstore.Streams
	eventstore.Log
	eventstore.Subscriptions
	eventstore.Parking
}

// Options describe one consumer. Zero values mean the defaults given.
type Options[R any] struct {
	Name    string   // of the durable subscription, such as "projector/receipt"
	Domains []string // whose events it wants; none means all but "_…" domains
	Handle  Handle[R]
	Store   Store
	Bus     bus.Subscriber
	// Query fills the gap before a book that was handed over directly.
	Query pb.EventQueryClient
	// Redo says that a book handed over directly a second time, whose result is
	// forgotten, is to be handled again rather than dropped.
	Redo bool
	// Retryable says that an error may pass; nil means none does.
	Retryable func(error) bool
	// Absent says that an error means "nobody is there", which says nothing
	// about the events: such calls are repeated without limit.
	Absent func(error) bool

	Attempts   int           // before an event is parked; 6
	FirstDelay time.Duration // before the second attempt; 50 ms
	MaxDelay   time.Duration // between attempts; 10 s
	Parallel   int           // aggregates handled at once; 32
	InFlight   int           // books taken but not done; 1,024
	Checkpoint time.Duration // longest time between done and recorded; 100 ms
	Grace      time.Duration // for calls under way when Run's context ends; 5 s
	Logger     *slog.Logger
}

func (o *Options[R]) setDefaults() {
	o.Attempts = positive(o.Attempts, 6)
	o.FirstDelay = positive(o.FirstDelay, 50*time.Millisecond)
	o.MaxDelay = positive(o.MaxDelay, 10*time.Second)
	o.Parallel = positive(o.Parallel, 32)
	o.InFlight = positive(o.InFlight, 1024)
	o.Checkpoint = positive(o.Checkpoint, 100*time.Millisecond)
	o.Grace = positive(o.Grace, 5*time.Second)
	if o.Retryable == nil {
		o.Retryable = func(error) bool { return false }
	}
	if o.Absent == nil {
		o.Absent = func(error) bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func positive[T int | time.Duration](value, otherwise T) T {
	if value > 0 {
		return value
	}
	return otherwise
}

// remembered is how many aggregates a consumer knows the newest result of. It
// only has to outlast the time between an append and the synchronous hand-over
// that follows it.
const remembered = 4096

// Consumer delivers to one component. Run takes from the log and the bus;
// Deliver takes from a caller. Both may be used at once.
type Consumer[R any] struct {
	options Options[R]
	running *semaphore.Weighted // one place for each call under way
	results *otter.Cache[book.Key, result[R]]

	work    sync.WaitGroup     // lanes
	started chan struct{}      // closed when Deliver may begin
	working context.Context    // of calls to the component; outlives Run's by Grace
	cancel  context.CancelFunc // ends working

	mu       sync.Mutex // guards the rest; never held across a call or a read
	received uint64     // every event up to here is in a lane, done or not wanted
	lanes    map[book.Key]*lane[R]
	blocked  map[book.Key]poison
	left     map[book.Key][]left // of events still to come from the log, in order
	stopping bool
	progress progress
}

// result is the newest thing known about an aggregate.
type result[R any] struct {
	next  uint32 // everything below is handled
	value R      // what the component made of the events before next
}

// New returns a consumer that has not started. Run starts it.
func New[R any](options Options[R]) *Consumer[R] {
	options.setDefaults()
	return &Consumer[R]{
		options: options,
		running: semaphore.NewWeighted(int64(options.Parallel)),
		results: otter.Must(&otter.Options[book.Key, result[R]]{MaximumSize: remembered}),
		started: make(chan struct{}),
		lanes:   map[book.Key]*lane[R]{},
		blocked: map[book.Key]poison{},
		left:    map[book.Key][]left{},
	}
}

// Wants reports whether the component takes events of the domain.
func (c *Consumer[R]) Wants(domain string) bool { return Wants(c.options.Domains, domain) }

// Wants reports whether a component that names these domains takes events of
// the given one. Domains that begin with "_" are taken only if named.
func Wants(domains []string, domain string) bool {
	if len(domains) == 0 {
		return !strings.HasPrefix(domain, "_")
	}
	return slices.Contains(domains, domain)
}

// Run delivers until the context ends, lets the calls under way finish within
// the grace period, records how far it came, and returns nil. It returns an
// error when the log cannot be read or somebody else took over the
// subscription. It may be called once.
func (c *Consumer[R]) Run(ctx context.Context) error {
	claim, err := c.begin(ctx)
	if err != nil {
		return c.notStarted(ctx, err)
	}
	subscription, err := c.options.Bus.Subscribe(ctx, c.options.Name)
	if err != nil {
		return c.notStarted(ctx, err)
	}
	defer subscription.Close()

	ctx, stop := context.WithCancelCause(ctx)
	recorder := &recorder{store: c.options.Store, claim: claim, every: c.options.Checkpoint, ack: subscription.Ack}
	recorded := make(chan error, 1)
	go func() {
		err := recorder.run(ctx, &c.progress)
		stop(err)
		recorded <- err
	}()
	close(c.started)

	err = follow.Follow(ctx, subscription, c.options.Store, claim.Position, c.options.Logger, c.take)
	c.drain()
	c.progress.finish()
	if failed := <-recorded; failed != nil {
		return fmt.Errorf("record the position of %s: %w", c.options.Name, failed)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// notStarted tells why Run ends before it has begun: nothing is wrong when it was
// stopped so early.
func (c *Consumer[R]) notStarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("start %s: %w", c.options.Name, err)
}

// begin takes over the subscription and learns what is parked.
func (c *Consumer[R]) begin(ctx context.Context) (eventstore.Claim, error) {
	claim, err := c.options.Store.Claim(ctx, c.options.Name)
	if err != nil {
		return claim, err
	}
	blocked, err := c.options.Store.Blocked(ctx, c.options.Name)
	if err != nil {
		return claim, err
	}
	for _, key := range blocked {
		c.blocked[key] = poison{}
	}
	c.received = claim.Position
	c.progress.begin(claim.Position, c.options.InFlight)
	c.working, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return claim, nil
}

// drain lets the calls under way finish and gives up the waiting ones.
func (c *Consumer[R]) drain() {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	timer := time.AfterFunc(c.options.Grace, c.cancel)
	c.work.Wait()
	timer.Stop()
	c.cancel()
}
