package service

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// ledger is a domain that counts: its state is the sum of what was added.
var ledger = Aggregate[uint32]{
	Handle: func(command proto.Message, sum *uint32) (Events, error) {
		switch command := command.(type) {
		case *shoppb.AddStock:
			return Events{&shoppb.StockAdded{Quantity: command.Quantity, Available: *sum + command.Quantity}}, nil
		case *shoppb.ReserveStock:
			return nil, Reject("Only %d in stock", *sum)
		case *pb.RevokeEventCommand:
			return nil, &Revocation{&pb.RevocationResponse{Escalate: true, Reason: "no way back"}}
		}
		return nil, Unhandled(command)
	},
	Apply: func(sum *uint32, event proto.Message) {
		if added, ok := event.(*shoppb.StockAdded); ok {
			*sum = added.Available
		}
	},
}

var cover = &pb.Cover{Domain: "ledger", Root: &pb.UUID{Value: []byte("0123456789abcdef")}}

func TestAggregateDecidesEachPageOnWhatTheOneBeforeLedTo(t *testing.T) {
	t.Parallel()
	response, err := handle(t, []proto.Message{&shoppb.StockAdded{Available: 5}}, &shoppb.AddStock{Quantity: 2}, &shoppb.AddStock{Quantity: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.EventBook{Cover: cover, Pages: []*pb.EventPage{
		{Event: pack(t, &shoppb.StockAdded{Quantity: 2, Available: 7})},
		{Event: pack(t, &shoppb.StockAdded{Quantity: 3, Available: 10})},
	}}
	if diff := cmp.Diff(want, response.GetEvents(), protocmp.Transform()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAggregateAnswersWithARevocation(t *testing.T) {
	t.Parallel()
	response, err := handle(t, nil, &pb.RevokeEventCommand{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.RevocationResponse{Escalate: true, Reason: "no way back"}
	if diff := cmp.Diff(want, response.GetRevocation(), protocmp.Transform()); diff != "" {
		t.Errorf("revocation (-want +got):\n%s", diff)
	}
}

func TestAggregateRejects(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		command *anypb.Any
		code    codes.Code
		message string
	}{
		"in the words of the rule":           {pack(t, &shoppb.ReserveStock{}), codes.FailedPrecondition, "Only 0 in stock"},
		"a command that it has no rule for":  {pack(t, &shoppb.CreateOrder{}), codes.Unimplemented, "no handler for command examples.CreateOrder"},
		"a command that it has never met":    {&anypb.Any{TypeUrl: "type.examples/examples.New"}, codes.Unimplemented, "no handler for command examples.New"},
		"a command of no type":               {&anypb.Any{}, codes.InvalidArgument, ""},
		"a command that makes no sense":      {&anypb.Any{TypeUrl: "examples.AddStock", Value: []byte{255}}, codes.InvalidArgument, ""},
		"a reservation, whatever the prefix": {&anypb.Any{TypeUrl: "type.angzarr/examples.ReserveStock"}, codes.FailedPrecondition, "Only 0 in stock"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := dial(t, ledger).Handle(t.Context(), &pb.ContextualCommand{
				Command: &pb.CommandBook{Cover: cover, Pages: []*pb.CommandPage{{Command: test.command}}},
			})
			if code := status.Code(err); code != test.code {
				t.Fatalf("code %v (%v), want %v", code, err, test.code)
			}
			if message := status.Convert(err).Message(); test.message != "" && message != test.message {
				t.Errorf("message %q, want %q", message, test.message)
			}
		})
	}
}

func TestAggregateDecidesNothingOnAHistoryThatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	_, err := dial(t, ledger).Handle(t.Context(), &pb.ContextualCommand{
		Events:  &pb.EventBook{Pages: []*pb.EventPage{{Event: &anypb.Any{TypeUrl: "examples.New"}}}},
		Command: &pb.CommandBook{Cover: cover, Pages: []*pb.CommandPage{{Command: pack(t, &shoppb.AddStock{Quantity: 1})}}},
	})
	if status.Code(err) != codes.Internal {
		t.Errorf("got %v, want INTERNAL", err)
	}
}

func TestSagaSendsWhatFollowsAndIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	saga := sagaServer{rules: Saga{React: func(_ proto.Message, id string) []Command {
		return []Command{{"inventory", "prod-1", &shoppb.ReleaseStock{OrderId: id}}}
	}}}
	response, err := saga.Handle(t.Context(), &pb.EventBook{Cover: cover, Pages: []*pb.EventPage{
		{Event: &anypb.Any{TypeUrl: "examples.New"}},
		{Event: pack(t, &shoppb.OrderCancelled{})},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.SagaResponse{Commands: []*pb.CommandBook{{
		Cover:          &pb.Cover{Domain: "inventory", AggregateId: "prod-1"},
		Pages:          []*pb.CommandPage{{Command: pack(t, &shoppb.ReleaseStock{OrderId: "30313233-3435-3637-3839-616263646566"})}},
		AutoResequence: true,
	}}}
	if diff := cmp.Diff(want, response, protocmp.Transform()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestServiceListensWhereTheEnvironmentSays(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TRANSPORT_TYPE", "uds")
	t.Setenv("UDS_BASE_PATH", folder)
	t.Setenv("SERVICE_NAME", "saga")
	t.Setenv("SAGA_NAME", "reservation")
	path := filepath.Join(folder, "saga-reservation.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // a socket left behind
		t.Fatal(err)
	}
	listener, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	if address := listener.Addr().String(); address != path {
		t.Errorf("listens on %s, want %s", address, path)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}

	t.Setenv("TRANSPORT_TYPE", "tcp")
	t.Setenv("PORT", "0")
	listener, err = listen()
	if err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(listener.Addr().String()); host != "127.0.0.1" {
		t.Errorf("listens on %s (%v), want loopback", listener.Addr(), err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}

	t.Setenv("PORT", "")
	if _, err := listen(); err == nil {
		t.Error("no error without a port")
	}
}

func TestServiceIsHealthyAndStopsWhenTold(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	connection, done := start(ctx, t, ledger)
	answer, err := healthpb.NewHealthClient(connection).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", answer, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func handle(t *testing.T, history []proto.Message, commands ...proto.Message) (*pb.BusinessResponse, error) {
	request := &pb.ContextualCommand{Events: &pb.EventBook{Cover: cover}, Command: &pb.CommandBook{Cover: cover}}
	for i, event := range history {
		request.Events.Pages = append(request.Events.Pages, &pb.EventPage{
			Sequence: &pb.EventPage_Num{Num: uint32(i)},
			Event:    pack(t, event),
		})
	}
	for _, command := range commands {
		request.Command.Pages = append(request.Command.Pages, &pb.CommandPage{Command: pack(t, command)})
	}
	return dial(t, ledger).Handle(t.Context(), request)
}

func dial(t *testing.T, aggregate Aggregate[uint32]) pb.AggregateClient {
	connection, _ := start(t.Context(), t, aggregate)
	return pb.NewAggregateClient(connection)
}

// start serves an aggregate on a port of its own until ctx ends.
func start(ctx context.Context, t *testing.T, aggregate Aggregate[uint32]) (*grpc.ClientConn, <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done <- serve(ctx, listener, func(server grpc.ServiceRegistrar) {
			pb.RegisterAggregateServer(server, aggregateServer[uint32]{rules: aggregate})
		})
	}()
	t.Cleanup(func() {
		if err := connection.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		<-finished
	})
	return connection, done
}

func pack(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(message)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
