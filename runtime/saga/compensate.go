package saga

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Compensation says what happens to a rejected command that the aggregate which
// caused it does not compensate for.
type Compensation struct {
	// FailureDomain is where SagaCompensationFailed is stored.
	FailureDomain string
	// Fallback applies when the aggregate answers with an error or not at all.
	// Its reason is not used.
	Fallback *pb.RevocationResponse
	// Queue hands a dead letter on to a queue outside, beside the one in the
	// store; nil when there is none.
	Queue Tell
	// Escalate tells a person; nil when nobody is configured.
	Escalate Tell
}

// Tell tells somebody outside of a failed compensation. It tries for a bounded
// time, and may tell of the same one again: ID names it.
type Tell func(ctx context.Context, failed *pb.SagaCompensationFailed) error

// ID names a failed compensation, the same each time it is told.
func ID(failed *pb.SagaCompensationFailed) string { return idOf(failed.GetRejectedCommand()) }

// rejection is one command that its target refused.
type rejection struct {
	events  *pb.EventBook // that made the saga act
	command *pb.CommandBook
	*refusal
}

func (r *rejection) id() string { return idOf(r.command) }

// idOf names a rejected command, the same each time it is rejected.
func idOf(command *pb.CommandBook) string {
	origin := command.GetSagaOrigin()
	return book.DerivedID("rejected", origin.GetSagaName(), origin.GetTriggeringAggregate().GetDomain(),
		string(origin.GetTriggeringAggregate().GetRoot().GetValue()), fmt.Sprint(origin.GetTriggeringEventSequence()), fmt.Sprint(origin.GetCommandIndex())).String()
}

// compensate asks the aggregate that made the saga act to undo what it can, and
// does what it asks for instead, or the fallback, when it cannot. What has been
// done is noted in the rejection and not done again in this process. The error is
// one that may pass.
func (c *Coordinator) compensate(ctx context.Context, r *rejection) error {
	if r.settled {
		return nil
	}
	revoke, err := revokeCommand(r)
	if err != nil {
		return err
	}
	answer, err := c.handle(ctx, revoke)
	if err == nil && len(answer.GetEvents().GetPages()) > 0 || rpcerr.IsStored(err) {
		r.stored, r.settled = []*pb.CommandBook{revoke}, true
		return nil
	}
	if err != nil && passing(err) {
		return err
	}
	flags, reason := c.options.Compensation.Fallback, "the aggregate answered with nothing"
	if revocation := rpcerr.Revocation(err); revocation != nil {
		flags, reason = revocation, revocation.Reason
	} else if err != nil {
		reason = status.Convert(err).Message()
	}
	if err := c.actOn(ctx, r, flags, reason); err != nil {
		return err
	}
	r.settled = true
	return nil
}

func revokeCommand(r *rejection) (*pb.CommandBook, error) {
	command, err := anypb.New(&pb.RevokeEventCommand{
		TriggeringEventSequence: r.command.SagaOrigin.TriggeringEventSequence,
		SagaName:                r.command.SagaOrigin.SagaName,
		RejectionReason:         r.reason,
		RejectedCommand:         r.command,
	})
	if err != nil {
		return nil, fmt.Errorf("write the command to compensate: %w", err)
	}
	return &pb.CommandBook{
		Cover: r.events.Cover, Pages: []*pb.CommandPage{{Command: command}}, CorrelationId: r.events.CorrelationId,
		AutoResequence: true, Fact: true, IdempotencyKey: "revoke/" + r.id(),
	}, nil
}

