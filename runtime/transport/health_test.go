package transport_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/transport"
)

func TestWhoWatchesTheHealthDoesNotHoldTheServerUp(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{Grace: time.Minute}), listenTCP(t)
	stop := serve(t, server, listener)
	conn := dial(t, listener.Addr().String(), transport.DialOptions{})
	stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("at the beginning: %v, %v", first, err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("stopping took %s", took)
	}
	for err == nil {
		_, err = stream.Recv() // it may have been told NOT_SERVING again
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watcher was told %v", err)
	}
}
