package transport_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// A held door tells callers that they have not been heard, and can be opened in
// earnest afterwards, with no moment at which nobody listens.
func TestAHeldDoorOpensLater(t *testing.T) {
	t.Parallel()
	for _, address := range []transport.Address{
		{Network: "tcp", Address: "127.0.0.1:0"},
		{Network: "unix", Address: filepath.Join(runtimetest.Folder(t), "held.sock")},
	} {
		t.Run(address.Network, func(t *testing.T) {
			t.Parallel()
			listener, err := transport.Listen(address)
			if err != nil {
				t.Fatal(err)
			}
			client, err := transport.Dial(dialAddress(listener), transport.DialOptions{Name: "domain order"})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()

			held, open := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- transport.Hold(held, transport.ServerOptions{}, "domain order waits for its store", listener)
			}()
			checkHealth(t, client, healthpb.HealthCheckResponse_NOT_SERVING)
			err = client.Invoke(t.Context(), "/angzarr.AggregateCoordinator/Handle", &emptypb.Empty{}, &emptypb.Empty{})
			if !transport.Unreachable(err) || status.Convert(err).Message() != "domain order waits for its store" {
				t.Errorf("got %v, want the reason and that the call was not seen", err)
			}
			open()
			if err := <-done; err != nil {
				t.Fatal(err)
			}

			server := transport.NewServer(transport.ServerOptions{})
			ctx, stop := context.WithCancel(t.Context())
			go func() { done <- server.Run(ctx, listener) }()
			server.SetServing(true)
			checkHealth(t, client, healthpb.HealthCheckResponse_SERVING)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func dialAddress(listener net.Listener) string { return listener.Addr().String() }

func checkHealth(t *testing.T, on grpc.ClientConnInterface, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	for {
		answer, err := healthpb.NewHealthClient(on).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if transport.Unreachable(err) || transport.Broken(err) || status.Code(err) == codes.Unavailable {
			continue // between the two servers
		}
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != want {
			t.Fatalf("health says %s, want %s", answer.Status, want)
		}
		return
	}
}