// actOn does what the flags say, in their fixed order: dead letter, escalation,
// abort, system revocation. Each happens whatever becomes of the others; what
// nobody could be told of is left as a dead letter, so that nothing is forgotten.
func (c *Coordinator) actOn(ctx context.Context, r *rejection, flags *pb.RevocationResponse, reason string) error {
	failed := &pb.SagaCompensationFailed{
		TriggeringAggregate: r.events.Cover, TriggeringEventSequence: r.command.SagaOrigin.TriggeringEventSequence, SagaName: c.options.Name,
		RejectionReason: r.reason, CompensationFailureReason: reason, RejectedCommand: r.command, OccurredAt: timestamppb.Now(),
	}
	r.letter, r.abort = "", nil
	if flags.GetSendToDeadLetterQueue() {
		r.leave(reason, "")
		c.queue(ctx, r, failed)
	}
	if flags.GetEscalate() {
		c.escalate(ctx, r, failed)
	}
	if flags.GetAbort() {
		r.abort = rpcerr.Abort(fmt.Sprintf("saga %s: command rejected: %s; not compensated: %s", c.options.Name, r.reason, reason))
	}
	if ctx.Err() != nil {
		// What could not be told may have failed for no other reason.
		return ctx.Err()
	}
	if flags.GetEmitSystemRevocation() {
		return c.record(ctx, r, failed)
	}
	return nil
}

// leave says that a person is to look at the rejected command, and what went
// wrong besides.
func (r *rejection) leave(notCompensated, besides string) {
	if r.letter == "" {
		r.letter = fmt.Sprintf("command rejected: %s; not compensated: %s", r.reason, notCompensated)
	}
	if besides != "" && !strings.Contains(r.letter, besides) {
		r.letter += "; " + besides
	}
}

// queue hands the dead letter on to the queue outside. The one in the store is
// there in any case.
func (c *Coordinator) queue(ctx context.Context, r *rejection, failed *pb.SagaCompensationFailed) {
	if c.options.Compensation.Queue == nil || r.queued {
		return
	}
	if err := c.options.Compensation.Queue(ctx, failed); err != nil {
		c.concerning(failed).Error("a dead letter could not be handed on to the queue outside; it is in the store", "error", err)
		r.leave(failed.CompensationFailureReason, "not handed on to the dead-letter queue: "+err.Error())
		return
	}
	r.queued = true
}

func (c *Coordinator) escalate(ctx context.Context, r *rejection, failed *pb.SagaCompensationFailed) {
	if r.escalated {
		return
	}
	if c.options.Compensation.Escalate == nil {
		c.concerning(failed).Error("a rejected command needs a person: set saga_compensation.escalation_webhook_url to be told elsewhere too")
		r.escalated = true
		return
	}
	if err := c.options.Compensation.Escalate(ctx, failed); err != nil {
		c.concerning(failed).Error("a rejected command needs a person, and the webhook could not be told; it is among the dead letters", "error", err)
		r.leave(failed.CompensationFailureReason, "nobody could be told: "+err.Error())
		return
	}
	r.escalated = true
}

// concerning is the logger for one failed compensation.
func (c *Coordinator) concerning(failed *pb.SagaCompensationFailed) *slog.Logger {
	return c.options.Logger.With("component", c.options.Name, "domain", failed.TriggeringAggregate.GetDomain(),
		"sequence", failed.TriggeringEventSequence, "correlation_id", failed.RejectedCommand.GetCorrelationId(), "reason", failed.CompensationFailureReason)
}

// record stores the failure, once for each rejected command.
func (c *Coordinator) record(ctx context.Context, r *rejection, failed *pb.SagaCompensationFailed) error {
	event, err := anypb.New(failed)
	if err != nil {
		return fmt.Errorf("write the failed compensation: %w", err)
	}
	domain := c.options.Compensation.FailureDomain
	root := book.DerivedID("compensation-failed", r.id())
	command := &pb.CommandBook{
		Cover: book.Key{Domain: domain, Root: root}.Cover(""), Pages: []*pb.CommandPage{{Command: event}},
		CorrelationId: r.events.CorrelationId, AutoResequence: true, Fact: true, IdempotencyKey: "failed/" + r.id(),
	}
	if _, err := c.handle(ctx, command); err != nil && !rpcerr.IsStored(err) {
		return fmt.Errorf("record the failed compensation in %s: %w", domain, err)
	}
	r.stored = []*pb.CommandBook{command}
	return nil
}
