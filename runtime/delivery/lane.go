package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// lane is the queue of one aggregate. It exists while it has jobs.
type lane[R any] struct {
	slice  *slice
	jobs   []*job[R]
	before *lane[R]      // of the same aggregate, when the slice was last held
	ended  chan struct{} // closed when it has come to its end
}

// job is one book to be handled, from the log (entry set) or from a caller of
// Deliver (reply set); or a dead letter that was left aside (aside set); or, with
// none of them, those that block the aggregate.
type job[R any] struct {
	slice    *slice
	events   *pb.EventBook
	entry    *entry
	ctx      context.Context //nolint:containedctx // the caller's, for one job only
	received uint64          // what had been received from the log before this job
	reply    chan answer[R]
	aside    *eventstore.Parked // a dead letter that blocks nothing, to be handled anew
}

type answer[R any] struct {
	value R
	err   error
}

// enqueue appends a job to its lane and starts the lane if it stood still. The
// caller holds the lock.
func (c *Consumer[R]) enqueue(key book.Key, next *job[R]) {
	if c.stopping || next.slice.refuses() {
		c.refuse(next)
		return
	}
	if line, ok := c.lanes[key]; ok && line.slice == next.slice {
		line.jobs = append(line.jobs, next)
		return
	}
	line := &lane[R]{slice: next.slice, jobs: []*job[R]{next}, before: c.lanes[key], ended: make(chan struct{})}
	c.lanes[key] = line
	next.slice.lanes++
	c.work.Go(func() { c.runLane(key, line) })
}

// refuse answers a job that will not be done here. A job from the log is left
// undone, so that it comes again after the next start, or to another instance.
func (c *Consumer[R]) refuse(refused *job[R]) {
	switch {
	case refused.reply == nil && refused.entry != nil:
		c.release()
	case refused.reply == nil:
	case c.stopping:
		refused.reply <- answer[R]{err: eventstore.ErrClosed}
	default:
		refused.reply <- answer[R]{err: ErrElsewhere}
	}
}

func (c *Consumer[R]) runLane(key book.Key, line *lane[R]) {
	defer close(line.ended)
	if line.before != nil {
		// What was under way when the slice was lost and came back.
		<-line.before.ended
		line.before = nil
	}
	for {
		next := c.nextJob(key, line)
		if next == nil {
			return
		}
		c.do(key, next)
	}
}

// nextJob takes the job that is next in the lane, nil when the lane has come to
// its end.
func (c *Consumer[R]) nextJob(key book.Key, line *lane[R]) *job[R] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping || line.slice.refuses() {
		for _, job := range line.jobs {
			c.refuse(job)
		}
		line.jobs = nil
	}
	if len(line.jobs) == 0 {
		if c.lanes[key] == line {
			delete(c.lanes, key)
		}
		line.slice.lanes--
		return nil
	}
	next := line.jobs[0]
	line.jobs = line.jobs[1:]
	return next
}

func (c *Consumer[R]) do(key book.Key, job *job[R]) {
	switch {
	case job.reply != nil:
		value, err := c.deliver(key, job)
		if err != nil && job.slice.working.Err() != nil && job.ctx.Err() == nil && c.working.Err() == nil {
			err = ErrElsewhere // it was lost under the call
		}
		job.reply <- answer[R]{value, err}
	case job.aside != nil:
		c.retryAside(key, job)
	case job.entry == nil:
		c.retryLetters(key, job.slice)
	case c.isBlocked(key):
		c.tell(job.events, observe.Abandoned, "waits behind an earlier event of the same aggregate")
		c.done(job.entry, &eventstore.Parked{
			Reason: "waits behind an earlier event of the same aggregate",
		}, job.events, c.options.Name)
	default:
		c.doFromLog(key, job)
	}
}

// doFromLog handles a book of the log until it is done, parked, or given up
// because the consumer stops or has lost the slice.
func (c *Consumer[R]) doFromLog(key book.Key, job *job[R]) {
	events := job.events
	left := c.takeLeft(key, book.Last(events))
	if known, ok := c.results.GetIfPresent(key); ok {
		if events = book.After(events, known.next); len(events.Pages) == 0 {
			c.done(job.entry, left.parked, job.events, left.subscription)
			return
		}
	}
	first := time.Now()
	attempts, err := c.try(job.slice.working, job.slice, key, events)
	var also *Park
	switch {
	case err == nil:
		c.done(job.entry, nil, nil, "")
	case job.slice.working.Err() != nil:
		c.giveUp() // left undone, so it comes again
	case errors.As(err, &also):
		c.done(job.entry, &eventstore.Parked{Attempts: attempts, Reason: also.Reason, FirstAt: first}, job.events, also.Subscription)
	default:
		c.block(key, events, err)
		c.options.Logger.ErrorContext(about(job.slice.working, events), "put among the dead letters; later events of this aggregate wait behind it",
			"component", c.options.Name, "domain", key.Domain, "root", key.Root.String(), "sequence", book.First(events),
			"correlation_id", events.CorrelationId, "attempts", attempts, "error", err)
		c.tell(events, observe.Parked, reasonOf(err))
		c.done(job.entry, &eventstore.Parked{Attempts: attempts, Reason: reasonOf(err), FirstAt: first}, job.events, c.options.Name)
	}
}

