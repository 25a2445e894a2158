// Package node puts one process's worth of roles together: it opens the drivers
// that the configuration names, builds the roles over them, connects them with
// each other and with the user's services, runs everything and stops it in
// order. It is the only package that knows drivers, roles and configuration at
// once.
package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/business"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventlog"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/stream"
	"github.com/angz-dev/angz/runtime/transport"
)

// Options describe a node.
type Options struct {
	Config *config.Config
	Logger *slog.Logger
	// Events is where the log role prints events; nil means nowhere.
	Events io.Writer
	// Color allows colours in Events.
	Color bool
	// Bus wraps the bus between the relay and the consumers; nil leaves it as it
	// is. Tests and the emulator's chaos use it.
	Bus func(Bus) Bus
}

// Node is all roles in one process. Open makes it, Run runs it.
type Node struct {
	options Options
	config  *config.Config
	logger  *slog.Logger

	store    eventstore.Store
	channel  *channel.Bus
	bus      Bus
	relay    *relay.Relay
	schema   *payload.Schema
	services []*Service

	commands   *aggregate.Coordinator
	friendly   *business.Server
	queries    *query.Server
	streams    *stream.Server
	events     *eventlog.Server
	door       *gateway.Gateway
	projectors []*projector.Coordinator
	sagas      []*saga.Coordinator

	memory      memory
	connections []*transport.Memory // all of memory's
	fronts      []*front
	ready       chan struct{}
}

// Endpoint is an address at which a node can be reached.
type Endpoint struct {
	Role    string // "aggregate", "query", "gateway", "stream", "log"
	Address string // host:port or the path of a socket
}

// Open opens the store, loads the schema and binds every address, so that what
// can be wrong with them is known before anything runs. The caller must call
// Run, or Close if it does not come to that.
func Open(ctx context.Context, options Options) (_ *Node, err error) {
	n := &Node{options: options, config: options.Config, logger: options.Logger, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.config.CheckDrivers([]string{"memory", "sqlite"}, []string{"channel"}); err != nil {
		return nil, err
	}
	for _, warning := range n.config.Warnings() {
		n.logger.Warn(warning)
	}
	for _, key := range unused(n.config) {
		n.logger.Warn("this version runs all roles in one process and does not act on a key of the configuration", "key", key)
	}
	if n.schema, err = n.loadSchema(ctx); err != nil {
		return nil, err
	}
	if n.store, err = n.openStore(ctx); err != nil {
		return nil, err
	}
	n.openBus()
	if err := n.build(); err != nil {
		return nil, err
	}
	return n, n.listen()
}

// Endpoints lists where the node listens, in the order in which people read it.
func (n *Node) Endpoints() []Endpoint {
	var endpoints []Endpoint
	for _, front := range n.fronts {
		for _, listener := range front.listeners {
			endpoints = append(endpoints, Endpoint{Role: front.role, Address: address(listener)})
		}
	}
	return endpoints
}

func address(listener net.Listener) string { return listener.Addr().String() }

// Gateway returns a connection to the node's gateway that stays inside the
// process.
func (n *Node) Gateway() grpc.ClientConnInterface { return n.memory.gateway }

// Projector returns a connection to the coordinator of the named projector that
// stays inside the process; false when there is no such projector.
func (n *Node) Projector(name string) (grpc.ClientConnInterface, bool) {
	connection, ok := n.memory.projectors[name]
	return connection, ok
}

// Store returns the node's event store.
func (n *Node) Store() eventstore.Store { return n.store }

// Hurry tells the node that a service answers at this address now, so that it is
// connected to at once.
func (n *Node) Hurry(address string) {
	for _, service := range n.services {
		if service.Address == address {
			service.client.Hurry()
		}
	}
}

// Ready is closed when the node takes commands and every service is reachable.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Close releases everything that Open opened. Run does it by itself.
func (n *Node) Close() error {
	var errs []error
	for _, front := range n.fronts {
		for _, listener := range front.listeners {
			if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	for _, service := range n.services {
		errs = append(errs, service.client.Close())
	}
	if n.channel != nil {
		errs = append(errs, n.channel.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
