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
	"time"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/business"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventlog"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/explore"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/observe"
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
	// Role is what the process serves, one of config.Roles; empty is "all".
	Role string
	// Name is the component that a process of the role projector, saga or
	// aggregate serves, empty when the configuration leaves no choice.
	Name   string
	Logger *slog.Logger
	// Telemetry traces and counts what the node does; nil for neither.
	Telemetry *observe.Telemetry
	// Observer is told what becomes of every command; nil for nobody.
	Observer observe.Observer
	// Events is where the log role prints events; nil means nowhere.
	Events io.Writer
	// Color allows colours in Events, EventLines prints each on one line.
	Color, EventLines bool
	// Bus wraps the bus between the relay and the consumers; nil leaves it as it
	// is. Tests and the emulator's chaos use it.
	Bus func(Bus) Bus
	// Calls wraps the connections on which calls are made for a component, such as
	// domain/order or saga/fulfil: those of its service, and a saga's commands. Nil
	// leaves them as they are. The emulator's chaos uses it.
	Calls func(component string, conn grpc.ClientConnInterface) grpc.ClientConnInterface
	// Listen opens an address; nil is transport.Listen. The emulator keeps
	// addresses open while it replaces a node.
	Listen func(transport.Address) (net.Listener, error)
	// Patience is for services that somebody works on: how long a call waits for
	// one that is not there, which is then said in the log. Zero is 5 s, silently.
	Patience time.Duration
}

// Stores and Buses are the types of stores and buses that this version has
// drivers for, as storage.type and messaging.type name them.
var (
	Stores = []string{"memory", "sqlite", "postgres"}
	Buses  = []string{"channel", "amqp"}
)

// Node is the roles of one process. Open makes it, Run runs it.
type Node struct {
	options Options
	config  *config.Config
	logger  *slog.Logger
	parts   parts

	store    eventstore.Store
	bus      Bus
	closeBus func() error
	relay    *relay.Relay // nil when this process publishes nothing
	schema   payload.Current
	services []*Service
	others   map[string]*transport.Client // coordinators and streams of other processes, by address
	peers    peers

	dependencies []dependency
	waiting      waiting
	tls          *transport.TLS // nil for none
	guard, inner *guard.Guard   // of the gateway and of the other doors; nil for none
	debug        *observe.Debug
	broker       Bus // before anything wraps it
	admin        pb.AdminServer
	explorer     pb.ExplorerServer
	replays      map[string]explore.Domain // whose services can be asked for states here, by name
	archive      pb.ArchiveServer
	gate         gate // before this process's sagas

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

// Open binds every address, loads the schema and opens the store, so that what
// can be wrong with them is known before anything runs. A store that is not
// there yet is waited for; whoever asks meanwhile is told so. The caller must
// call Run, or Close if it does not come to that.
func Open(ctx context.Context, options Options) (_ *Node, err error) {
	if options.Role == "" {
		options.Role = "all"
	}
	if options.Listen == nil {
		options.Listen = transport.Listen
	}
	n := &Node{
		options: options, config: options.Config, logger: options.Logger, parts: partsOf(options.Config, options.Role, options.Name),
		others: map[string]*transport.Client{}, ready: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := n.ReloadSchema(ctx); err != nil {
		return nil, err
	}
	if err := n.protect(); err != nil {
		return nil, err
	}
	if err := n.bind(); err != nil {
		return nil, err
	}
	if err := n.openDebug(); err != nil {
		return nil, err
	}
	n.describeDoors(ctx)
	n.waiting.set([]string{"the database"})
	if err := n.openStore(ctx); err != nil {
		return nil, err
	}
	if err := n.openBus(); err != nil {
		return nil, err
	}
	if err := n.build(); err != nil {
		return nil, err
	}
	n.openDoors()
	n.count()
	return n, nil
}

// check refuses what this node cannot do and warns of what it will not.
func (n *Node) check() error {
	if err := n.config.CheckDrivers(Stores, Buses); err != nil {
		return err
	}
	for _, warning := range n.config.Warnings() {
		n.logger.Warn(warning)
	}
	for _, key := range unused(n.config, n.parts.all()) {
		n.logger.Warn("this version does not act on a key of the configuration", "key", key)
	}
	return nil
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
	if err := n.debug.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, err)
	}
	for _, service := range n.services {
		errs = append(errs, service.client.Close())
	}
	for _, other := range n.others {
		errs = append(errs, other.Close())
	}
	errs = append(errs, n.peers.close())
	if n.closeBus != nil {
		errs = append(errs, n.closeBus())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
