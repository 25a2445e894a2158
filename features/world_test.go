package features_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// patience is how long a step waits for what must happen.
const patience = 20 * time.Second

// world is what one scenario is about. Its steps run one after the other.
type world struct {
	t      testing.TB
	ctx    context.Context //nolint:containedctx // of the scenario
	folder string
	set    map[string]string // configuration
	happen *signal           // fires whenever something in the world has happened

	domains    []*standIn
	projectors []*standIn
	sagas      []*standIn
	configs    map[string]config.Service // how the services are configured
	prior      []eventstore.Append       // stored before the node runs
	bus        *watchedBus

	node  *running
	conns map[string]*grpc.ClientConn // by role
	homes map[string]string           // the domain in which an aggregate was last spoken of

	outcomes []*outcome // of commands, the newest last
	streams  map[string]*streamed
	answers  []*pb.EventBook // of the newest query
	queryErr error
	roots    []*pb.AggregateRoot
	book     *pb.CommandBook // given as a table
	webhook  *webhook
	handed   []error // of books handed over by hand
}

func newWorld(t testing.TB) *world {
	happen := newSignal()
	return &world{
		t: t, happen: happen, conns: map[string]*grpc.ClientConn{}, streams: map[string]*streamed{}, configs: map[string]config.Service{},
		homes: map[string]string{},
		bus:   &watchedBus{happen: happen, acked: map[string]uint64{}},
	}
}

func (w *world) begin(ctx context.Context) {
	w.ctx = ctx
	w.folder = runtimetest.Folder(w.t)
	w.set = map[string]string{
		"storage.type": "sqlite", "storage.sqlite.path": filepath.Join(w.folder, "events.db"),
		"server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
	}
}

// end lets go of everything that is held and stops the node.
func (w *world) end() {
	for _, service := range w.all() {
		service.release()
	}
	for _, stream := range w.streams {
		stream.cancel()
		<-stream.ended
	}
	if err := w.stop(); err != nil {
		w.t.Errorf("the node ended with %v", err)
	}
	for _, outcome := range w.outcomes {
		<-outcome.done
	}
}

func (w *world) all() []*standIn {
	var all []*standIn
	return append(append(append(all, w.domains...), w.projectors...), w.sagas...)
}

// running is a node under way.
type running struct {
	*node.Node
	stop context.CancelFunc
	done chan error // gets one error when the node has ended
}

// start runs the node, unless it runs, and waits until it takes commands.
func (w *world) start() error {
	if w.node != nil {
		return nil
	}
	loaded, err := config.Load(config.Options{Dir: w.folder, Set: maps.Clone(w.set), Dev: true})
	if err != nil {
		return err
	}
	w.configure(loaded)
	logger, err := observe.New(observe.Options{Writer: w.t.Output(), Directives: "off"})
	if err != nil {
		return err
	}
	w.bus.reset()
	opened, err := node.Open(w.ctx, node.Options{Config: loaded, Logger: logger, Bus: w.bus.wrap})
	if err != nil {
		return err
	}
	for _, events := range w.prior {
		if _, err := opened.Store().Append(w.ctx, events); err != nil {
			return errors.Join(err, opened.Close())
		}
	}
	w.prior = nil
	if err := w.bus.begin(w.ctx, opened.Store()); err != nil {
		return errors.Join(err, opened.Close())
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(w.ctx))
	w.node = &running{Node: opened, stop: stop, done: make(chan error, 1)}
	go func(n *running) { n.done <- n.Run(ctx) }(w.node)
	select {
	case <-opened.Ready():
		return w.dial()
	case <-time.After(patience):
		return errors.New("the node did not become ready")
	}
}

func (w *world) configure(c *config.Config) {
	for _, domain := range w.domains {
		c.Domains = append(c.Domains, w.configured(domain))
	}
	for _, projector := range w.projectors {
		c.Projectors = append(c.Projectors, w.configured(projector))
	}
	for _, saga := range w.sagas {
		c.Sagas = append(c.Sagas, w.configured(saga))
	}
}

func (w *world) configured(service *standIn) config.Service {
	configured := w.configs[service.kind+service.name]
	configured.Name, configured.Address = service.name, service.service.Address()
	return configured
}

func (w *world) dial() error {
	for _, endpoint := range w.node.Endpoints() {
		conn, err := grpc.NewClient("passthrough:///"+endpoint.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			// A fixed window: how much a client takes without reading must not
			// depend on how fast it was before.
			grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16),
			grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20), grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			return err
		}
		w.conns[endpoint.Role] = conn
	}
	return nil
}

// stop ends the node, if it runs, and returns what it ended with.
func (w *world) stop() error {
	if w.node == nil {
		return nil
	}
	stopped := w.node
	w.node = nil
	for _, conn := range w.conns {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	stopped.stop()
	return <-stopped.done
}

// gateway returns a client's connection to the door for everything.
func (w *world) gateway() (*grpc.ClientConn, error) { return w.door("gateway") }

func (w *world) door(role string) (*grpc.ClientConn, error) {
	if err := w.start(); err != nil {
		return nil, err
	}
	return w.conns[role], nil
}

// until waits for a condition, which it looks at whenever something has
// happened. The condition returns an error that says what is missing.
func (w *world) until(condition func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		happened := w.happen.next()
		var grown <-chan struct{}
		if w.node != nil {
			grown = w.node.Store().Changed()
		}
		missing := condition()
		if missing == nil {
			return nil
		}
		select {
		case <-happened:
		case <-grown:
		case <-deadline.C:
			return fmt.Errorf("waited %s: %w", patience, missing)
		}
	}
}

// signal tells everybody who waits that something has happened.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

// next returns a channel that is closed when fire is called next.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}

// find returns the stand-in of a kind and name.
func find(services []*standIn, name string) (*standIn, error) {
	var known []string
	for _, service := range services {
		if service.name == name {
			return service, nil
		}
		known = append(known, service.name)
	}
	return nil, fmt.Errorf("the scenario has no %q, only %s", name, strings.Join(known, ", "))
}

// service returns a stand-in by the words of a sentence: "business logic of",
// "projector" or "saga", and a name.
func (w *world) service(kind, name string) (*standIn, error) {
	switch kind {
	case "projector":
		return find(w.projectors, name)
	case "saga":
		return find(w.sagas, name)
	default:
		return find(w.domains, name)
	}
}
