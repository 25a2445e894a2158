package transport_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// A server is replaced behind an address that stays open: who comes in between
// waits, and is served by the next one.
func TestADoorOutlivesItsServer(t *testing.T) {
	t.Parallel()
	for _, address := range []transport.Address{
		{Network: "tcp", Address: "127.0.0.1:0"},
		{Network: "unix", Address: filepath.Join(runtimetest.Folder(t), "door.sock")},
	} {
		t.Run(address.Network, func(t *testing.T) {
			t.Parallel()
			var doors transport.Doors
			first, stop := serveBehind(t, &doors, address)
			stop()
			waiting, err := transport.Dial(dialAddress(first), transport.DialOptions{Name: "angz"})
			if err != nil {
				t.Fatal(err)
			}
			defer waiting.Close()
			answered := make(chan error, 1)
			go func() {
				_, err := healthpb.NewHealthClient(waiting).Check(t.Context(), &healthpb.HealthCheckRequest{})
				answered <- err
			}()
			if err := doors.Change(); err != nil {
				t.Fatal(err)
			}
			second, stop := serveBehind(t, &doors, address)
			if got, want := second.Addr().String(), first.Addr().String(); got != want {
				t.Errorf("the second server is at %s, the first was at %s", got, want)
			}
			if err := <-answered; err != nil {
				t.Errorf("who waited was told %v", err)
			}
			stop()
			if err := doors.Close(); err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial(address.Network, first.Addr().String()); err == nil {
				conn.Close()
				t.Error("the address is still open")
			}
		})
	}
}

func TestADoorThatNobodyWantsAnyMoreIsClosed(t *testing.T) {
	t.Parallel()
	var doors transport.Doors
	t.Cleanup(func() { doors.Close() })
	address := transport.Address{Network: "tcp", Address: "127.0.0.1:0"}
	var listeners []net.Listener
	for range 2 { // two of any free port are two
		listener, err := doors.Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listener)
	}
	if err := doors.Change(); err != nil {
		t.Fatal(err)
	}
	again, err := doors.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := doors.Prune(); err != nil {
		t.Fatal(err)
	}
	if again.Addr().String() != listeners[0].Addr().String() {
		t.Errorf("the first door is now %s, it was %s", again.Addr(), listeners[0].Addr())
	}
	if conn, err := net.Dial("tcp", listeners[1].Addr().String()); err == nil {
		conn.Close()
		t.Error("the second door is still open")
	}
}

// serveBehind runs a server and returns how to stop it.
func serveBehind(t *testing.T, doors *transport.Doors, address transport.Address) (net.Listener, func()) {
	t.Helper()
	listener, err := doors.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	server := transport.NewServer(transport.ServerOptions{})
	server.SetServing(true)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listener) }()
	return listener, func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
