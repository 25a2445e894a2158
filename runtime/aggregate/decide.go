package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// errUnfounded says that a command was decided on events of the commands before
// it, and that these were not stored in the end.
var errUnfounded = errors.New("the events that the command was decided on were not stored")

// decide gets a command decided and its events stored, and returns them; nil
// when there are none. One aggregate's commands are decided one after the other.
func (c *Coordinator) decide(ctx context.Context, r *request) (*pb.EventBook, error) {
	place, err := c.queues.enter(ctx, r.key)
	if err != nil {
		return nil, err
	}
	defer place.leave()
	delays := backoff.ExponentialBackOff{InitialInterval: time.Millisecond, MaxInterval: 100 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5}
	for {
		events, err := c.inTurn(ctx, r, place)
		var conflict *eventstore.Conflict
		switch {
		case errors.Is(err, errUnfounded):
		case errors.As(err, &conflict) && r.command.AutoResequence:
			c.options.Metrics.Conflict(r.key.Domain)
			if pause(ctx, delays.NextBackOff()) != nil {
				return nil, err
			}
		default:
			return events, err
		}
		if err := place.take(ctx); err != nil {
			return nil, err
		}
	}
}

// inTurn decides a command whose turn it is. It may have passed the turn on when
// it returns.
func (c *Coordinator) inTurn(ctx context.Context, r *request, p *place) (*pb.EventBook, error) {
	before := p.before()
	if before != nil && (before.doomed || c.shared() || p.deciding(r.id)) {
		// Where others write too, a number that fits says nothing about what is
		// before it. And a repetition is answered with what the first one stored.
		if err := before.wait(ctx); err != nil {
			return nil, err
		}
		before = nil
	}
	if r.repeatable {
		stored, err := c.options.Store.ByCommand(ctx, r.id)
		if err != nil {
			return nil, err
		}
		if len(stored) > 0 {
			r.duplicate = true
			return eventstore.Book(stored), nil
		}
	}
	if before != nil {
		c.options.Metrics.Cache(true)
		return c.attempt(ctx, r, p, basis{before.state, before})
	}
	current, err := c.states.get(ctx, r.key)
	if err != nil {
		return nil, err
	}
	return c.attempt(ctx, r, p, basis{current, nil})
}

// basis is what a command is decided on: an aggregate's state, and the decision
// that has made it if that is not settled yet.
type basis struct {
	*state
	before *decision
}

// attempt has one decision made and stores it.
func (c *Coordinator) attempt(ctx context.Context, r *request, p *place, on basis) (*pb.EventBook, error) {
	on, err := c.checkSequence(ctx, r, on)
	if err != nil {
		return nil, on.founded(ctx, p, err)
	}
	answer, on, err := c.ask(ctx, r, on)
	if err != nil {
		return nil, on.founded(ctx, p, err)
	}
	if len(answer.GetPages()) > 0 {
		return c.store(ctx, r, p, on, answer)
	}
	if answer.GetSnapshotState() == nil {
		return nil, on.founded(ctx, p, nil)
	}
	if err := on.wait(ctx); err != nil {
		return nil, err
	}
	return nil, c.keepSnapshot(ctx, r.key, on.state, answer.GetSnapshotState())
}

// founded lets an answer that appends nothing go when the events that it rests on
// are stored. Until then the next command has its turn: nothing changes for it.
func (on basis) founded(ctx context.Context, p *place, answer error) error {
	if on.before == nil {
		return answer
	}
	p.pass()
	if err := on.wait(ctx); err != nil {
		return err
	}
	return answer
}

// wait waits until the state is the store's. errUnfounded when it never will be.
func (on basis) wait(ctx context.Context) error {
	if on.before == nil {
		return nil
	}
	if err := on.before.wait(ctx); err != nil {
		return err
	}
	if !on.before.stored {
		return errUnfounded
	}
	return nil
}

