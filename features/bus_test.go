package features_test

import (
	"context"
	"strings"
	"sync"

	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
)

// watchedBus is the bus of a scenario. It knows how far each component has
// recorded its work, and behaves as badly as the scenario wants.
type watchedBus struct {
	happen *signal
	faults *bustest.Faults // nil for a good bus

	node.Bus

	mu    sync.Mutex
	acked map[string]uint64 // by component
}

func (b *watchedBus) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked = map[string]uint64{}
}

func (b *watchedBus) wrap(inner node.Bus) node.Bus {
	b.Bus = inner
	if b.faults != nil {
		b.Bus = bustest.NewFaulty(inner, inner, *b.faults)
	}
	return b
}

// begin learns what has been recorded before.
func (b *watchedBus) begin(ctx context.Context, store eventstore.Subscriptions) error {
	positions, err := store.Positions(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, position := range positions {
		b.acked[position.Name] = position.Position
	}
	return nil
}

func (b *watchedBus) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	inner, err := b.Bus.Subscribe(ctx, name)
	if err != nil {
		return nil, err
	}
	return &watchedSubscription{inner, b, name}, nil
}

// behind lists the components of this kind that have not recorded everything up
// to the position.
func (b *watchedBus) behind(components []string, position uint64) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var behind []string
	for _, name := range components {
		if b.acked[name] < position {
			behind = append(behind, strings.ReplaceAll(name, "/", " "))
		}
	}
	return behind
}

type watchedSubscription struct {
	bus.Subscription
	bus  *watchedBus
	name string
}

func (s *watchedSubscription) Ack(position uint64) error {
	if err := s.Subscription.Ack(position); err != nil {
		return err
	}
	s.bus.mu.Lock()
	s.bus.acked[s.name] = position
	s.bus.mu.Unlock()
	s.bus.happen.fire()
	return nil
}
