package node

import (
	"context"
	"path/filepath"

	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/relay"
)

// Bus is both ends of a bus.
type Bus interface {
	bus.Publisher
	bus.Subscriber
}

// openStore opens the store that the configuration names.
func (n *Node) openStore(ctx context.Context) (eventstore.Store, error) {
	storage := n.config.Storage
	options := sqlite.Options{CorrelationIndex: storage.CorrelationIndex, Logger: observe.Component(n.logger, "eventstore")}
	if storage.Type == "sqlite" {
		options.Path = n.inProject(storage.SQLite.Path)
	}
	store, err := sqlite.Open(ctx, options)
	if err != nil {
		return nil, err // not the nil *sqlite.Store in an interface
	}
	return store, nil
}

// inProject returns a path of the configuration as seen from its file.
func (n *Node) inProject(path string) string {
	if path == "" || path == ":memory:" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(n.config.Dir, path)
}

func (n *Node) openBus() {
	n.channel = channel.New()
	n.bus = n.channel
	if n.options.Bus != nil {
		n.bus = n.options.Bus(n.channel)
	}
	n.relay = relay.New(relay.Options{Log: n.store, Publisher: n.bus, Logger: observe.Component(n.logger, "relay")})
}

// loadSchema compiles the project's .proto files, with which people's JSON and
// short names are understood.
func (n *Node) loadSchema(ctx context.Context) (*payload.Schema, error) {
	var folders []string
	for _, folder := range n.config.Protos {
		folders = append(folders, n.inProject(folder))
	}
	return payload.Load(ctx, folders, nil)
}
