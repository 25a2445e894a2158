package node_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// start runs a node with these keys set, on free ports and in memory unless they
// say otherwise, and waits until it takes commands.
func start(t testing.TB, set map[string]string, edit func(*config.Config)) *node.Node {
	t.Helper()
	return startWith(t, node.Options{}, set, edit)
}

// startWith is start with more options.
func startWith(t testing.TB, options node.Options, set map[string]string, edit func(*config.Config)) *node.Node {
	t.Helper()
	all := map[string]string{
		"storage.type": "memory", "server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
	}
	for key, value := range set {
		all[key] = value
	}
	loaded, err := config.Load(config.Options{Dir: runtimetest.Folder(t), Set: all, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	edit(loaded)
	options.Config = loaded
	if options.Logger == nil {
		if options.Logger, err = observe.New(observe.Options{Writer: t.Output(), Directives: "warn"}); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := node.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- opened.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	}))
	select {
	case <-opened.Ready():
	case <-time.After(time.Minute):
		t.Fatal("the node did not become ready")
	}
	return opened
}

func TestACommandGoesThroughToItsEffects(t *testing.T) {
	t.Parallel()
	orders := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut)
	stock := runtimetest.Aggregate(t, runtimetest.CountsPages)
	saga := runtimetest.Saga(t, func(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
		return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command("stock", "p1", 0, "Reserve"))}}, nil
	})
	projector := runtimetest.Projector(t, func(context.Context, *pb.EventBook) (*pb.Projection, error) { return nil, nil })
	n := start(t, nil, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "orders", Address: orders.Address()}, {Name: "stock", Address: stock.Address()}}
		c.Sagas = []config.Service{{Name: "reserve", Address: saga.Address(), Domains: []string{"orders"}}}
		c.Projectors = []config.Service{{Name: "receipt", Address: projector.Address()}}
	})
	client := pb.NewCommandGatewayClient(n.Gateway())
	response, err := client.ExecuteSync(t.Context(), &pb.SyncCommandBook{
		Command: runtimetest.Command("orders", "o1", 0, "Place"), SyncMode: pb.SyncMode_SYNC_MODE_CASCADE,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(response.Events.Pages) != 1 || len(response.Projections) != 1 {
		t.Errorf("got %v", response)
	}
	stream, err := client.Execute(t.Context(), runtimetest.Command("orders", "o1", 1, "Place"))
	if err != nil {
		t.Fatal(err)
	}
	books := receive(t, stream)
	if len(books) != 2 || books[0].Cover.Domain != "orders" || books[1].Cover.Domain != "stock" {
		t.Errorf("Execute streamed %v", books)
	}
}

func receive(t *testing.T, stream grpc.ServerStreamingClient[pb.EventBook]) (books []*pb.EventBook) {
	t.Helper()
	for {
		events, err := stream.Recv()
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatal(err)
			}
			return books
		}
		books = append(books, events)
	}
}

func TestKeysWithoutEffectAreNotPassedOverInSilence(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load(config.Options{Dir: runtimetest.Folder(t), Dev: true, Set: map[string]string{
		"storage.type": "memory", "gateway.command_address": "localhost:1", "server.aggregate_port": "0", "server.event_query_port": "0",
		"gateway.port": "0", "stream.port": "0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	logger, err := observe.New(observe.Options{Writer: &said, Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := node.Open(t.Context(), node.Options{Config: loaded, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "gateway.command_address") {
		t.Errorf("the log says only:\n%s", &said)
	}
}
