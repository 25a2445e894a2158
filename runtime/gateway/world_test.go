package gateway_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/transport"
)

// system stands for everything behind a gateway: coordinators, event stream and
// log. What a test does not set behaves well.
type system struct {
	pb.UnimplementedAggregateCoordinatorServer
	pb.UnimplementedEventStreamServer
	pb.UnimplementedEventQueryServer
	handle    func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error)
	settle    func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error)
	subscribe func(*pb.EventStreamFilter, grpc.ServerStreamingServer[pb.EventBook]) error

	mu       sync.Mutex
	log      []*pb.EventBook
	watchers map[chan *pb.EventBook]string
	roots    []*pb.AggregateRoot
}

func newSystem() *system { return &system{watchers: map[chan *pb.EventBook]string{}} }

// append stores a book that has no position yet. Nobody hears of it.
func (s *system) append(events *pb.EventBook) *pb.EventBook {
	s.mu.Lock()
	defer s.mu.Unlock()
	events.Position = uint64(len(s.log) + 1)
	s.log = append(s.log, events)
	return events
}

// show hands a book to whoever watches its correlation.
func (s *system) show(events *pb.EventBook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for books, correlation := range s.watchers {
		if correlation == events.CorrelationId {
			books <- events
		}
	}
}

func (s *system) watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watchers)
}

func (s *system) Handle(ctx context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
	return s.handle(ctx, command)
}

func (s *system) HandleSync(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	if s.settle == nil {
		return &pb.CommandResponse{}, nil
	}
	return s.settle(ctx, request)
}

func (s *system) Subscribe(filter *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	if s.subscribe != nil {
		return s.subscribe(filter, stream)
	}
	books := make(chan *pb.EventBook, 1024)
	s.mu.Lock()
	s.watchers[books] = filter.CorrelationId
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, books)
	}()
	if err := stream.SendHeader(metadata.Pairs("subscribed", "true")); err != nil {
		return err
	}
	for {
		select {
		case events := <-books:
			if err := stream.Send(events); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *system) GetEvents(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	s.mu.Lock()
	log := s.log
	s.mu.Unlock()
	for _, events := range log {
		if query.CorrelationId != "" && events.CorrelationId != query.CorrelationId ||
			query.Domain != "" && events.Cover.Domain != query.Domain {
			continue
		}
		if err := stream.Send(events); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) GetEventBook(_ context.Context, query *pb.Query) (*pb.EventBook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, events := range s.log {
		if events.Cover.Domain == query.Domain {
			return events, nil
		}
	}
	return &pb.EventBook{Cover: &pb.Cover{Domain: query.Domain, Root: query.Root}}, nil
}

func (s *system) GetAggregateRoots(_ *emptypb.Empty, stream grpc.ServerStreamingServer[pb.AggregateRoot]) error {
	for _, root := range s.roots {
		if err := stream.Send(root); err != nil {
			return err
		}
	}
	return nil
}

// serve registers services on a gRPC server over memory and returns a
// connection to it.
func serve(t *testing.T, register func(grpc.ServiceRegistrar)) grpc.ClientConnInterface {
	t.Helper()
	if strings.HasSuffix(t.Name(), "/memory") {
		memory := transport.NewMemory()
		register(memory)
		return memory
	}
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	register(server)
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		work.Wait()
	})
	return conn
}

func (s *system) serve(t *testing.T) grpc.ClientConnInterface {
	return serve(t, func(registrar grpc.ServiceRegistrar) {
		pb.RegisterAggregateCoordinatorServer(registrar, s)
		pb.RegisterEventStreamServer(registrar, s)
		pb.RegisterEventQueryServer(registrar, s)
	})
}

// open serves a gateway before the system and returns a connection to it.
func open(t *testing.T, s *system) grpc.ClientConnInterface {
	t.Helper()
	conn := s.serve(t)
	return door(t, gateway.Options{
		Routes: gateway.Routes{"order": conn, "inventory": conn},
		Stream: pb.NewEventStreamClient(conn),
		Query:  pb.NewEventQueryClient(conn),
	})
}

func door(t *testing.T, options gateway.Options) grpc.ClientConnInterface {
	t.Helper()
	return serve(t, gateway.New(options).Register)
}

// command returns a command in domain order that has a correlation id.
func command(correlation string) *pb.CommandBook {
	return &pb.CommandBook{
		Cover:         book.Key{Domain: "order", Root: [16]byte{1}}.Cover(""),
		Pages:         []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "examples.CreateOrder"}}},
		CorrelationId: correlation,
	}
}

// events returns a book of numbered events of an aggregate in a domain.
func events(domain, correlation string, from, to uint32) *pb.EventBook {
	list := &pb.EventBook{Cover: book.Key{Domain: domain, Root: [16]byte{1}}.Cover(""), CorrelationId: correlation}
	for num := from; num <= to; num++ {
		list.Pages = append(list.Pages, &pb.EventPage{
			Sequence: &pb.EventPage_Num{Num: num}, Event: &anypb.Any{TypeUrl: "examples.Happened"},
		})
	}
	return list
}

func execute(t *testing.T, ctx context.Context, conn grpc.ClientConnInterface, command *pb.CommandBook) grpc.ServerStreamingClient[pb.EventBook] {
	t.Helper()
	books, err := pb.NewCommandGatewayClient(conn).Execute(ctx, command)
	if err != nil {
		t.Fatal(err)
	}
	return books
}

// drain reads a stream to its end.
func drain[T any](stream grpc.ServerStreamingClient[T]) ([]*T, *status.Status) {
	var got []*T
	for {
		answer, err := stream.Recv()
		if err != nil {
			if failed := status.Convert(err); err.Error() != "EOF" {
				return got, failed
			}
			return got, status.New(codes.OK, "")
		}
		got = append(got, answer)
	}
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func sameStatus(t *testing.T, want, got *status.Status) {
	t.Helper()
	if want.Code() == codes.OK && got.Code() == codes.OK {
		return // OK has more than one form
	}
	same(t, "status", want.Proto(), got.Proto())
}

// expectStream reads a stream to its end and compares it with what is expected,
// and with how long it should have taken.
func expectStream(t *testing.T, stream grpc.ServerStreamingClient[pb.EventBook], code codes.Code, after time.Duration, want ...*pb.EventBook) {
	t.Helper()
	began := time.Now()
	got, ended := drain(stream)
	same(t, "books", want, got)
	if ended.Code() != code {
		t.Errorf("the stream ended with %v, expected %s", ended, code)
	}
	if took := time.Since(began); took != after {
		t.Errorf("the stream ended after %s, expected %s", took, after)
	}
}
