package saga_test

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

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/transport"
)

// twins is two instances of one saga over one store, which reach each other by
// name, and the aggregates that each one's commands go to.
type twins struct {
	*testing.T
	store        *sqlite.Store
	coordinators map[string]*saga.Coordinator
	targets      map[string]*targets
}

// ruled is a saga's service in the same place.
type ruled struct {
	pb.UnimplementedSagaServer
	rules react
}

func (r ruled) Handle(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	return &pb.SagaResponse{Commands: r.rules(events)}, nil
}

func newTwins(t *testing.T, answer func(*pb.CommandBook) (*pb.CommandResponse, error), fallback *pb.RevocationResponse) *twins {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	road, doors := channel.New(), map[string]*transport.Memory{}
	w := &twins{T: t, store: store, coordinators: map[string]*saga.Coordinator{}, targets: map[string]*targets{}}
	running := []func(context.Context) error{relay.New(relay.Options{Log: store, Publisher: road}).Run}
	for _, name := range []string{"one", "two"} {
		memory, door := transport.NewMemory(), transport.NewMemory()
		w.targets[name] = &targets{answer: answer, sync: func(*pb.SyncCommandBook) error { return nil }, told: make(chan struct{}, 1000)}
		pb.RegisterSagaServer(memory, ruled{rules: always(command("s1"))})
		pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: store}))
		pb.RegisterAggregateCoordinatorServer(memory, w.targets[name])
		coordinator := saga.New(saga.Options{
			Name: "reserve", Service: pb.NewSagaClient(memory), Commands: pb.NewAggregateCoordinatorClient(memory),
			Compensation: saga.Compensation{FailureDomain: "failures", Fallback: fallback},
			Delivery: delivery.Options[*saga.Outcome]{
				Store: store, Bus: road, Query: pb.NewEventQueryClient(memory), Domains: []string{"order"},
				Retryable: rpcerr.Retryable, Absent: transport.Unreachable, Slices: 8, Address: name,
			},
			Peers: func(_ context.Context, address string) (grpc.ClientConnInterface, error) { return doors[address], nil },
		})
		doors[name], w.coordinators[name] = door, coordinator
		pb.RegisterSagaCoordinatorServer(door, coordinator)
		running = append(running, coordinator.Run)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, len(running))
	for _, run := range running {
		go func() { ended <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, <-ended, road.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(time.Minute) // then each holds half of the slices
	return w
}

func (w *twins) append(root byte) *pb.EventBook {
	w.Helper()
	stored := &world{T: w.T, store: w.store}
	return stored.appendTo(book.Key{Domain: "order", Root: uuid.UUID{15: root}}, 0, "x/Placed")
}

func TestAnInstanceAnswersForAllAggregates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, accept, nil)
		for n := range byte(20) {
			events := w.append(n)
			for _, name := range []string{"one", "two"} {
				response, err := w.coordinators[name].HandleSync(t.Context(), &pb.SyncEventBook{Events: events, SyncMode: pb.SyncMode_SYNC_MODE_CASCADE})
				if err != nil || len(response.GetCommands()) != 1 {
					t.Errorf("asked %s: %v, %v", name, response, err)
				}
			}
			if _, err := w.coordinators["one"].Handle(t.Context(), events); err != nil {
				t.Error(err)
			}
		}
		total := 0
		for name, sent := range w.targets {
			commands := len(sent.seen())
			if commands == 0 {
				t.Errorf("%s has sent nothing", name)
			}
			// Whoever has sent a command waits for what it causes, once for each
			// of the two who asked.
			if len(sent.waited) != 2*commands {
				t.Errorf("%s has sent %d commands and waited %d times", name, commands, len(sent.waited))
			}
			total += commands
		}
		if total != 20 {
			t.Errorf("%d commands for 20 books", total)
		}
	})
}

func TestAnAbortReachesWhoeverAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuse := func(*pb.CommandBook) (*pb.CommandResponse, error) {
			return nil, status.Error(codes.FailedPrecondition, "sold out")
		}
		w := newTwins(t, refuse, &pb.RevocationResponse{Abort: true})
		for n := range byte(10) {
			events := w.append(n)
			for name, coordinator := range w.coordinators {
				_, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: events, SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
				if status.Code(err) != codes.Aborted {
					t.Errorf("asked %s: %v", name, err)
				}
			}
		}
		positions, err := w.store.Positions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		holders := map[string]int{}
		for _, position := range positions {
			holders[position.Address]++
		}
		if holders["one"] != 4 || holders["two"] != 4 {
			t.Errorf("slices by instance: %v", holders)
		}
	})
}
