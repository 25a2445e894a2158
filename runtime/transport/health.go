package transport

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// watchable is a health service that lets go of those who watch it when the
// server stops. Their streams have no end of their own, so each of them would
// hold the server up for the whole grace period.
type watchable struct {
	*health.Server
	stopping chan struct{}
}

func newWatchable() *watchable {
	return &watchable{health.NewServer(), make(chan struct{})}
}

// letGo says NOT_SERVING from now on and ends all watching. It is called once.
func (w *watchable) letGo() {
	w.Shutdown()
	close(w.stopping)
}

// Watch tells about the health until the caller leaves or the server stops.
func (w *watchable) Watch(request *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-w.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := w.Server.Watch(request, watching{stream, ctx})
	cancel()
	<-ended
	select {
	case <-w.stopping:
		return status.Error(codes.Unavailable, "the server stops")
	default:
		return err
	}
}

// watching is a stream that may end before its caller wants it to.
type watching struct {
	grpc.ServerStreamingServer[healthpb.HealthCheckResponse]
	ctx context.Context //nolint:containedctx // what a stream's Context returns
}

func (w watching) Context() context.Context { return w.ctx }
