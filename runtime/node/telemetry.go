package node

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/transport"
)

// openDebug opens the page behind the scenes.
func (n *Node) openDebug() (err error) {
	address := n.config.Debug.Address
	if address == config.Off || n.options.Telemetry == nil {
		return nil
	}
	n.debug, err = observe.ListenDebug(observe.DebugOptions{
		Address: address, Chosen: n.config.Origin("debug.address") != "default", Missing: n.waiting.list,
		Metrics: n.options.Telemetry.Metrics(), Logger: observe.Component(n.logger, "debug"),
	})
	return err
}

// waiting is what the process waits for, as the debug page shows it.
type waiting struct {
	mu   sync.Mutex
	what []string
}

func (w *waiting) set(what []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what = what
}

func (w *waiting) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.what
}

// count has the store's standings among the metrics.
func (n *Node) count() {
	metrics := n.options.Telemetry.Metrics()
	if n.store == nil {
		return
	}
	metrics.Head(n.store.Head)
	metrics.Subscriptions(delivery.Standings(n.store))
	metrics.Store(true)
	metrics.Bus(true)
}

// watchBus notes whether the broker is there. It is no dependency: without it
// events are late, and commands go on.
func (n *Node) watchBus(ctx context.Context) error {
	watched, ok := n.broker.(interface {
		Watch(ctx context.Context, tell func(up bool)) error
	})
	if !ok {
		return nil
	}
	if err := watched.Watch(ctx, n.options.Telemetry.Metrics().Bus); ctx.Err() == nil {
		return err
	}
	return nil
}

// traced returns a connection whose calls belong to the traces of their callers.
func (n *Node) traced(client *transport.Client, component string) grpc.ClientConnInterface {
	if component == "" {
		return n.options.Telemetry.Client(client)
	}
	return n.options.Telemetry.Client(client, slog.String(observe.KeyComponent, component))
}
