package node

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/transport"
)

// Bus is both ends of a bus.
type Bus interface {
	bus.Publisher
	bus.Subscriber
}

// openStore opens the store that the configuration names. While a database is
// not there the doors say so to whoever knocks.
func (n *Node) openStore(ctx context.Context) error {
	if !n.parts.store {
		return nil
	}
	if n.config.Storage.Type != "postgres" {
		return n.openSQLite(ctx)
	}
	group := &errgroup.Group{}
	held, release := context.WithCancel(ctx)
	for _, front := range n.fronts {
		group.Go(func() error {
			return transport.Hold(held, n.serverOptions(front.role), n.options.Role+" is starting: it waits for its database", front.listeners...)
		})
	}
	store, err := postgres.Open(ctx, postgres.Options{
		URI: n.config.Storage.Postgres.URI, Migrate: n.config.Storage.Postgres.Migrate, MaxConnections: n.config.Storage.Postgres.MaxConnections,
		CorrelationIndex: n.config.Storage.CorrelationIndex, Metrics: n.options.Telemetry.Metrics(), Logger: observe.Component(n.logger, "eventstore"),
	})
	if err == nil {
		n.store = store // not a nil *postgres.Store in an interface
	}
	release()
	return errors.Join(err, group.Wait())
}

func (n *Node) openSQLite(ctx context.Context) error {
	storage := n.config.Storage
	options := sqlite.Options{CorrelationIndex: storage.CorrelationIndex, Metrics: n.options.Telemetry.Metrics(), Logger: observe.Component(n.logger, "eventstore")}
	if storage.Type == "sqlite" {
		options.Path = n.inProject(storage.SQLite.Path)
	}
	store, err := sqlite.Open(ctx, options)
	if err != nil {
		return err
	}
	n.store = store
	return nil
}

// shared reports whether other processes read and write the same log.
func (n *Node) shared() bool { return n.config.Storage.Type == "postgres" }

// inProject returns a path of the configuration as seen from its file.
func (n *Node) inProject(path string) string {
	if path == "" || path == ":memory:" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(n.config.Dir, path)
}

// openBus opens what carries events to this process's consumers, and the relay
// that hands them to it. Without a broker each process that consumes has a bus of
// its own; a broker's relay runs where events are stored.
func (n *Node) openBus() error {
	broker := n.config.Messaging.Type == "amqp"
	if !n.parts.consumes() && (!broker || !n.parts.commands) {
		return nil
	}
	options := relay.Options{Log: n.store, Telemetry: n.options.Telemetry, Logger: observe.Component(n.logger, "relay")}
	if broker {
		opened, err := amqp.Open(amqp.Options{
			URL: n.config.Messaging.AMQP.URL, Exchange: n.config.Messaging.AMQP.Exchange, QueuePrefix: n.config.Messaging.AMQP.QueuePrefix,
			QueueType: n.config.Messaging.AMQP.QueueType, Prefetch: n.config.Messaging.AMQP.Prefetch,
			Epoch: n.store.Epoch(), ConnectionName: "angz " + n.options.Role, Logger: observe.Component(n.logger, "bus"),
		})
		if err != nil {
			return err
		}
		n.bus, n.closeBus = opened, opened.Close
		options.Subscription, options.Subscriptions = "relay/amqp", n.store
	} else {
		opened := channel.New()
		n.bus, n.closeBus = opened, opened.Close
	}
	n.broker = n.bus
	if n.options.Bus != nil {
		n.bus = n.options.Bus(n.bus)
	}
	if !broker || n.parts.commands {
		options.Publisher = n.bus
		n.relay = relay.New(options)
	}
	return nil
}

// ReloadSchema reads the .proto files that describe the messages. With a mistake
// in them the schema stays what it was.
func (n *Node) ReloadSchema(ctx context.Context) error {
	var folders []string
	for _, folder := range n.config.Protos {
		folders = append(folders, n.inProject(folder))
	}
	schema, err := payload.Load(ctx, folders, nil)
	if err != nil {
		return err
	}
	n.schema.Set(schema)
	return nil
}

// slices is how many slices a subscription has: as many processes at most share
// the work of one component.
func (n *Node) slices() int {
	if n.shared() {
		return 16
	}
	return 1
}

// advertised returns where other processes reach a door of this one, empty when
// there is nobody else.
func (n *Node) advertised(role string) string {
	if !n.shared() {
		return ""
	}
	for _, front := range n.fronts {
		if front.role != role {
			continue
		}
		port, socket := 0, ""
		for _, listener := range front.listeners {
			switch address := listener.Addr().(type) {
			case *net.TCPAddr:
				port = address.Port
			case *net.UnixAddr:
				socket = address.Name
			}
		}
		return n.config.AdvertisedAddress(port, socket)
	}
	return ""
}

var _ eventstore.Store = (*postgres.Store)(nil)
