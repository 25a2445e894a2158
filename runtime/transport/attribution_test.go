package transport_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// A service that is a gRPC client itself passes on what its own connections say.
// That is no trouble of the connection to the service.
func TestTroubleOfTheServicesOwnConnectionsIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:5432: connect: connection refused"`,
		`connection error: desc = "error reading server preface: EOF"`, "error reading from server: EOF", "transport is closing",
		"the connection is draining",
	} {
		want, calls := status.New(codes.Unavailable, message), atomic.Int32{}
		service := runtimetest.Aggregate(t, func(context.Context, *pb.ContextualCommand) (*pb.BusinessResponse, error) {
			calls.Add(1)
			return nil, want.Err()
		})
		err := ask(t.Context(), dial(t, service.Address(), transport.DialOptions{}))
		if diff := cmp.Diff(want.Proto(), status.Convert(err).Proto(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if calls.Load() != 1 {
			t.Errorf("%q: the service was asked %d times", message, calls.Load())
		}
	}
}

// Whatever a restart does to a call, the caller learns whether it was looked at.
func TestEveryCallThatMeetsARestartIsTold(t *testing.T) {
	t.Parallel()
	const restarts, callers = 20, 16
	served, entered := atomic.Int64{}, make(chan struct{}, 1)
	service := runtimetest.Aggregate(t, func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		served.Add(1)
		select {
		case entered <- struct{}{}:
		default:
		}
		return runtimetest.LeavesNumbersOut(ctx, r)
	})
	client := dial(t, service.Address(), transport.DialOptions{})
	var answered, broken atomic.Int64
	var group sync.WaitGroup
	done := make(chan struct{})
	for range callers {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				switch err := ask(t.Context(), client); {
				case err == nil:
					answered.Add(1)
				case transport.Broken(err):
					broken.Add(1)
				case !transport.Unreachable(err):
					t.Errorf("told %v", err)
				}
			}
		})
	}
	for range restarts {
		<-entered
		service.Stop()
		service.Start()
	}
	close(done)
	group.Wait()
	if got := served.Load(); got < answered.Load() || got > answered.Load()+broken.Load() {
		t.Errorf("served %d times, answered %d, broken %d", got, answered.Load(), broken.Load())
	}
}

func TestACallThatAStoppingPythonServerGivesUpIsBroken(t *testing.T) {
	t.Parallel()
	for said, want := range map[*status.Status]string{
		status.New(codes.Unavailable, "Cancelling all calls"): "Cancelling all calls",
		status.New(codes.Canceled, "CANCELLED"):               "the service stopped",
	} {
		service := runtimetest.Aggregate(t, runtimetest.Refuses(said))
		err := ask(t.Context(), dial(t, service.Address(), transport.DialOptions{}))
		expect(t, err, codes.Unavailable, "the connection to domain order's service at .* broke during the call: "+want)
		if !transport.Broken(err) {
			t.Errorf("%v is not recognised", said)
		}
	}
	// What a service says in its own words is its own.
	service := runtimetest.Aggregate(t, runtimetest.Refuses(status.New(codes.Canceled, "the order was cancelled")))
	if err := ask(t.Context(), dial(t, service.Address(), transport.DialOptions{})); transport.Broken(err) {
		t.Errorf("%v passes for a broken connection", err)
	}
}
