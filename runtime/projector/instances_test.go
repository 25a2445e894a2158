package projector_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// named is a projector's service that says which instance called it.
type named struct {
	pb.UnimplementedProjectorServer
	name string
}

func (n named) Handle(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
	if events.Pages[0].Event.TypeUrl == "x/Poison" {
		return nil, status.Error(codes.DataLoss, "the receipts have burnt")
	}
	return &pb.Projection{Projection: &anypb.Any{TypeUrl: "x/By", Value: []byte(n.name)}}, nil
}

// instances starts two instances of one projector that reach each other by name,
// and returns when each holds half of the slices.
func (w *world) instances() (map[string]*projector.Coordinator, map[string]*transport.Memory) {
	w.Helper()
	coordinators, doors := map[string]*projector.Coordinator{}, map[string]*transport.Memory{}
	for _, name := range []string{"one", "two"} {
		service := transport.NewMemory()
		pb.RegisterProjectorServer(service, named{name: name})
		doors[name] = transport.NewMemory()
		coordinators[name] = projector.New(projector.Options{
			Name: "receipt", Service: pb.NewProjectorClient(service),
			Delivery: delivery.Options[*pb.Projection]{
				Store: w.store, Bus: w.bus, Query: w.query, Retryable: rpcerr.Retryable, Absent: transport.Unreachable, Slices: 8, Address: name,
			},
			Peers: func(_ context.Context, address string) (grpc.ClientConnInterface, error) { return doors[address], nil },
		})
		pb.RegisterProjectorCoordinatorServer(doors[name], coordinators[name])
	}
	for _, coordinator := range coordinators {
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
		go func() { done <- coordinator.Run(ctx) }()
		w.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				w.Error(err)
			}
		})
	}
	time.Sleep(time.Minute)
	return coordinators, doors
}

func TestAnInstanceAnswersForAllAggregates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		coordinators, _ := w.instances()
		by := map[string]int{}
		for n := range byte(40) {
			events := w.appendEvents(book.Key{Domain: "order", Root: uuid.UUID{15: n}}, 0, "c", "x/Placed")
			projection, err := coordinators["one"].HandleSync(t.Context(), &pb.SyncEventBook{Events: events, SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
			if err != nil {
				t.Fatal(err)
			}
			by[string(projection.Projection.GetValue())]++
			if _, err := coordinators["two"].Handle(t.Context(), events); err != nil {
				t.Fatal(err)
			}
		}
		if by["one"] < 5 || by["two"] < 5 || by["one"]+by["two"] != 40 {
			t.Errorf("answers by instance: %v", by)
		}
	})
}

func TestWhatAnotherInstancesServiceSaysReachesTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		coordinators, _ := w.instances()
		for n := range byte(10) {
			events := w.appendEvents(book.Key{Domain: "order", Root: uuid.UUID{15: n}}, 0, "c", "x/Poison")
			for name, coordinator := range coordinators {
				_, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: events})
				if status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "the receipts have burnt" {
					t.Errorf("asked %s: %v", name, err)
				}
			}
		}
	})
}

func TestAnInstanceThatDoesNotHoldTheSliceSaysSoToAPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, doors := w.instances()
		refused := 0
		for n := range byte(20) {
			key := book.Key{Domain: "order", Root: uuid.UUID{15: n}}
			_, err := pb.NewProjectorCoordinatorClient(doors["one"]).HandleSync(delivery.ToPeer(t.Context()), &pb.SyncEventBook{Events: w.appendEvents(key, 0, "c", "x/Placed")})
			if errors.Is(delivery.FromPeer(err), delivery.ErrElsewhere) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if refused == 0 || refused == 20 {
			t.Errorf("%d of 20 were refused", refused)
		}
	})
}
