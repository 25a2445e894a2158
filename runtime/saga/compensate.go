package saga

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
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
	// Escalate tells a person; nil when nobody is configured.
	Escalate func(ctx context.Context, failed *pb.SagaCompensationFailed) error
}

// rejection is one command that its target refused.
type rejection struct {
	events  *pb.EventBook // that made the saga act
	command *pb.CommandBook
	reason  string
}

// deadLetter says that a person is to look at a rejected command.
type deadLetter struct{ rejected, notCompensated string }

func (e *deadLetter) Error() string {
	return fmt.Sprintf("command rejected: %s; not compensated: %s", e.rejected, e.notCompensated)
}

// id names the rejected command, the same each time it is rejected.
func (r *rejection) id() string {
	origin := r.command.SagaOrigin
	return book.DerivedID("rejected", origin.SagaName, origin.TriggeringAggregate.GetDomain(), string(origin.TriggeringAggregate.GetRoot().GetValue()),
		fmt.Sprint(origin.TriggeringEventSequence), fmt.Sprint(origin.CommandIndex)).String()
}

// compensate asks the aggregate that made the saga act to undo what it can, and
// does what it asks for instead, or the fallback, when it cannot.
func (c *Coordinator) compensate(ctx context.Context, r rejection, outcome *Outcome) error {
	revoke, err := revokeCommand(&r)
	if err != nil {
		return err
	}
	answer, err := c.handle(ctx, revoke)
	if err == nil && len(answer.GetEvents().GetPages()) > 0 {
		outcome.stored = append(outcome.stored, revoke)
		return nil
	}
	if err != nil && (rpcerr.Retryable(err) || status.Code(err) == codes.Canceled) {
		return err
	}
	if revocation := rpcerr.Revocation(err); revocation != nil {
		return c.actOn(ctx, &r, revocation, revocation.Reason, outcome)
	}
	reason := "the aggregate answered with nothing"
	if err != nil {
		reason = status.Convert(err).Message()
	}
	return c.actOn(ctx, &r, c.options.Compensation.Fallback, reason, outcome)
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
// abort, system revocation. Each happens whatever becomes of the others.
func (c *Coordinator) actOn(ctx context.Context, r *rejection, flags *pb.RevocationResponse, reason string, outcome *Outcome) error {
	failed := &pb.SagaCompensationFailed{
		TriggeringAggregate: r.events.Cover, TriggeringEventSequence: r.command.SagaOrigin.TriggeringEventSequence, SagaName: c.options.Name,
		RejectionReason: r.reason, CompensationFailureReason: reason, RejectedCommand: r.command, OccurredAt: timestamppb.Now(),
	}
	var left error
	if flags.GetSendToDeadLetterQueue() {
		left = &deadLetter{rejected: r.reason, notCompensated: reason}
	}
	if flags.GetEscalate() {
		c.escalate(ctx, failed)
	}
	if flags.GetAbort() {
		outcome.abort = status.Errorf(codes.Aborted, "saga %s: command rejected: %s; not compensated: %s", c.options.Name, r.reason, reason)
	}
	if flags.GetEmitSystemRevocation() {
		if err := c.record(ctx, r, failed, outcome); err != nil {
			return err
		}
	}
	return left
}

func (c *Coordinator) escalate(ctx context.Context, failed *pb.SagaCompensationFailed) {
	logger := c.options.Logger.With("component", c.options.Name, "domain", failed.TriggeringAggregate.GetDomain(),
		"sequence", failed.TriggeringEventSequence, "reason", failed.CompensationFailureReason)
	if c.options.Compensation.Escalate == nil {
		logger.ErrorContext(ctx, "a rejected command needs a person: set saga_compensation.escalation_webhook_url to be told elsewhere too")
		return
	}
	if err := c.options.Compensation.Escalate(ctx, failed); err != nil {
		logger.ErrorContext(ctx, "a rejected command needs a person, and the webhook could not be told", "error", err)
	}
}

// record stores the failure, once for each rejected command.
func (c *Coordinator) record(ctx context.Context, r *rejection, failed *pb.SagaCompensationFailed, outcome *Outcome) error {
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
	if _, err := c.handle(ctx, command); err != nil {
		return fmt.Errorf("record the failed compensation in %s: %w", domain, err)
	}
	outcome.stored = append(outcome.stored, command)
	return nil
}