// checkSequence refuses a command that was made on another state than the
// aggregate's, which it returns.
func (c *Coordinator) checkSequence(ctx context.Context, r *request, on basis) (basis, error) {
	expects := r.command.Pages[0].Sequence
	if r.command.AutoResequence || expects == on.next {
		return on, nil
	}
	on, err := c.confirm(ctx, r.key, on)
	if err == nil && expects != on.next {
		err = rpcerr.Mismatch(r.key, expects, on.next)
	}
	return on, err
}

// pause waits before another attempt.
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

// ask has the user's service decide and returns its answer and what it was made
// on. When other processes write too, an answer that appends nothing is asked for
// again if the state turns out to be old, because no append would notice.
func (c *Coordinator) ask(ctx context.Context, r *request, on basis) (*pb.EventBook, basis, error) {
	for {
		answer, err := c.call(ctx, r, on.state)
		if len(answer.GetPages()) > 0 || !c.shared() {
			return answer, on, err
		}
		confirmed, readErr := c.confirm(ctx, r.key, on)
		if readErr != nil {
			return nil, on, readErr
		}
		if confirmed == on {
			return answer, on, err
		}
		if confirmed, err = c.checkSequence(ctx, r, confirmed); err != nil {
			return nil, on, err
		}
		on = confirmed
	}
}

// confirm returns the given state if it is still that of the store, which it
// always is when nobody else writes, else the newer one. A state that is not in
// the store yet is confirmed by its decision.
func (c *Coordinator) confirm(ctx context.Context, key book.Key, on basis) (basis, error) {
	if on.before != nil || !c.shared() {
		return on, nil
	}
	info, err := c.options.Store.Aggregate(ctx, key)
	if err != nil || info.Next == on.next {
		return on, err
	}
	current, err := c.states.read(ctx, key)
	return basis{current, nil}, err
}

// repeats is how often a service is asked again when it dies under the question.
// More would let a command that kills the service kill it for ever.
const repeats = 2

// call calls the user's service. The answer has passed all checks.
func (c *Coordinator) call(ctx context.Context, r *request, current *state) (*pb.EventBook, error) {
	ctx, cancel := context.WithTimeout(ctx, r.domain.Timeout)
	defer cancel()
	request := &pb.ContextualCommand{Events: current.history(r.key, r.command.CorrelationId), Command: r.command}
	response, err := r.domain.Service.Handle(ctx, request)
	for broken := 1; transport.Broken(err) && broken <= repeats; broken++ {
		// Deciding stores nothing, so whether the service had decided when it
		// went does not matter.
		response, err = r.domain.Service.Handle(ctx, request)
	}
	if err != nil {
		return nil, err
	}
	if revocation := response.GetRevocation(); revocation != nil {
		return nil, rpcerr.Revoked(revocation)
	}
	answer := response.GetEvents()
	if err := book.CheckNew(r.key, current.next, answer); err != nil {
		return nil, status.Errorf(codes.Internal, "%s answered wrongly, nothing was stored: %v", r.domain.Label, err)
	}
	return answer, nil
}

// store appends the answer's events and makes the state that follows the
// cached one. When the store takes appends in order, the next command has its
// turn while these are on their way to the disk.
func (c *Coordinator) store(ctx context.Context, r *request, p *place, on basis, answer *pb.EventBook) (*pb.EventBook, error) {
	pages := number(answer.Pages, on.next, time.Now())
	request := eventstore.Append{
		CommandID: r.id, Repeatable: r.repeatable, Key: r.key, Name: r.command.Cover.AggregateId, Next: on.next,
		Events: newEvents(pages), CorrelationID: r.command.CorrelationId, Causation: causation(r.command),
		Trace: observe.TraceParent(ctx),
	}
	after := on.with(pages)
	if after.name == "" {
		after.name = request.Name
	}
	if answer.SnapshotState != nil && c.options.WriteSnapshots {
		request.Snapshot = storedSnapshot(r.key, after.next-1, answer.SnapshotState)
		if c.options.ReadSnapshots {
			after = after.at(request.Snapshot)
		}
	}
	appending, done := observe.Step(ctx, "append")
	appended, err := c.append(appending, p, on.before, after, request)
	done(err)
	if err != nil {
		return nil, err
	}
	if appended.Duplicate {
		r.duplicate = true
		return eventstore.Book(appended.Events), nil
	}
	return &pb.EventBook{
		Cover: r.key.Cover(after.name), Pages: pages, CorrelationId: r.command.CorrelationId, Position: appended.Last,
		TraceContext: request.Trace,
	}, nil
}

