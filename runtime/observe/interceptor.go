package observe

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// UnaryServer logs the calls that fail: as warnings where the server is at
// fault or overburdened, else, when a caller was only told no, for debugging.
// It never logs payloads.
func UnaryServer(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		ctx = uncorrelated(ctx)
		response, err := handler(ctx, request)
		if err != nil {
			logFailure(ctx, logger, info.FullMethod, time.Since(start), err, request)
		}
		return response, err
	}
}

// StreamServer does for streams what UnaryServer does for single calls.
func StreamServer(logger *slog.Logger) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		ctx := uncorrelated(stream.Context())
		err := handler(server, within{stream, ctx})
		// Who watches the health hears of the server's end in this way.
		if err != nil && info.FullMethod != healthpb.Health_Watch_FullMethodName {
			logFailure(ctx, logger, info.FullMethod, time.Since(start), err, nil)
		}
		return err
	}
}

func logFailure(ctx context.Context, logger *slog.Logger, method string, took time.Duration, err error, request any) {
	code := status.Code(err)
	level := levelFor(code)
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(KeyMethod, method), slog.String(KeyCode, code.String()),
		slog.Duration(KeyDuration, took), slog.String(KeyError, status.Convert(err).Message()),
	}
	logger.LogAttrs(ctx, level, "call failed", append(attrs, subject(request)...)...)
}

// levelFor tells what the operator should know of from what the caller alone
// can change.
func levelFor(code codes.Code) slog.Level {
	switch code {
	case codes.Unknown, codes.Internal, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// subject returns what a request says about the aggregate and workflow it is for.
func subject(request any) []slog.Attr {
	switch wrapped := request.(type) {
	case *pb.SyncCommandBook:
		request = wrapped.GetCommand()
	case *pb.SyncEventBook:
		request = wrapped.GetEvents()
	}
	var attrs []slog.Attr
	switch about := request.(type) {
	case interface{ GetCover() *pb.Cover }:
		attrs = append(attrs, slog.String(KeyDomain, about.GetCover().GetDomain()))
	case interface{ GetDomain() string }:
		attrs = append(attrs, slog.String(KeyDomain, about.GetDomain()))
	}
	if about, ok := request.(interface{ GetCorrelationId() string }); ok && about.GetCorrelationId() != "" {
		attrs = append(attrs, slog.String(KeyCorrelation, about.GetCorrelationId()))
	}
	return attrs
}
