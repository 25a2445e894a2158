package rpcerr_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

var key = book.Key{Domain: "customer", Root: uuid.UUID{15: 1}}

// said returns what a caller is told, in full.
func said(t *testing.T, code codes.Code, message string, details ...proto.Message) *spb.Status {
	t.Helper()
	s := &spb.Status{Code: int32(code), Message: message}
	for _, detail := range details {
		packed, err := anypb.New(detail)
		if err != nil {
			t.Fatal(err)
		}
		s.Details = append(s.Details, packed)
	}
	return s
}

func TestWhatACallerIsTold(t *testing.T) {
	t.Parallel()
	revocation := &pb.RevocationResponse{Escalate: true, Reason: "too late"}
	refused := rpcerr.Revoked(revocation)
	overloaded := fmt.Errorf("append: %w", eventstore.ErrOverloaded)
	away := &errdetails.ErrorInfo{Reason: "STORE_UNAVAILABLE", Domain: "angzarr"}
	for _, c := range []struct {
		name      string
		err       error
		want      *spb.Status
		retryable bool
	}{
		{"nothing", nil, nil, false},
		{"a status", status.Error(codes.NotFound, "no such customer"), said(t, codes.NotFound, "no such customer"), false},
		{"a wrapped status", fmt.Errorf("ask: %w", status.Error(codes.NotFound, "no such customer")), said(t, codes.NotFound, "no such customer"), false},
		{"a status among others", errors.Join(errors.New("a"), status.Error(codes.Aborted, "b")), said(t, codes.Aborted, "b"), true},
		{"a wrapped status with details", fmt.Errorf("ask: %w", refused), said(t, codes.FailedPrecondition, "Command revoked: too late", revocation), false},
		{"a bad message", fmt.Errorf("read: %w", &book.Invalid{Field: "cover", Found: "nothing", Want: "a cover"}),
			said(t, codes.InvalidArgument, "read: cover: found nothing, expected a cover"), false},
		{"a lost race", fmt.Errorf("append: %w", &eventstore.Conflict{Key: key, Want: 3, Next: 5}),
			said(t, codes.Aborted, "append: append to customer/00000000-0000-0000-0000-000000000001: expects number 3, the aggregate is at 5"), true},
		{"taken over", eventstore.ErrFenced, said(t, codes.Aborted, "the subscription has been taken over"), true},
		{"too much", overloaded, said(t, codes.ResourceExhausted, overloaded.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(100e6)}, away), true},
		{"store away", eventstore.ErrUnavailable, said(t, codes.Unavailable, eventstore.ErrUnavailable.Error(), away), true},
		{"store closed", fmt.Errorf("append: %w", eventstore.ErrClosed), said(t, codes.Unavailable, "append: the event store is closed", away), true},
		{"out of time", fmt.Errorf("wait: %w", context.DeadlineExceeded), said(t, codes.DeadlineExceeded, "wait: context deadline exceeded"), true},
		{"gone away", context.Canceled, said(t, codes.Canceled, "context canceled"), false},
		{"anything else", io.ErrUnexpectedEOF, said(t, codes.Internal, "unexpected EOF"), false},
	} {
		got := rpcerr.Status(c.err)
		if diff := cmp.Diff(c.want, status.Convert(got).Proto(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if code := rpcerr.Code(c.err); code != codes.Code(c.want.GetCode()) {
			t.Errorf("%s: code %s", c.name, code)
		}
		if rpcerr.Retryable(c.err) != c.retryable {
			t.Errorf("%s: retryable %v", c.name, !c.retryable)
		}
		_, unary := rpcerr.UnaryServer()(t.Context(), nil, nil, func(context.Context, any) (any, error) { return nil, c.err })
		stream := rpcerr.StreamServer()(nil, nil, nil, func(any, grpc.ServerStream) error { return c.err })
		if !errors.Is(unary, got) || !errors.Is(stream, got) {
			t.Errorf("%s: the interceptors say %v and %v", c.name, unary, stream)
		}
	}
}

func TestAMismatchSaysBothNumbers(t *testing.T) {
	t.Parallel()
	want := said(t, codes.FailedPrecondition, "Sequence mismatch: command expects 3, aggregate at 5", &errdetails.ErrorInfo{
		Reason: "SEQUENCE_MISMATCH", Domain: "angzarr", Metadata: map[string]string{
			"domain": "customer", "root": "00000000-0000-0000-0000-000000000001", "expected_sequence": "3", "next_sequence": "5",
		},
	})
	if diff := cmp.Diff(want, status.Convert(rpcerr.Mismatch(key, 3, 5)).Proto(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestARevocationComesBackOutOfItsError(t *testing.T) {
	t.Parallel()
	want := &pb.RevocationResponse{SendToDeadLetterQueue: true, Abort: true, Reason: "sold"}
	if diff := cmp.Diff(want, rpcerr.Revocation(fmt.Errorf("send: %w", rpcerr.Revoked(want))), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, err := range []error{nil, io.EOF, status.Error(codes.FailedPrecondition, "no"), rpcerr.Mismatch(key, 1, 2)} {
		if got := rpcerr.Revocation(err); got != nil {
			t.Errorf("%v holds %v", err, got)
		}
	}
}

func TestAnAbortDoesNotPass(t *testing.T) {
	t.Parallel()
	abort := rpcerr.Abort("saga reserve: no")
	for _, c := range []struct {
		err           error
		abort, stored bool
	}{
		{abort, true, false},
		{fmt.Errorf("wait: %w", abort), true, false},
		{rpcerr.Stored(abort), true, true},
		{status.Error(codes.Aborted, "a lost race"), false, false},
		{nil, false, false},
	} {
		if rpcerr.IsAbort(c.err) != c.abort || rpcerr.IsStored(c.err) != c.stored || rpcerr.Retryable(c.err) != (c.err != nil && !c.abort) {
			t.Errorf("%v: abort %v, stored %v, retryable %v", c.err, rpcerr.IsAbort(c.err), rpcerr.IsStored(c.err), rpcerr.Retryable(c.err))
		}
	}
	if said := status.Convert(abort); said.Code() != codes.Aborted || said.Message() != "saga reserve: no" {
		t.Error(abort)
	}
}

func TestStoredKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	own := &errdetails.ErrorInfo{Reason: "MINE", Domain: "shop"}
	revocation := &pb.RevocationResponse{Reason: "sold"}
	said, err := status.New(codes.DeadlineExceeded, "slow").WithDetails(own, revocation)
	if err != nil {
		t.Fatal(err)
	}
	stored := rpcerr.Stored(rpcerr.Stored(said.Err()))
	want := []any{own, revocation, &errdetails.ErrorInfo{Reason: "EVENTS_STORED", Domain: "angzarr", Metadata: map[string]string{"events_stored": "true"}}}
	if diff := cmp.Diff(want, status.Convert(stored).Details(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if !rpcerr.IsStored(stored) || !rpcerr.Retryable(stored) || rpcerr.IsStored(said.Err()) || rpcerr.Stored(nil) != nil {
		t.Errorf("%v", stored)
	}
	mismatch := status.Convert(rpcerr.Stored(rpcerr.Mismatch(key, 1, 2))).Details()[0].(*errdetails.ErrorInfo)
	if mismatch.Reason != "SEQUENCE_MISMATCH" || mismatch.Metadata["events_stored"] != "true" || mismatch.Metadata["next_sequence"] != "2" {
		t.Errorf("%v", mismatch)
	}
}

// A saga whose target's store is away must not fill the dead letters, so the news
// has to survive the way over other processes.
func TestAStoreThatIsAwayIsRecognisedBehindAnyNumberOfHops(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"here":                      {fmt.Errorf("append: %w", eventstore.ErrUnavailable), true},
		"as a status":               {rpcerr.Status(fmt.Errorf("append: %w", eventstore.ErrUnavailable)), true},
		"as a status of a status":   {rpcerr.Status(rpcerr.Status(eventstore.ErrUnavailable)), true},
		"too busy":                  {rpcerr.Status(eventstore.ErrOverloaded), true},
		"a service that is away":    {status.Error(codes.Unavailable, "no"), false},
		"a refusal":                 {status.Error(codes.FailedPrecondition, "no"), false},
		"a service's own exhausted": {status.Error(codes.ResourceExhausted, "no"), false},
		"nothing":                   {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := rpcerr.StoreAway(c.err); got != c.want {
				t.Errorf("got %t for %v", got, c.err)
			}
		})
	}
}
