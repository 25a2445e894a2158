// Package rpcerr is the one table from Go errors to what a gRPC caller is told,
// and the one place that reads such answers back.
package rpcerr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// retryDelay is what a caller is told to wait when too much is waiting.
const retryDelay = 100 * time.Millisecond

// Status returns the error as a gRPC status. A status passes as it is, also out
// of an error that wraps it: what a user's service said reaches the caller word
// for word.
func Status(err error) error {
	if err == nil {
		return nil
	}
	var said interface {
		error
		GRPCStatus() *status.Status
	}
	if errors.As(err, &said) {
		return said
	}
	if errors.Is(err, eventstore.ErrOverloaded) {
		return with(status.New(codes.ResourceExhausted, err.Error()),
			&errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)}, &errdetails.ErrorInfo{Reason: reasonStoreAway, Domain: domain})
	}
	plain := status.New(code(err), err.Error())
	if plain.Code() == codes.Unavailable {
		return with(plain, &errdetails.ErrorInfo{Reason: reasonStoreAway, Domain: domain})
	}
	return plain.Err()
}

// reasonStoreAway travels as a detail, so that it is understood behind any number
// of hops.
const reasonStoreAway = "STORE_UNAVAILABLE"

// StoreAway reports whether an error says that an event store, here or in the
// process that was called, cannot be reached or has too much to do now: it says
// nothing about what was asked of it.
func StoreAway(err error) bool {
	if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrOverloaded) {
		return true
	}
	said, ok := status.FromError(err)
	if !ok || said.Code() != codes.Unavailable && said.Code() != codes.ResourceExhausted {
		return false
	}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == domain && info.Reason == reasonStoreAway {
			return true
		}
	}
	return false
}

func code(err error) codes.Code {
	var invalid *book.Invalid
	var conflict *eventstore.Conflict
	switch {
	case errors.As(err, &invalid):
		return codes.InvalidArgument
	case errors.As(err, &conflict), errors.Is(err, eventstore.ErrFenced):
		return codes.Aborted
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrClosed):
		return codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Internal
}

// Code returns the code that a caller is told for the error.
func Code(err error) codes.Code { return status.Code(Status(err)) }

// Mismatch says that a command was made on another state than the aggregate's.
func Mismatch(key book.Key, expects, next uint32) error {
	return with(status.Newf(codes.FailedPrecondition, "Sequence mismatch: command expects %d, aggregate at %d", expects, next),
		&errdetails.ErrorInfo{Reason: "SEQUENCE_MISMATCH", Domain: domain, Metadata: map[string]string{
			"domain": key.Domain, "root": key.Root.String(),
			"expected_sequence": fmt.Sprint(expects), "next_sequence": fmt.Sprint(next),
		}})
}

// Revoked says that the service refuses a command and what it wants done.
func Revoked(revocation *pb.RevocationResponse) error {
	return with(status.Newf(codes.FailedPrecondition, "Command revoked: %s", revocation.GetReason()), revocation)
}

// Revocation reads back what Revoked says, nil for any other error.
func Revocation(err error) *pb.RevocationResponse {
	for _, detail := range status.Convert(err).Details() {
		if revocation, ok := detail.(*pb.RevocationResponse); ok {
			return revocation
		}
	}
	return nil
}

// domain and the reasons are how angz marks its own errors for itself.
const (
	domain       = "angzarr"
	reasonAbort  = "SAGA_ABORT"
	reasonStored = "EVENTS_STORED"
	metaStored   = "events_stored"
)

// Abort says to a caller who waits for a saga that a command of the saga was
// refused and that this could not be made good. It says nothing about the moment:
// trying again does not help.
func Abort(message string) error {
	return with(status.New(codes.Aborted, message), &errdetails.ErrorInfo{Reason: reasonAbort, Domain: domain})
}

// IsAbort reports whether an error is, or passes on, an Abort.
func IsAbort(err error) bool {
	info := marks(err)
	return info.GetReason() == reasonAbort
}

// Stored marks an error of a command whose events are stored all the same: what
// failed is only the waiting for what they cause.
func Stored(err error) error {
	if err == nil {
		return nil
	}
	said := status.Convert(Status(err)).Proto()
	info := marks(status.FromProto(said).Err())
	if info == nil {
		info = &errdetails.ErrorInfo{Reason: reasonStored, Domain: domain}
	}
	if info.Metadata == nil {
		info.Metadata = map[string]string{}
	}
	info.Metadata[metaStored] = "true"
	said.Details = slices.DeleteFunc(said.Details, func(detail *anypb.Any) bool {
		var other errdetails.ErrorInfo
		return detail.MessageIs(&other) && detail.UnmarshalTo(&other) == nil && other.Domain == domain
	})
	return with(status.FromProto(said), info)
}

// IsStored reports whether an error says that the command's events are stored all
// the same, so that the command has not been refused.
func IsStored(err error) bool { return marks(err).GetMetadata()[metaStored] == "true" }

// marks returns what angz says about an error to itself, a copy; nil for nothing.
func marks(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == domain {
			return info
		}
	}
	return nil
}

// with adds details, or leaves them out when they cannot be written: the code
// and message matter more.
func with(plain *status.Status, details ...protoadapt.MessageV1) error {
	if detailed, err := plain.WithDetails(details...); err == nil {
		return detailed.Err()
	}
	return plain.Err()
}

// Retryable reports whether an error says something about the moment rather
// than about the request. The Abort of a saga does not.
func Retryable(err error) bool {
	if IsAbort(err) {
		return false
	}
	switch Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	return false
}

// UnaryServer applies Status to what handlers return.
func UnaryServer() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		response, err := handler(ctx, request)
		return response, Status(err)
	}
}

// StreamServer applies Status to what handlers return.
func StreamServer() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return Status(handler(server, stream))
	}
}
