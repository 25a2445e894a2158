package features_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
)

// deployment is a way to run angz: what a scenario says holds in each of them.
type deployment interface {
	// prepare writes into a scenario's configuration what every start needs, and
	// makes what outlives a restart. It goes with the scenario.
	prepare(w *world) error
	// start runs angz as the world wants it and returns when it takes commands.
	start(w *world) (system, error)
}

// system is a running angz.
type system interface {
	Store() eventstore.Store
	// Head returns where the log ends now, which the store may not have heard yet
	// when another process has stored something.
	Head(ctx context.Context) (uint64, error)
	// Endpoints lists where clients reach the roles.
	Endpoints() []node.Endpoint
	// Projector returns a connection to a projector's coordinator.
	Projector(name string) (grpc.ClientConnInterface, bool)
	// stop ends everything in order and returns what it ended with.
	stop() error
	// dieUnrecorded lets the component, which is held, finish what it is doing,
	// and makes sure that no trace of it is recorded when angz is started again.
	dieUnrecorded(w *world, component *standIn) error
}

// together is angz in one process, this one, over a database file.
type together struct{}

func (together) prepare(w *world) error {
	maps.Copy(w.set, map[string]string{
		"storage.type": "sqlite", "storage.sqlite.path": filepath.Join(w.folder, "events.db"),
		"server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
	})
	return nil
}

// running is a node under way.
type running struct {
	*node.Node
	cancel context.CancelFunc
	done   chan error // gets one error when the node has ended
}

func (together) start(w *world) (system, error) {
	loaded, err := config.Load(config.Options{Dir: w.folder, Set: maps.Clone(w.set), Dev: true})
	if err != nil {
		return nil, err
	}
	loaded.Domains, loaded.Projectors, loaded.Sagas = w.configured(w.domains), w.configured(w.projectors), w.configured(w.sagas)
	logger, err := observe.New(observe.Options{Writer: w.t.Output(), Directives: "off"})
	if err != nil {
		return nil, err
	}
	opened, err := node.Open(w.ctx, node.Options{Config: loaded, Logger: logger, Bus: w.wrapBus})
	if err != nil {
		return nil, err
	}
	if err := w.arrange(opened.Store()); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	started := &running{Node: opened, cancel: cancel, done: make(chan error, 1)}
	go func() { started.done <- opened.Run(ctx) }()
	select {
	case <-opened.Ready():
		return started, nil
	case <-time.After(patience):
		return nil, errors.Join(errors.New("the node did not become ready"), started.stop())
	}
}

// wrapBus makes a bus as bad as the scenario wants it.
func (w *world) wrapBus(inner node.Bus) node.Bus {
	if w.faults == nil {
		return inner
	}
	return bustest.NewFaulty(inner, inner, *w.faults)
}

func (r *running) Head(context.Context) (uint64, error) { return r.Store().Head(), nil }

func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// dieUnrecorded takes the component's place over, as a second process would that
// takes this one for dead. What is under way is done when the node has stopped,
// and its record was refused.
func (r *running) dieUnrecorded(w *world, component *standIn) (err error) {
	if w.taken, err = takeOver(w.ctx, r.Store(), component.subscription()); err != nil {
		return err
	}
	component.release()
	return w.stop()
}

// takenOver is a subscription that a test holds in place of its component.
type takenOver struct {
	name   string
	member uuid.UUID
	slices []eventstore.Slice // as they were when they were taken
}

// takeOver takes all slices of a subscription from whoever holds them.
func takeOver(ctx context.Context, store eventstore.Subscriptions, name string) (*takenOver, error) {
	positions, err := store.Positions(ctx)
	if err != nil {
		return nil, err
	}
	taken, slices := &takenOver{name: name, member: uuid.New()}, 0
	for _, at := range positions {
		if at.Name != name {
			continue
		}
		slices = at.Slices
		if _, err := store.Share(ctx, eventstore.Share{Name: name, Member: at.Member, Slices: at.Slices, Lease: time.Minute, Leave: true}); err != nil {
			return nil, err
		}
	}
	shared, err := store.Share(ctx, eventstore.Share{Name: name, Member: taken.member, Slices: slices, Lease: time.Minute})
	if err != nil {
		return nil, err
	}
	for _, slice := range shared.Slices {
		if slice.Member != taken.member {
			return nil, fmt.Errorf("slice %d of %s is held by %s still", slice.Number, name, slice.Member)
		}
	}
	taken.slices = shared.Slices
	return taken, nil
}

// giveBack leaves a subscription as it was when it was taken over. It fails when
// it is not so any more.
func (t *takenOver) giveBack(ctx context.Context, store eventstore.Subscriptions) error {
	positions, err := store.Positions(ctx)
	if err != nil {
		return err
	}
	for _, at := range positions {
		if at.Name == t.name && at.Position != t.slices[at.Slice].Position {
			return fmt.Errorf("slice %d of %s has been recorded at %d although it was taken over at %d", at.Slice, t.name, at.Position, t.slices[at.Slice].Position)
		}
	}
	_, err = store.Share(ctx, eventstore.Share{Name: t.name, Member: t.member, Slices: len(t.slices), Lease: time.Minute, Leave: true})
	return err
}
