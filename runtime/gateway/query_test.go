package gateway_test

import (
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/gateway"
)

// at sets the time of a book.
func at(events *pb.EventBook, second int64) *pb.EventBook {
	for _, page := range events.Pages {
		page.CreatedAt = timestamppb.New(time.Unix(second, 0))
	}
	return events
}

// twoLogs opens a gateway before two systems that keep logs of their own.
func twoLogs(t *testing.T, orders, inventory *system) grpc.ClientConnInterface {
	t.Helper()
	order := orders.serve(t)
	return door(t, gateway.Options{
		Routes: gateway.Routes{"order": order, "customer": order, "inventory": inventory.serve(t)},
		Stream: pb.NewEventStreamClient(order),
	})
}

func TestQueriesGoToTheLogOfTheirDomain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		orders, inventory := newSystem(), newSystem()
		order, stock := orders.append(events("order", "c", 0, 1)), inventory.append(events("inventory", "c", 0, 2))
		client := pb.NewEventQueryClient(twoLogs(t, orders, inventory))
		for domain, want := range map[string]*pb.EventBook{"order": order, "inventory": stock} {
			got, err := client.GetEventBook(t.Context(), &pb.Query{Domain: domain})
			if err != nil {
				t.Fatal(err)
			}
			same(t, domain, want, got)
			stream, err := client.GetEvents(t.Context(), &pb.Query{Domain: domain})
			if err != nil {
				t.Fatal(err)
			}
			expectStream(t, stream, codes.OK, 0, want)
		}
	})
}

func TestQueriesGoToTheOneLogThereIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		stored := s.append(events("shipping", "c", 0, 1)) // a domain without a coordinator
		client := pb.NewEventQueryClient(open(t, s))
		got, err := client.GetEventBook(t.Context(), &pb.Query{Domain: "shipping"})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "book", stored, got)
		stream, err := client.GetEvents(t.Context(), &pb.Query{CorrelationId: "c"})
		if err != nil {
			t.Fatal(err)
		}
		expectStream(t, stream, codes.OK, 0, stored)
	})
}

func TestQueryWithoutALogSaysWhy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		client := pb.NewEventQueryClient(twoLogs(t, newSystem(), newSystem()))
		_, err := client.GetEventBook(t.Context(), &pb.Query{Domain: "shipping"})
		sameStatus(t, status.New(codes.NotFound, "No service registered for domain: shipping (known: customer, inventory, order)"), status.Convert(err))
		if _, err = client.GetEventBook(t.Context(), &pb.Query{}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("got %v", err)
		}
		stream, err := client.GetEvents(t.Context(), &pb.Query{})
		if err != nil {
			t.Fatal(err)
		}
		expectStream(t, stream, codes.InvalidArgument, 0)
	})
}

func TestSynchronizeAnswersEachQueryInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		orders, inventory := newSystem(), newSystem()
		order, stock := orders.append(events("order", "c", 0, 1)), inventory.append(events("inventory", "c", 0, 2))
		stream, err := pb.NewEventQueryClient(twoLogs(t, orders, inventory)).Synchronize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var sending sync.WaitGroup
		sending.Go(func() {
			for _, domain := range []string{"inventory", "order", "inventory"} {
				if err := stream.Send(&pb.Query{Domain: domain}); err != nil {
					t.Error(err)
				}
			}
			if err := stream.CloseSend(); err != nil {
				t.Error(err)
			}
		})
		expectStream(t, stream, codes.OK, 0, stock, order, stock)
		sending.Wait()
	})
}

func TestCorrelationIsReadFromAllLogsInTheOrderOfTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		orders, inventory := newSystem(), newSystem()
		first := orders.append(at(events("order", "c", 0, 0), 1))
		second := inventory.append(at(events("inventory", "c", 0, 0), 2))
		third := orders.append(at(events("customer", "c", 0, 0), 3))
		inventory.append(at(events("inventory", "other", 1, 1), 4))
		fifth := inventory.append(at(events("inventory", "c", 2, 2), 5))
		stream, err := pb.NewEventQueryClient(twoLogs(t, orders, inventory)).GetEvents(t.Context(), &pb.Query{CorrelationId: "c"})
		if err != nil {
			t.Fatal(err)
		}
		expectStream(t, stream, codes.OK, 0, first, second, third, fifth)
	})
}

func TestExecuteReadsTheRestFromAllLogs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		orders, inventory := newSystem(), newSystem()
		orders.append(events("order", "c", 0, 3)) // before the command
		own := events("order", "c", 4, 4)
		orders.answer(own)
		effect := inventory.append(events("inventory", "c", 0, 0))
		stream := execute(t, t.Context(), twoLogs(t, orders, inventory), command("c"))
		expectStream(t, stream, codes.OK, 0, own, effect)
	})
}

func TestRootsOfAllLogsAreListedInOrderAndOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		root := func(domain string, first byte) *pb.AggregateRoot {
			value := make([]byte, 16)
			value[0] = first
			return &pb.AggregateRoot{Domain: domain, Root: &pb.UUID{Value: value}}
		}
		orders, inventory := newSystem(), newSystem()
		orders.roots = []*pb.AggregateRoot{root("customer", 3), root("order", 1), root("order", 2)}
		inventory.roots = []*pb.AggregateRoot{root("inventory", 9), root("order", 1), root("zebra", 0)}
		stream, err := pb.NewEventQueryClient(twoLogs(t, orders, inventory)).GetAggregateRoots(t.Context(), &emptypb.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		got, ended := drain(stream)
		same(t, "roots", []*pb.AggregateRoot{
			root("customer", 3), root("inventory", 9), root("order", 1), root("order", 2), root("zebra", 0),
		}, got)
		sameStatus(t, status.New(codes.OK, ""), ended)
	})
}
