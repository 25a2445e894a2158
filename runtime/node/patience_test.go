package node_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

func TestACommandOutlivesARestartOfItsService(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 10)
	var calls atomic.Int32
	orders := runtimetest.Aggregate(t, func(ctx context.Context, command *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		if calls.Add(1) == 1 {
			entered <- struct{}{}
			<-ctx.Done() // it dies under the call
			return nil, ctx.Err()
		}
		return runtimetest.CountsPages(ctx, command)
	})
	log := &heard{said: make(chan struct{})}
	n := startWith(t, node.Options{Patience: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))}, nil, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "orders", Address: orders.Address(), Timeout: time.Minute}}
	})
	answered := make(chan error, 1)
	go func() {
		_, err := pb.NewCommandGatewayClient(n.Gateway()).ExecuteSync(t.Context(), &pb.SyncCommandBook{
			Command: runtimetest.Command("orders", "o1", 0, "Place"), SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE,
		})
		answered <- err
	}()
	<-entered
	orders.Stop()
	<-log.said
	orders.Start()
	n.Hurry(orders.Address())
	if err := <-answered; err != nil {
		t.Errorf("the command failed: %v", err)
	}
	if got := calls.Load(); got != 2 {
		t.Errorf("the service was asked %d times", got)
	}
}

// heard waits for the line that says that calls wait.
type heard struct {
	once sync.Once
	said chan struct{}
}

func (h *heard) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "calls wait for orders until it is back") {
		h.once.Do(func() { close(h.said) })
	}
	return len(line), nil
}
