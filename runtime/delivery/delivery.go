// Package delivery brings the events of the log to one component, a projector or
// a saga: at least once, in order for each aggregate, different aggregates side
// by side, from a durable position, with retries, and with dead letters for what
// cannot be handled. DESIGN.md beside this file states the invariant.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
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

	// Reset has the component clear away what it has made, because all events come
	// again; nil when it cannot. Errors that Retryable or Absent know are repeated.
	Reset func(ctx context.Context) error

	// Aside is the name under which Handle leaves dead letters with a *Park, if
	// those that somebody wants retried are to be handled again; see Anew.
	Aside string

	// Slices is into how many slices the subscription is divided: as many
	// instances at most share the work; 1.
	Slices int
	// Lease is how long an instance that is not heard of keeps its slices; 15 s.
	Lease time.Duration
	// Address is where other instances reach this one, empty if they cannot.
	Address string
	// Forward hands a book to the instance at an address and returns its answer;
	// nil when there are no others. ErrElsewhere says that it is not there.
	Forward func(ctx context.Context, address string, events *pb.EventBook) (R, error)

	Attempts   int           // before an event is parked; 6
	FirstDelay time.Duration // before the second attempt; 50 ms
	MaxDelay   time.Duration // between attempts; 10 s
	Parallel   int           // aggregates handled at once; 32
	InFlight   int           // books taken but not done; 1,024
	Checkpoint time.Duration // longest time between done and recorded; 100 ms
	Grace      time.Duration // for calls under way when Run's context ends; 5 s
	Logger     *slog.Logger
	Metrics    *observe.Metrics
	Observer   observe.Observer // is told of every book; nil for nobody
}

func (o *Options[R]) setDefaults() {
	o.Slices = positive(o.Slices, 1)
	o.Lease = positive(o.Lease, 15*time.Second)
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
	metrics *observe.ComponentMetrics
	member  uuid.UUID           // this instance among those that share the subscription
	running *semaphore.Weighted // one place for each call under way
	room    chan struct{}       // holds one token for each book of the log in flight
	results *otter.Cache[book.Key, result[R]]

	work    sync.WaitGroup     // lanes
	started chan struct{}      // closed when Deliver may begin
	working context.Context    // of calls to the component; outlives Run's by Grace
	cancel  context.CancelFunc // ends working
	nudged  chan struct{}      // holds a token when the share is to be looked at now
	decided chan struct{}      // holds a token when people's decisions are to be looked at now
	dirty   chan struct{}      // holds a token when something is to be recorded
	writing sync.Mutex         // held while positions are recorded

	mu       sync.Mutex // guards the rest; never held across a call or a read
	held     map[int]*slice
	share    []eventstore.Slice // who holds what, as of the newest Share
	changed  chan struct{}      // closed when held, share or the lease changes
	until    time.Time          // when the lease runs out, by this process's clock
	seen     uint64             // the follower has passed everything up to here
	stale    bool               // the follower has to begin again
	refollow context.CancelFunc // makes it
	lanes    map[book.Key]*lane[R]
	blocked  map[book.Key]*poison
	asides   map[uint64]*aside   // under Options.Aside, by position, that are being retried
	left     map[book.Key][]left // of events still to come from the log, in order
	stopping bool
	paused   bool    // by somebody, as of the newest Share
	note     string  // who paused it and why
	rewind   *rewind // that is being done here; nil for none
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
		metrics: options.Metrics.Component(options.Name),
		member:  uuid.New(),
		running: semaphore.NewWeighted(int64(options.Parallel)),
		room:    make(chan struct{}, options.InFlight),
		results: otter.Must(&otter.Options[book.Key, result[R]]{MaximumSize: remembered}),
		started: make(chan struct{}),
		nudged:  make(chan struct{}, 1),
		decided: make(chan struct{}, 1),
		dirty:   make(chan struct{}, 1),
		held:    map[int]*slice{},
		changed: make(chan struct{}),
		lanes:   map[book.Key]*lane[R]{},
		blocked: map[book.Key]*poison{},
		asides:  map[uint64]*aside{},
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
// the grace period, records how far it came, and returns nil. Trouble with the
// store is waited out. It returns an error when the store or the bus has been
// closed, or when the subscription is divided otherwise. It may be called once.
func (c *Consumer[R]) Run(ctx context.Context) error {
	c.working, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer c.cancel()
	if err := c.join(ctx); err != nil {
		return c.unlessStopped(ctx, "start", err)
	}
	subscription := subscribe(ctx, c.options.Bus, c.options.Name)
	defer subscription.Close()
	close(c.started)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	keeping, rest := context.WithCancel(c.working)
	defer rest()
	group := &errgroup.Group{}
	for _, loop := range []func(context.Context) error{c.keepShare, c.keepHeeding, c.keepRecording} {
		group.Go(func() error {
			err := loop(keeping)
			if err != nil {
				stop()
			}
			return err
		})
	}
	followed := c.unlessStopped(ctx, "follow the log for", c.followLog(ctx, subscription))
	c.drain()
	rest()
	kept := group.Wait()
	if kept != nil {
		kept = fmt.Errorf("%s: %w", c.options.Name, kept)
	}
	return errors.Join(followed, kept, c.recordLast(ctx), c.depart(ctx))
}

// unlessStopped tells why Run ends: nothing is wrong when it was stopped.
func (c *Consumer[R]) unlessStopped(ctx context.Context, doing string, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, c.options.Name, err)
}

// drain lets the calls under way finish and gives up the waiting ones.
func (c *Consumer[R]) drain() {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	timer := time.AfterFunc(c.options.Grace, c.cancel)
	c.work.Wait()
	timer.Stop()
}
