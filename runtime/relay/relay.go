// Package relay makes an append a publication: it tails the log and hands every
// book to the bus in the order of positions, at least once, so that no command
// waits for a broker and none of its events is forgotten when one is away.
// DESIGN.md in the folder of the bus states the invariant.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

const (
	// page is how many events are read and published at once.
	page = 500
	// recordEvery and recordAfter say how often a durable relay records its
	// position: what lies between is published again after a crash.
	recordEvery = page
	recordAfter = 100 * time.Millisecond
	// finish is how long a stopping relay may take to record its position.
	finish = 5 * time.Second
	// standBy is how often a relay that stands by asks for the place.
	standBy = time.Second
	// defaultLease is longer than any pause that is not a fault.
	defaultLease = 15 * time.Second
)

// Options describe a relay.
type Options struct {
	Log       eventstore.Log
	Publisher bus.Publisher
	// Subscription is the name under which the relay keeps its place in
	// Subscriptions, such as "relay/amqp", for a bus that keeps messages. Of
	// several relays of one name, in one process or many, one publishes and the
	// others stand by. Empty is for a bus that keeps nothing: the relay publishes
	// what is appended from now on, and consumers read the past from the log.
	// Subscriptions may then be nil.
	Subscription  string
	Subscriptions eventstore.Subscriptions
	// Lease is how long a relay that is not heard of keeps its place; 15 s.
	Lease     time.Duration
	Logger    *slog.Logger
	Telemetry *observe.Telemetry
}

// Relay publishes the books of one log to one bus.
type Relay struct {
	log       eventstore.Log
	publisher bus.Publisher
	logger    *slog.Logger
	telemetry *observe.Telemetry
	place     *place // nil when nothing is recorded
	published uint64 // everything up to here has been accepted by the bus
}

// New returns a relay. Once Run is called it publishes what was appended after
// New, or, with a Subscription, everything after its place.
func New(options Options) *Relay {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{log: options.Log, publisher: options.Publisher, logger: options.Logger, telemetry: options.Telemetry}
	if options.Subscription == "" {
		r.published = r.log.Head()
		return r
	}
	if options.Lease == 0 {
		options.Lease = defaultLease
	}
	r.place = &place{subscriptions: options.Subscriptions, name: options.Subscription, member: uuid.New(), lease: options.Lease}
	return r
}

// Run publishes until the context ends and returns nil when what was under way
// is finished. Failures of the bus and the log are waited out, and so is another
// relay that has the place. Run returns an error when the place is ahead of the
// log or when the store or the bus has been closed. It may be called once.
func (r *Relay) Run(ctx context.Context) error {
	defer r.telemetry.Metrics().Relaying(false, 0)
	if r.place == nil {
		r.telemetry.Metrics().Relaying(true, r.published)
		return unlessStopped(ctx, r.follow(ctx))
	}
	for ctx.Err() == nil {
		err := r.takeTurn(ctx)
		if errors.Is(err, errLost) || errors.Is(err, eventstore.ErrFenced) {
			r.logger.Warn("lost the right to publish to the bus; standing by", "subscription", r.place.name, "reason", err)
			r.place.lose()
			r.telemetry.Metrics().Relaying(false, 0)
			continue
		}
		if err != nil && ctx.Err() == nil {
			return errors.Join(err, r.place.leave(ctx))
		}
	}
	return errors.Join(r.recordLast(ctx), r.place.leave(ctx))
}

func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// takeTurn waits for the place and publishes as long as it is held.
func (r *Relay) takeTurn(ctx context.Context) error {
	if err := r.claim(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.follow(ctx) })
	group.Go(func() error { return r.place.renew(ctx) })
	return group.Wait()
}

// claim waits until no other relay has the place and begins where it stands.
func (r *Relay) claim(ctx context.Context) error {
	waiting := false
	for {
		held, err := retry(ctx, r.logger, "ask for the relay's place", func() (bool, error) {
			held, err := r.place.share(ctx)
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrOverloaded) {
				err = backoff.Permanent(err)
			}
			return held, err
		})
		if err != nil {
			return err
		}
		if held {
			break
		}
		if !waiting {
			waiting = true
			r.logger.Info("another process publishes to the bus; standing by", "subscription", r.place.name)
		}
		if err := pause(ctx, min(standBy, r.place.lease/3)); err != nil {
			return err
		}
	}
	position := r.place.recorded
	if head := r.headAt(ctx, position); position > head {
		return fmt.Errorf("%s has published up to position %d, but the log ends at %d: "+
			"an older copy of the store was restored; reset the relay's position once the consumers are reconciled",
			r.place.name, position, head)
	}
	r.published = position
	r.telemetry.Metrics().Relaying(true, position)
	return nil
}

