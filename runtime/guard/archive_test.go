package guard_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

type streamOf struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream is
}

func (s streamOf) Context() context.Context { return s.ctx }

// Whoever exports reads everything, and whoever imports writes history.
func TestOnlyAdministratorsExportAndImport(t *testing.T) {
	t.Parallel()
	for _, method := range []string{pb.Archive_Export_FullMethodName, pb.Archive_Import_FullMethodName} {
		for token, want := range map[string]codes.Code{opsToken: codes.OK, webToken: codes.PermissionDenied, "wrong": codes.Unauthenticated} {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token))
			err := shop(t).Stream()(nil, streamOf{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method}, func(any, grpc.ServerStream) error { return nil })
			if status.Code(err) != want {
				t.Errorf("%s by %q: got %v, want %s", method, token, err, want)
			}
		}
	}
}