// append stores a decision and returns when it is settled.
func (c *Coordinator) append(ctx context.Context, p *place, before *decision, after *state, request eventstore.Append) (eventstore.Appended, error) {
	if c.ahead == nil || before == nil && c.shared() {
		appended, err := c.options.Store.Append(ctx, request)
		c.settle(request.Key, after, appended, err)
		return appended, err
	}
	var follows uuid.UUID
	if before != nil {
		follows = before.command
	}
	outcome, err := c.ahead.AppendAhead(ctx, request, follows)
	if err != nil {
		return eventstore.Appended{}, err
	}
	d := &decision{command: request.CommandID, state: after, settled: make(chan struct{})}
	p.decided(d)
	p.pass()
	appended, err := outcome()
	if before != nil {
		<-before.settled // so that the newest state is the last one in the cache
	}
	d.stored = c.settle(request.Key, after, appended, err)
	close(d.settled)
	if _, conflict := errors.AsType[*eventstore.Conflict](err); conflict && before != nil && !before.stored {
		return appended, errUnfounded
	}
	return appended, err
}

// settle keeps the state that an append has made, and reports whether it has.
func (c *Coordinator) settle(key book.Key, after *state, appended eventstore.Appended, err error) (stored bool) {
	if err != nil || appended.Duplicate {
		// What is stored now is not known here: a batch may have failed half
		// way, or another process may have been first.
		c.states.forget(key)
		return false
	}
	c.states.put(key, after)
	return true
}

// keepSnapshot keeps the state that a service returned without new events.
func (c *Coordinator) keepSnapshot(ctx context.Context, key book.Key, current *state, returned *anypb.Any) error {
	if returned == nil || current.next == 0 || !c.options.WriteSnapshots {
		return nil
	}
	snapshot := storedSnapshot(key, current.next-1, returned)
	if err := c.options.Store.SaveSnapshot(ctx, *snapshot); err != nil {
		return fmt.Errorf("keep the snapshot of %s: %w", key, err)
	}
	if c.options.ReadSnapshots {
		c.states.put(key, current.at(snapshot))
	}
	return nil
}

// number returns the pages as they are stored: numbered from next and with a
// time. The given pages belong to the service's answer and may be used.
func number(answer []*pb.EventPage, next uint32, now time.Time) []*pb.EventPage {
	stamp := timestamppb.New(now)
	pages := make([]*pb.EventPage, len(answer))
	for i, page := range answer {
		pages[i] = &pb.EventPage{Sequence: &pb.EventPage_Num{Num: next + uint32(i)}, CreatedAt: page.CreatedAt, Event: page.Event}
		if page.CreatedAt == nil || !page.CreatedAt.IsValid() {
			pages[i].CreatedAt = stamp
		}
	}
	return pages
}

func newEvents(pages []*pb.EventPage) []eventstore.NewEvent {
	events := make([]eventstore.NewEvent, len(pages))
	for i, page := range pages {
		events[i] = eventstore.NewEvent{TypeURL: page.Event.TypeUrl, Payload: page.Event.Value, CreatedAt: page.CreatedAt.AsTime()}
	}
	return events
}

func storedSnapshot(key book.Key, sequence uint32, state *anypb.Any) *eventstore.Snapshot {
	return &eventstore.Snapshot{Key: key, Sequence: sequence, TypeURL: state.TypeUrl, State: state.Value}
}

func wireSnapshot(snapshot *eventstore.Snapshot) *pb.Snapshot {
	return &pb.Snapshot{Sequence: snapshot.Sequence, State: &anypb.Any{TypeUrl: snapshot.TypeURL, Value: snapshot.State}}
}