// headAt returns the log's end, after a moment in which it may come to position:
// another process has seen what it has recorded, this one perhaps not yet.
func (r *Relay) headAt(ctx context.Context, position uint64) uint64 {
	patience := time.NewTimer(finish)
	defer patience.Stop()
	for {
		changed := r.log.Changed()
		head := r.log.Head()
		if head >= position {
			return head
		}
		select {
		case <-changed:
		case <-patience.C:
			return head
		case <-ctx.Done():
			return position
		}
	}
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow publishes page after page and waits at the end of the log.
func (r *Relay) follow(ctx context.Context) error {
	for {
		// Taken before the log is looked at, so that no append falls between.
		changed := r.log.Changed()
		moved := false
		if r.log.Head() > r.published {
			var err error
			if moved, err = r.publishPage(ctx); err != nil {
				return err
			}
			if err := r.record(ctx); err != nil {
				return err
			}
		}
		if moved {
			continue
		}
		if err := r.wait(ctx, changed); err != nil {
			return err
		}
	}
}

// wait returns when the log may have grown. A position that is waiting to be
// recorded is recorded meanwhile.
func (r *Relay) wait(ctx context.Context, changed <-chan struct{}) error {
	var due <-chan time.Time
	if r.place.behind(r.published) {
		timer := time.NewTimer(r.place.rest())
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-due:
		return r.record(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishPage reads and publishes the next books, and reports whether there
// were any.
func (r *Relay) publishPage(ctx context.Context) (moved bool, err error) {
	messages, err := retry(ctx, r.logger, "read the log", func() ([]bus.Message, error) {
		events, err := r.log.ReadLog(ctx, r.published, page)
		if errors.Is(err, eventstore.ErrClosed) {
			return nil, backoff.Permanent(err)
		}
		return r.messages(eventstore.Books(events)), err
	})
	if err != nil {
		return false, fmt.Errorf("read the log after position %d: %w", r.published, err)
	}
	if len(messages) == 0 {
		return false, nil
	}
	published := r.trace(ctx, messages)
	_, err = retry(ctx, r.logger, "publish to the bus", func() (struct{}, error) {
		if r.place.lapsed() {
			return struct{}{}, backoff.Permanent(errLost)
		}
		err := r.publisher.Publish(ctx, messages)
		if errors.Is(err, bus.ErrClosed) {
			err = backoff.Permanent(err)
		}
		if err != nil {
			r.telemetry.Metrics().RelayFailed()
		}
		return struct{}{}, err
	})
	published(err)
	if err != nil {
		return false, fmt.Errorf("publish after position %d: %w", r.published, err)
	}
	r.published = messages[len(messages)-1].Book.Position
	r.telemetry.Metrics().Relayed(r.published, len(messages))
	return true, nil
}

// trace begins a span in the trace of each book, if it is traced. The function
// returned ends them.
func (r *Relay) trace(ctx context.Context, messages []bus.Message) func(error) {
	if !r.telemetry.Tracing() {
		return func(error) {}
	}
	var spans []func(error)
	for _, message := range messages {
		if message.Book.TraceContext != "" {
			_, end := r.telemetry.Work(observe.WithTraceParent(ctx, message.Book.TraceContext), "publish", slog.Uint64(observe.KeyPosition, message.Book.Position))
			spans = append(spans, end)
		}
	}
	return func(err error) {
		for _, end := range spans {
			end(err)
		}
	}
}

// messages links the books that follow the published ones.
func (r *Relay) messages(books []*pb.EventBook) []bus.Message {
	messages := make([]bus.Message, len(books))
	previous := r.published
	for i, events := range books {
		messages[i] = bus.Message{Previous: previous, Book: events}
		previous = events.Position
	}
	return messages
}

// retry repeats an operation until it succeeds, fails for good or the context
// ends. The log hears of the first failure and of the end of the trouble.
func retry[T any](ctx context.Context, logger *slog.Logger, doing string, operation backoff.Operation[T]) (T, error) {
	failures := 0
	result, err := backoff.Retry(ctx, operation,
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval: 50 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 5 * time.Second,
		}),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, _ time.Duration) {
			if failures++; failures == 1 {
				logger.WarnContext(ctx, "cannot "+doing+"; events wait in the log until it works again", "error", err)
			}
		}))
	if err == nil && failures > 0 {
		logger.InfoContext(ctx, "could "+doing+" again", "attempts", failures+1)
	}
	return result, err
}
