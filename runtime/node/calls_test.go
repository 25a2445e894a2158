package node_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

func TestCallsForAComponentPassWhatTheOptionsPutBetween(t *testing.T) {
	t.Parallel()
	order, stock := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut), runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut)
	saga := runtimetest.Saga(t, func(context.Context, *pb.EventBook) (*pb.SagaResponse, error) {
		return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command("stock", "p1", 0, "Reserve"))}}, nil
	})
	projector := runtimetest.Projector(t, func(context.Context, *pb.EventBook) (*pb.Projection, error) { return nil, nil })
	calls := &callLog{}
	n := startWith(t, node.Options{Calls: calls.wrap}, nil, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "order", Address: order.Address()}, {Name: "stock", Address: stock.Address()}}
		c.Sagas = []config.Service{{Name: "fulfil", Address: saga.Address(), Domains: []string{"order"}}}
		c.Projectors = []config.Service{{Name: "receipt", Address: projector.Address(), Domains: []string{"order"}}}
	})
	if _, err := pb.NewCommandGatewayClient(n.Gateway()).ExecuteSync(t.Context(), &pb.SyncCommandBook{
		Command: runtimetest.Command("order", "o1", 0, "Place"), SyncMode: pb.SyncMode_SYNC_MODE_CASCADE,
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"domain/order /angzarr.Aggregate/Handle", "domain/stock /angzarr.Aggregate/Handle", "projector/receipt /angzarr.Projector/Handle",
		"saga/fulfil /angzarr.AggregateCoordinator/Handle", "saga/fulfil /angzarr.AggregateCoordinator/HandleSync", "saga/fulfil /angzarr.Saga/Handle",
	}
	if diff := cmp.Diff(want, calls.sorted()); diff != "" {
		t.Error(diff)
	}
}

// callLog notes calls, each once.
type callLog struct {
	mu    sync.Mutex
	calls map[string]bool
}

func (l *callLog) wrap(component string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return loggedConn{conn, l, component}
}

func (l *callLog) sorted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var calls []string
	for call := range l.calls {
		calls = append(calls, call)
	}
	slices.Sort(calls)
	return calls
}

type loggedConn struct {
	grpc.ClientConnInterface
	log       *callLog
	component string
}

func (c loggedConn) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	c.log.mu.Lock()
	if c.log.calls == nil {
		c.log.calls = map[string]bool{}
	}
	c.log.calls[c.component+" "+method] = true
	c.log.mu.Unlock()
	return c.ClientConnInterface.Invoke(ctx, method, request, response, options...)
}