// reasonOf says why events could not be handled, for people.
func reasonOf(err error) string {
	said, ok := status.FromError(err)
	if !ok || said.Message() == "" {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s)", said.Message(), code.Code(said.Code()))
}

// giveUp frees the place of a book that is not done here.
func (c *Consumer[R]) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release()
}

// Park is returned by a Handle, together with its result, for events that are
// handled but leave a dead letter in another subscription's name for a person to
// look at. The aggregate's later events go on.
type Park struct {
	Subscription string // under which the dead letter is listed
	Reason       string
}

func (p *Park) Error() string { return p.Reason }

// left is the dead letter of events that a caller handed over directly. It is
// written when the same events come from the log, together with the position.
type left struct {
	last         uint32 // number of the last event
	parked       *eventstore.Parked
	subscription string
}

func (c *Consumer[R]) leave(key book.Key, letter left) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[key] = append(c.left[key], letter)
}

// takeLeft returns the dead letter that was left for events up to the number,
// and forgets it. Its parked is nil when there is none.
func (c *Consumer[R]) takeLeft(key book.Key, last uint32) (taken left) {
	c.mu.Lock()
	defer c.mu.Unlock()
	letters := c.left[key]
	for len(letters) > 0 && letters[0].last <= last {
		taken, letters = letters[0], letters[1:]
	}
	c.left[key] = letters
	if len(letters) == 0 {
		delete(c.left, key)
	}
	return taken
}

// delays are those between calls that fail.
func (c *Consumer[R]) delays() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: c.options.FirstDelay, MaxInterval: c.options.MaxDelay,
		Multiplier: 2, RandomizationFactor: 0.3,
	}
}

// try calls the component until it succeeds, fails for good, or has failed too
// often. It returns how often it called.
func (c *Consumer[R]) try(ctx context.Context, s *slice, key book.Key, events *pb.EventBook) (attempts int, err error) {
	delays := c.delays()
	told := false
	ctx = about(ctx, events)
	for {
		value, err := c.observed(ctx, events)
		var also *Park
		if err == nil || errors.As(err, &also) {
			c.remember(s, key, result[R]{next: book.Last(events) + 1, value: value})
			return attempts + 1, err
		}
		absent := c.options.Absent(err)
		if !absent {
			attempts++
		}
		if ctx.Err() != nil || !absent && (!c.options.Retryable(err) || attempts >= c.options.Attempts) {
			return attempts, err
		}
		if !told {
			told = true
			c.options.Logger.WarnContext(ctx, "delivery failed, trying again", "component", c.options.Name, "domain", key.Domain,
				"root", key.Root.String(), "correlation_id", events.CorrelationId, "error", err)
		}
		if pause(ctx, delays.NextBackOff()) != nil {
			return attempts, err
		}
		c.metrics.Retried()
	}
}

// about returns a context for what is done about a book: its log lines and its
// calls belong to the command that caused it.
func about(ctx context.Context, events *pb.EventBook) context.Context {
	return observe.Continue(observe.Correlate(ctx, events.CorrelationId), events.TraceContext)
}

// remember keeps what the component made of an aggregate, unless another instance
// may have gone on with it meanwhile.
func (c *Consumer[R]) remember(s *slice, key book.Key, newest result[R]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.lost {
		c.results.Set(key, newest)
	}
}

// call waits for a free place among the calls under way. A place is held during
// the call only, so that aggregates that wait for their next attempt do not keep
// others from their first.
func (c *Consumer[R]) call(ctx context.Context, events *pb.EventBook) (value R, err error) {
	if err := c.running.Acquire(ctx, 1); err != nil {
		return value, err
	}
	defer c.running.Release(1)
	if err := c.awaitLease(ctx); err != nil {
		return value, err
	}
	start := time.Now()
	value, err = c.options.Handle(ctx, events)
	failed := err
	if errors.As(err, new(*Park)) {
		failed = nil
	}
	c.metrics.Called(failed, time.Since(start))
	return value, err
}

func pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poison is why an aggregate is blocked: the events that could not be handled
// and the error, where it happened since the start.
type poison struct {
	first, last uint32
	err         error
}

func (c *Consumer[R]) isBlocked(key book.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, blocked := c.blocked[key]
	return blocked
}

func (c *Consumer[R]) block(key book.Key, events *pb.EventBook, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocked[key] = &poison{book.First(events), book.Last(events), err}
}

// refusal returns why a caller's book is not taken, nil if the aggregate is not
// blocked. A caller who brings the very events that could not be handled is told
// what the component said of them, whether they came by the bus first or not.
func (c *Consumer[R]) refusal(key book.Key, events *pb.EventBook) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, blocked := c.blocked[key]
	switch {
	case !blocked:
		return nil
	case found.err != nil && book.First(events) <= found.last && found.first <= book.Last(events):
		return found.err
	}
	return &Blocked{c.options.Name, key}
}

// Blocked is the error of Deliver for an aggregate that has dead letters.
type Blocked struct {
	Component string
	Key       book.Key
}

func (e *Blocked) Error() string {
	return fmt.Sprintf("%s has dead letters for %s and takes no more of its events until they are retried or skipped", e.Component, e.Key)
}

// GRPCStatus says that trying again does not help until somebody has decided
// about the dead letters.
func (e *Blocked) GRPCStatus() *status.Status {
	return status.New(codes.FailedPrecondition, e.Error())
}
