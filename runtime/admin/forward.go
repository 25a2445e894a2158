package admin

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Forward serves Admin at a door that has no store, by asking a process that has
// one. caller says who calls at this door, empty when that is not known; nil when
// it never is.
func Forward(to pb.AdminClient, caller func(ctx context.Context) string) pb.AdminServer {
	if caller == nil {
		caller = func(context.Context) string { return "" }
	}
	return &forward{to: to, caller: caller}
}

type forward struct {
	pb.UnimplementedAdminServer
	to     pb.AdminClient
	caller func(ctx context.Context) string
}

func (f *forward) ListDeadLetters(ctx context.Context, query *pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
	return f.to.ListDeadLetters(ctx, query)
}

func (f *forward) GetDeadLetter(ctx context.Context, place *pb.DeadLetterPlace) (*pb.DeadLetter, error) {
	return f.to.GetDeadLetter(ctx, place)
}

func (f *forward) Retry(ctx context.Context, decision *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	return f.to.Retry(ctx, f.signed(ctx, decision))
}

func (f *forward) Skip(ctx context.Context, decision *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	return f.to.Skip(ctx, f.signed(ctx, decision))
}

func (f *forward) ListSubscriptions(ctx context.Context, query *pb.SubscriptionQuery) (*pb.SubscriptionList, error) {
	return f.to.ListSubscriptions(ctx, query)
}

func (f *forward) Pause(ctx context.Context, decision *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	return f.to.Pause(ctx, f.signedPause(ctx, decision))
}

func (f *forward) Resume(ctx context.Context, decision *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	return f.to.Resume(ctx, f.signedPause(ctx, decision))
}

func (f *forward) Rewind(ctx context.Context, rewind *pb.SubscriptionRewind) (*pb.SubscriptionControl, error) {
	if by := f.caller(ctx); by != "" {
		rewind = proto.CloneOf(rewind)
		rewind.By = by
	}
	return f.to.Rewind(ctx, rewind)
}

func (f *forward) signedPause(ctx context.Context, decision *pb.SubscriptionDecision) *pb.SubscriptionDecision {
	if by := f.caller(ctx); by != "" {
		decision = proto.CloneOf(decision)
		decision.By = by
	}
	return decision
}

// signed returns the decision with the name of who makes it, where that is known.
func (f *forward) signed(ctx context.Context, decision *pb.DeadLetterDecision) *pb.DeadLetterDecision {
	by := f.caller(ctx)
	if by == "" {
		return decision
	}
	signed := proto.CloneOf(decision)
	signed.By = by
	return signed
}
