package inspect_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/payload"
)

// system is a running system of two services, written as functions.
type system struct {
	pb.UnimplementedBusinessCoordinatorServer
	pb.UnimplementedEventQueryServer
	handle    func(*pb.BusinessRequest) (*pb.CommandResponse, error)
	getEvents func(*pb.Query, grpc.ServerStreamingServer[pb.EventBook]) error
}

func (s *system) Handle(_ context.Context, request *pb.BusinessRequest) (*pb.CommandResponse, error) {
	return s.handle(request)
}

func (s *system) GetEvents(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	return s.getEvents(query, stream)
}

// client serves a system over memory and returns a Client of it.
func client(t *testing.T, s *system) *inspect.Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterBusinessCoordinatorServer(server, s)
	pb.RegisterEventQueryServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return inspect.New(conn, new(payload.Schema))
}

var (
	alice   = book.Key{Domain: "customer", Root: book.Root("customer", "alice@example.com")}
	noon    = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	created = &pb.EventBook{
		Cover: alice.Cover("alice@example.com"), CorrelationId: "c-1", Position: 8,
		Pages: []*pb.EventPage{
			{Sequence: &pb.EventPage_Num{Num: 0}, CreatedAt: timestamppb.New(noon), Event: packed(wrapperspb.String("Alice"))},
			{Sequence: &pb.EventPage_Num{Num: 1}, Event: &anypb.Any{TypeUrl: "x/shop.Unknown", Value: []byte{1}}},
		},
	}
	createdEvents = []inspect.Event{
		{
			Domain: "customer", AggregateID: "alice@example.com", Root: alice.Root.String(), Sequence: 0,
			Type: "google.protobuf.StringValue", TypeURL: "type.googleapis.com/google.protobuf.StringValue", CreatedAt: noon,
			CorrelationID: "c-1", Position: 8, Payload: []byte(`"Alice"`), Decoded: true,
		},
		{
			Domain: "customer", AggregateID: "alice@example.com", Root: alice.Root.String(), Sequence: 1,
			Type: "shop.Unknown", TypeURL: "x/shop.Unknown", CorrelationID: "c-1", Position: 8,
			Payload: []byte(`{"@type":"x/shop.Unknown","@value":"AQ=="}`),
		},
	}
)

func packed(message proto.Message) *anypb.Any {
	wrapped, err := anypb.New(message)
	if err != nil {
		panic(err)
	}
	return wrapped
}

func TestSendSaysEverythingAndReturnsWhatWasStored(t *testing.T) {
	t.Parallel()
	requests := make(chan *pb.BusinessRequest, 1)
	c := client(t, &system{handle: func(request *pb.BusinessRequest) (*pb.CommandResponse, error) {
		requests <- request
		return &pb.CommandResponse{Events: created, Projections: []*pb.Projection{
			{Projector: "receipt", Sequence: 1, Projection: packed(wrapperspb.Int64(1 << 60))}, {Projector: "quiet", Sequence: 1},
		}}, nil
	}})
	sent, err := c.Send(t.Context(), inspect.SendRequest{
		Domain: "customer", ID: "alice@example.com", Type: "CreateCustomer", JSON: []byte(`{"n":9007199254740993}`),
		Sync: inspect.SyncCascade, Sequence: proto.Uint32(0), CorrelationID: "mine", IdempotencyKey: "key",
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRequest := &pb.BusinessRequest{Command: &pb.BusinessCommand{
		Domain: "customer", AggregateId: "alice@example.com", TypeUrl: "CreateCustomer", JsonText: `{"n":9007199254740993}`,
		SyncMode: pb.SyncMode_SYNC_MODE_CASCADE, Sequence: proto.Uint32(0), CorrelationId: "mine", IdempotencyKey: "key",
	}}
	if diff := cmp.Diff(wantRequest, <-requests, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	want := inspect.Sent{
		Domain: "customer", ID: "alice@example.com", Root: alice.Root.String(), CorrelationID: "c-1", Events: createdEvents,
		Projections: []inspect.Projection{
			{Projector: "receipt", Sequence: 1, Type: "google.protobuf.Int64Value", Result: []byte(`"1152921504606846976"`), Decoded: true},
			{Projector: "quiet", Sequence: 1},
		},
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
}

func TestARefusalComesAsItIs(t *testing.T) {
	t.Parallel()
	c := client(t, &system{handle: func(*pb.BusinessRequest) (*pb.CommandResponse, error) {
		return nil, status.Error(codes.FailedPrecondition, "Customer already exists")
	}})
	_, err := c.Send(t.Context(), inspect.SendRequest{Domain: "customer", ID: "a", Type: "CreateCustomer"})
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message() != "Customer already exists" {
		t.Errorf("got %v", err)
	}
}

func TestEventsAsksForTheRangeAndFlattensTheBooks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request inspect.EventsRequest
		want    *pb.Query
	}{
		"everything": {inspect.EventsRequest{Domain: "customer", ID: "a"}, &pb.Query{Domain: "customer", AggregateId: "a"}},
		"a range": {
			inspect.EventsRequest{Domain: "customer", ID: "a", From: 3, To: proto.Uint32(5)},
			&pb.Query{Domain: "customer", AggregateId: "a", LowerBound: 3, AsOfSequence: proto.Uint32(5)},
		},
		"up to the first": {
			inspect.EventsRequest{Domain: "customer", ID: "a", To: proto.Uint32(0)},
			&pb.Query{Domain: "customer", AggregateId: "a", AsOfSequence: proto.Uint32(0)},
		},
		"as of a time": {
			inspect.EventsRequest{Domain: "customer", ID: "a", At: noon},
			&pb.Query{Domain: "customer", AggregateId: "a", AsOfTime: timestamppb.New(noon)},
		},
		"a correlation": {inspect.EventsRequest{CorrelationID: "c-1"}, &pb.Query{CorrelationId: "c-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			queries := make(chan *pb.Query, 1)
			system := &system{getEvents: func(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
				queries <- query
				if err := stream.Send(&pb.EventBook{Cover: created.Cover}); err != nil {
					return err
				}
				return stream.Send(created)
			}}
			var events []inspect.Event
			for event, err := range client(t, system).Events(t.Context(), c.request) {
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, event)
			}
			if diff := cmp.Diff(c.want, <-queries, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(createdEvents, events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnErrorEndsTheEventsAfterWhatHadCome(t *testing.T) {
	t.Parallel()
	c := client(t, &system{getEvents: func(_ *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
		if err := stream.Send(created); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the store is gone")
	}})
	var got []error
	for _, err := range c.Events(t.Context(), inspect.EventsRequest{Domain: "customer", ID: "a"}) {
		got = append(got, err)
	}
	if len(got) != 3 || got[0] != nil || got[1] != nil || status.Code(got[2]) != codes.Unavailable {
		t.Errorf("got %v, want two events and Unavailable", got)
	}
}

func TestLeavingTheEventsEndsTheCall(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	c := client(t, &system{getEvents: func(_ *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
		defer close(ended)
		for stream.Send(created) == nil {
		}
		return nil
	}})
	for range c.Events(t.Context(), inspect.EventsRequest{Domain: "customer", ID: "a"}) {
		break
	}
	<-ended
}
