package node

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// Run runs everything until the context ends or something fails, then stops in
// order and releases everything. Each tier keeps running until the one above it,
// which depends on it, has come to rest:
//
//  1. the doors and the streams: no new requests, those under way finish;
//  2. the sagas and projectors: calls under way finish, positions are recorded;
//  3. the relay, which feeds them;
//  4. the store and the connections to the user's services.
func (n *Node) Run(ctx context.Context) error {
	defer n.tellFollowers()()
	tiers := [][]func(context.Context) error{n.doorsRun(), n.followersRun(), n.relayRun()}
	// The tiers below the first outlive ctx, and end one after the other.
	base, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)

	var stops []context.CancelFunc
	var groups []*errgroup.Group
	for i, tier := range tiers {
		parent := base
		if i == 0 {
			parent = ctx
		}
		tierCtx, stop := context.WithCancel(parent)
		defer stop()
		stops = append(stops, stop)
		groups = append(groups, start(tierCtx, tier, stops[0]))
	}
	var errs []error
	for i, group := range groups {
		if i > 0 {
			stops[i]()
		}
		errs = append(errs, group.Wait())
	}
	for _, connection := range n.connections {
		connection.Wait() // for handlers of streams whose callers have just left
	}
	return errors.Join(append(errs, n.Close())...)
}

// tellFollowers tells the observer, before the first command can come, who follows
// events until the function returned is called.
func (n *Node) tellFollowers() (ends func()) {
	if n.options.Observer == nil {
		return func() {}
	}
	var all []func()
	for i, coordinator := range n.projectors {
		all = append(all, n.options.Observer.Follows("projector/"+n.parts.projectors[i].Name, coordinator.Wants))
	}
	for i, coordinator := range n.sagas {
		all = append(all, n.options.Observer.Follows("saga/"+n.parts.sagas[i].Name, coordinator.Wants))
	}
	return func() {
		for _, end := range all {
			end()
		}
	}
}

// start runs a tier. The first member that fails stops the node.
func start(ctx context.Context, tier []func(context.Context) error, stopNode context.CancelFunc) *errgroup.Group {
	group := &errgroup.Group{}
	for _, run := range tier {
		group.Go(func() error {
			err := run(ctx)
			if err != nil {
				stopNode()
			}
			return err
		})
	}
	return group
}

func (n *Node) doorsRun() []func(context.Context) error {
	tier := []func(context.Context) error{n.watchDependencies, n.watchBus}
	if n.tls != nil {
		tier = append(tier, n.tls.Run)
	}
	if n.debug != nil {
		tier = append(tier, n.debug.Run)
	}
	if n.streams != nil {
		tier = append(tier, n.streams.Run)
	}
	if n.events != nil {
		tier = append(tier, n.events.Run)
	}
	for _, front := range n.fronts {
		tier = append(tier, func(ctx context.Context) error { return front.server.Run(ctx, front.listeners...) })
	}
	return tier
}

func (n *Node) followersRun() []func(context.Context) error {
	var tier []func(context.Context) error
	for _, projector := range n.projectors {
		tier = append(tier, projector.Run)
	}
	for _, saga := range n.sagas {
		tier = append(tier, saga.Run)
	}
	return tier
}

func (n *Node) relayRun() []func(context.Context) error {
	if n.relay == nil {
		return nil
	}
	return []func(context.Context) error{n.relay.Run}
}
