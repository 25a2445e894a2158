package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
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

// decide gets a command decided and its events stored, and returns them; nil
// when there are none. One aggregate's commands pass here one after the other.
func (c *Coordinator) decide(ctx context.Context, r *request) (*pb.EventBook, error) {
	leave, err := c.queues.enter(ctx, r.key)
	if err != nil {
		return nil, err
	}
	defer leave()
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
	current, err := c.states.get(ctx, r.key)
	if err != nil {
		return nil, err
	}
	delays := backoff.ExponentialBackOff{InitialInterval: time.Millisecond, MaxInterval: 100 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5}
	for {
		events, err := c.attempt(ctx, r, current)
		var conflict *eventstore.Conflict
		if !errors.As(err, &conflict) || !r.command.AutoResequence {
			return events, err
		}
		c.options.Metrics.Conflict(r.key.Domain)
		if pause(ctx, delays.NextBackOff()) != nil {
			return nil, err
		}
		if current, err = c.states.read(ctx, r.key); err != nil {
			return nil, err
		}
	}
}

// attempt has one decision made on the given state and stores it.
func (c *Coordinator) attempt(ctx context.Context, r *request, current *state) (*pb.EventBook, error) {
	current, err := c.checkSequence(ctx, r, current)
	if err != nil {
		return nil, err
	}
	answer, current, err := c.ask(ctx, r, current)
	if err != nil {
		return nil, err
	}
	if len(answer.GetPages()) == 0 {
		return nil, c.keepSnapshot(ctx, r.key, current, answer.GetSnapshotState())
	}
	return c.store(ctx, r, current, answer)
}

// checkSequence refuses a command that was made on another state than the
// aggregate's, which it returns.
func (c *Coordinator) checkSequence(ctx context.Context, r *request, current *state) (*state, error) {
	expects := r.command.Pages[0].Sequence
	if r.command.AutoResequence || expects == current.next {
		return current, nil
	}
	current, err := c.confirm(ctx, r.key, current)
	if err == nil && expects != current.next {
		err = rpcerr.Mismatch(r.key, expects, current.next)
	}
	return current, err
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

// ask has the user's service decide and returns its answer and the state it was
// made on. When other processes write too, an answer that appends nothing is
// asked for again if the state turns out to be old, because no append would
// notice.
func (c *Coordinator) ask(ctx context.Context, r *request, current *state) (*pb.EventBook, *state, error) {
	for {
		answer, err := c.call(ctx, r, current)
		if len(answer.GetPages()) > 0 || !c.shared() {
			return answer, current, err
		}
		confirmed, readErr := c.confirm(ctx, r.key, current)
		if readErr != nil {
			return nil, current, readErr
		}
		if confirmed == current {
			return answer, current, err
		}
		if confirmed, err = c.checkSequence(ctx, r, confirmed); err != nil {
			return nil, current, err
		}
		current = confirmed
	}
}

// confirm returns the given state if it is still that of the store, which it
// always is when nobody else writes, else the newer one.
func (c *Coordinator) confirm(ctx context.Context, key book.Key, current *state) (*state, error) {
	if !c.shared() {
		return current, nil
	}
	info, err := c.options.Store.Aggregate(ctx, key)
	if err != nil || info.Next == current.next {
		return current, err
	}
	return c.states.read(ctx, key)
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
// cached one.
func (c *Coordinator) store(ctx context.Context, r *request, current *state, answer *pb.EventBook) (*pb.EventBook, error) {
	now := time.Now()
	pages := number(answer.Pages, current.next, now)
	request := eventstore.Append{
		CommandID: r.id, Repeatable: r.repeatable, Key: r.key, Name: r.command.Cover.AggregateId, Next: current.next,
		Events: newEvents(pages), CorrelationID: r.command.CorrelationId, Causation: causation(r.command),
		Trace: observe.TraceParent(ctx),
	}
	after := current.with(pages)
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
	appended, err := c.options.Store.Append(appending, request)
	done(err)
	if err != nil {
		// What is stored now is not known here: a batch may have failed half
		// way, or another process may have been first.
		c.states.forget(r.key)
		return nil, err
	}
	if appended.Duplicate {
		c.states.forget(r.key)
		r.duplicate = true
		return eventstore.Book(appended.Events), nil
	}
	c.states.put(r.key, after)
	return &pb.EventBook{
		Cover: r.key.Cover(after.name), Pages: pages, CorrelationId: r.command.CorrelationId, Position: appended.Last,
		TraceContext: request.Trace,
	}, nil
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
