package gherkin

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
)

// system is the angz of one scenario: a node over a store in memory, without
// ports.
type system struct {
	node   *node.Node
	cancel context.CancelFunc
	ended  chan error
}

// startSystem stores what has happened before and runs a node over it.
func startSystem(ctx context.Context, loaded *config.Config, prior []eventstore.Append, watched *watched) (*system, error) {
	own := *loaded
	own.Storage.Type, own.Messaging.Type, own.Transport.Type = "memory", "channel", "tcp"
	opened, err := node.Open(ctx, node.Options{
		Config: &own, Logger: quiet, Calls: watched.wrap, Observer: watched, Listen: listenNowhere,
	})
	if err != nil {
		return nil, err
	}
	for _, events := range prior {
		if _, err := opened.Store().Append(ctx, events); err != nil {
			return nil, errors.Join(err, opened.Close())
		}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &system{node: opened, cancel: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- opened.Run(running) }()
	select {
	case <-opened.Ready():
		return s, nil
	case err := <-s.ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.stop())
	}
}

func (s *system) stop() error {
	s.cancel()
	return <-s.ended
}

// priorEvents makes an entry of the log for each event.
func priorEvents(key book.Key, name string, first uint32, events []eventstore.NewEvent) []eventstore.Append {
	var all []eventstore.Append
	for i, event := range events {
		all = append(all, eventstore.Append{
			CommandID: uuid.New(), Key: key, Name: book.Name(name), Next: first + uint32(i), Events: []eventstore.NewEvent{event},
			CorrelationID: "prior events",
		})
	}
	return all
}

// nowhere is a listener that nobody can reach: a scenario's angz is called in
// memory only.
type nowhere struct {
	once   sync.Once
	closed chan struct{}
}

func listenNowhere(address) (net.Listener, error) { return &nowhere{closed: make(chan struct{})}, nil }

func (n *nowhere) Accept() (net.Conn, error) {
	<-n.closed
	return nil, net.ErrClosed
}

func (n *nowhere) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *nowhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
