package features_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// patience is how long a step waits for what must happen. The place of a process
// that was killed is free when its lease of 15 s has run out.
const patience = 45 * time.Second

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
	faults     *bustest.Faults           // of the bus; nil for a good one

	angz      deployment
	shared    *shared                     // what outlives a restart in production, else nil
	system    system                      // nil while it does not run
	processes []*child                    // all that were ever started for it
	taken     *takenOver                  // of a component, to be given back before it starts again
	conns     map[string]*grpc.ClientConn // by role
	homes     map[string]string           // the domain in which an aggregate was last spoken of

	outcomes []*outcome // of commands, the newest last
	streams  map[string]*streamed
	answers  []*pb.EventBook // of the newest query
	queryErr error
	roots    []*pb.AggregateRoot
	book     *pb.CommandBook // given as a table
	webhook  *webhook
	handed   []error // of books handed over by hand
	decision *decision
}

func newWorld(t testing.TB, angz deployment) *world {
	return &world{
		t: t, angz: angz, happen: newSignal(), conns: map[string]*grpc.ClientConn{}, streams: map[string]*streamed{}, configs: map[string]config.Service{},
		homes: map[string]string{}, set: map[string]string{},
	}
}

func (w *world) begin(ctx context.Context) error {
	w.ctx = ctx
	w.folder = runtimetest.Folder(w.t)
	return w.angz.prepare(w)
}

// end lets go of everything that is held and stops angz.
func (w *world) end() {
	for _, service := range w.all() {
		service.release()
	}
	for _, stream := range w.streams {
		stream.cancel()
		<-stream.ended
	}
	if err := w.stop(); err != nil {
		w.t.Errorf("angz ended with %v", err)
	}
	for _, outcome := range w.outcomes {
		<-outcome.done
	}
}

func (w *world) all() []*standIn {
	var all []*standIn
	return append(append(append(all, w.domains...), w.projectors...), w.sagas...)
}

// start runs angz, unless it runs, and waits until it takes commands.
func (w *world) start() error {
	if w.system != nil {
		return nil
	}
	started, err := w.angz.start(w)
	if err != nil {
		return err
	}
	w.system = started
	return w.dial()
}

// arrange makes the log what it is to be when angz starts: what happened before
// the scenario is stored, and what was taken from a component comes back.
func (w *world) arrange(store eventstore.Store) error {
	for _, events := range w.prior {
		if _, err := store.Append(w.ctx, events); err != nil {
			return err
		}
	}
	w.prior = nil
	if w.taken == nil {
		return nil
	}
	taken := w.taken
	w.taken = nil
	return taken.giveBack(w.ctx, store)
}

// configured returns the configuration of services.
func (w *world) configured(services []*standIn) []config.Service {
	var all []config.Service
	for _, service := range services {
		configured := w.configs[service.kind+service.name]
		configured.Name, configured.Address = service.name, service.service.Address()
		all = append(all, configured)
	}
	return all
}

func (w *world) dial() error {
	for _, endpoint := range w.system.Endpoints() {
		target := "passthrough:///" + endpoint.Address
		if filepath.IsAbs(endpoint.Address) {
			target = "unix:" + endpoint.Address
		}
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
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

// stop ends angz, if it runs, and returns what it ended with.
func (w *world) stop() error {
	if w.system == nil {
		return nil
	}
	stopped := w.system
	w.system = nil
	for _, conn := range w.conns {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return stopped.stop()
}

// gateway returns a client's connection to the door for everything.
func (w *world) gateway() (*grpc.ClientConn, error) { return w.door("gateway") }

func (w *world) door(role string) (*grpc.ClientConn, error) {
	if err := w.start(); err != nil {
		return nil, err
	}
	return w.conns[role], nil
}

// glance is how often a condition is looked at while nothing tells of a change:
// nobody tells that another process has recorded its position.
const glance = 20 * time.Millisecond

// until waits for a condition, which it looks at whenever something has
// happened. The condition returns an error that says what is missing.
func (w *world) until(condition func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	glances := time.NewTicker(glance)
	defer glances.Stop()
	for {
		happened := w.happen.next()
		var grown <-chan struct{}
		if w.system != nil {
			grown = w.system.Store().Changed()
		}
		missing := condition()
		if missing == nil {
			return nil
		}
		select {
		case <-happened:
		case <-grown:
		case <-glances.C:
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
