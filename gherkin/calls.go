package gherkin

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/transport"
)

type address = transport.Address

// watched sees every call to a service during one scenario.
//
// Services are shared by scenarios, and projectors keep what they know by root.
// So that two scenarios may speak of an aggregate of the same name, a projector is
// given roots that are this scenario's own, and its answers are turned back.
type watched struct {
	salt  [16]byte
	prior map[book.Key]uint32 // how many events each aggregate had before the scenario

	mu          sync.Mutex
	received    []*pb.ContextualCommand            // by the domains' services, in order
	projections map[string]map[book.Key]projection // by projector
	sent        map[string][]*pb.CommandBook       // by sagas
	parked      []string                           // what could not be delivered, and why
	changed     chan struct{}                      // closed at the next call
}

// projection is the newest answer of a projector about an aggregate.
type projection struct {
	answer   *pb.Projection
	sequence uint32 // of the last event it was given
}

func newWatched(name string) *watched {
	w := &watched{
		prior: map[book.Key]uint32{}, projections: map[string]map[book.Key]projection{}, sent: map[string][]*pb.CommandBook{}, changed: make(chan struct{}),
	}
	sum := sha256.Sum256([]byte(name))
	copy(w.salt[:], sum[:])
	return w
}

// wrap is node.Options.Calls.
func (w *watched) wrap(component string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return &watchedConn{ClientConnInterface: conn, watched: w, component: component}
}

type watchedConn struct {
	grpc.ClientConnInterface
	watched   *watched
	component string
}

func (c *watchedConn) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	call := func(args any) error { return c.ClientConnInterface.Invoke(ctx, method, args, reply, options...) }
	name := c.component[strings.IndexByte(c.component, '/')+1:]
	switch method {
	case pb.Aggregate_Handle_FullMethodName:
		c.watched.receive(args.(*pb.ContextualCommand))
	case pb.Projector_Handle_FullMethodName:
		return c.watched.project(name, args.(*pb.EventBook), reply.(*pb.Projection), call)
	case pb.Saga_Handle_FullMethodName:
		return c.watched.react(name, args.(*pb.EventBook), reply.(*pb.SagaResponse), call)
	}
	return call(args)
}

// change notes something and tells everybody who waits.
func (w *watched) change(note func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	note()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watched) receive(request *pb.ContextualCommand) {
	w.change(func() { w.received = append(w.received, request) })
}

// project gives a projector the scenario's own root.
func (w *watched) project(name string, events *pb.EventBook, reply *pb.Projection, call func(any) error) error {
	key, err := book.KeyOf(events.GetCover())
	if err != nil {
		return call(events)
	}
	own := proto.Clone(events).(*pb.EventBook)
	for i := range own.Cover.Root.Value {
		own.Cover.Root.Value[i] ^= w.salt[i]
	}
	if err := call(own); err != nil {
		return err
	}
	if reply.Cover != nil {
		reply.Cover = events.Cover
	}
	last := uint32(0)
	if pages := events.GetPages(); len(pages) > 0 {
		last = pages[len(pages)-1].GetNum()
	}
	w.change(func() {
		if w.projections[name] == nil {
			w.projections[name] = map[book.Key]projection{}
		}
		w.projections[name][key] = projection{proto.Clone(reply).(*pb.Projection), last}
	})
	return nil
}

// react keeps sagas from what happened before the scenario, and notes what they
// send.
func (w *watched) react(name string, events *pb.EventBook, reply *pb.SagaResponse, call func(any) error) error {
	key, err := book.KeyOf(events.GetCover())
	if err != nil {
		return call(events)
	}
	if pages := events.GetPages(); len(pages) > 0 && pages[len(pages)-1].GetNum() < w.prior[key] {
		return nil
	}
	if err := call(events); err != nil {
		return err
	}
	w.change(func() {
		for _, command := range reply.GetCommands() {
			w.sent[name] = append(w.sent[name], proto.Clone(command).(*pb.CommandBook))
		}
	})
	return nil
}

// Follows is part of observe.Observer.
func (w *watched) Follows(string, func(string) bool) func() { return func() {} }

// Decided is part of observe.Observer.
func (w *watched) Decided(observe.Decision) {}

// Delivered notes what can never be seen in a projection any more.
func (w *watched) Delivered(delivery observe.Delivery) {
	if delivery.Outcome == observe.Parked || delivery.Outcome == observe.Abandoned {
		w.change(func() { w.parked = append(w.parked, delivery.Component+": "+delivery.Reason) })
	}
}

// await waits until found returns true, at the longest until something could not
// be delivered or patience ends.
func (w *watched) await(ctx context.Context, found func() bool) (parked []string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		w.mu.Lock()
		done, parked, changed := found(), slices.Clone(w.parked), w.changed
		w.mu.Unlock()
		if done || len(parked) > 0 {
			return parked
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
