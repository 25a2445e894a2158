package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/transport"
)

// componentKey is the metadata that names the projector or saga a call is for,
// where several answer at one address.
const componentKey = "angzarr-component"

// peers are connections to other instances of this process's components, at the
// addresses that they have written into the store.
type peers struct {
	mu    sync.Mutex
	conns map[string]*transport.Client
}

// to returns the connection to an address.
func (p *peers) to(address string, options transport.DialOptions) (*transport.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn, known := p.conns[address]; known {
		return conn, nil
	}
	conn, err := transport.Dial(address, options)
	if err != nil {
		return nil, err
	}
	if p.conns == nil {
		p.conns = map[string]*transport.Client{}
	}
	p.conns[address] = conn
	return conn, nil
}

func (p *peers) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, conn := range p.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// peersOf returns how a component reaches its other instances.
func (n *Node) peersOf(kind, name string) func(context.Context, string) (grpc.ClientConnInterface, error) {
	return func(_ context.Context, address string) (grpc.ClientConnInterface, error) {
		options := n.dialOptions(fmt.Sprintf("another instance of %s %s", kind, name))
		conn, err := n.peers.to(address, options)
		if err != nil {
			return nil, err
		}
		return addressed{n.traced(conn, name), name}, nil
	}
}

// addressed is a connection on which every call names its component.
type addressed struct {
	grpc.ClientConnInterface
	component string
}

func (a addressed) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	return a.ClientConnInterface.Invoke(metadata.AppendToOutgoingContext(ctx, componentKey, a.component), method, request, response, options...)
}

// registerPeers makes the coordinators of projectors and sagas reachable for
// aggregates and for other instances.
func (n *Node) registerPeers(to grpc.ServiceRegistrar) {
	if len(n.projectors) > 0 {
		pb.RegisterProjectorCoordinatorServer(to, projectorsByName{coordinators: named(n.parts.projectors, n.projectors)})
	}
	if len(n.sagas) > 0 {
		pb.RegisterSagaCoordinatorServer(to, sagasByName{coordinators: named(n.parts.sagas, n.sagas)})
	}
}

// named returns coordinators under the names of their services.
func named[C any](services []config.Service, coordinators []C) map[string]C {
	byName := map[string]C{}
	for i, service := range services {
		byName[service.Name] = coordinators[i]
	}
	return byName
}

// chosen returns the component that a call is for.
func chosen[C any](ctx context.Context, kind string, coordinators map[string]C) (found C, err error) {
	wanted := metadata.ValueFromIncomingContext(ctx, componentKey)
	if len(wanted) == 0 && len(coordinators) == 1 {
		for _, only := range coordinators {
			return only, nil
		}
	}
	var names []string
	for name := range coordinators {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(wanted) == 0 {
		return found, status.Errorf(codes.InvalidArgument, "metadata %s: found nothing, expected which %s is meant: %s", componentKey, kind, strings.Join(names, ", "))
	}
	found, known := coordinators[wanted[0]]
	if !known {
		return found, status.Errorf(codes.NotFound, "no %s %q here (known: %s)", kind, wanted[0], strings.Join(names, ", "))
	}
	return found, nil
}

// projectorsByName serves ProjectorCoordinator for several projectors.
type projectorsByName struct {
	pb.UnimplementedProjectorCoordinatorServer
	coordinators map[string]*projector.Coordinator
}

func (p projectorsByName) Handle(ctx context.Context, events *pb.EventBook) (*emptypb.Empty, error) {
	to, err := chosen(ctx, "projector", p.coordinators)
	if err != nil {
		return nil, err
	}
	return to.Handle(ctx, events)
}

func (p projectorsByName) HandleSync(ctx context.Context, request *pb.SyncEventBook) (*pb.Projection, error) {
	to, err := chosen(ctx, "projector", p.coordinators)
	if err != nil {
		return nil, err
	}
	return to.HandleSync(ctx, request)
}

// sagasByName serves SagaCoordinator for several sagas.
type sagasByName struct {
	pb.UnimplementedSagaCoordinatorServer
	coordinators map[string]*saga.Coordinator
}

func (s sagasByName) Handle(ctx context.Context, events *pb.EventBook) (*emptypb.Empty, error) {
	to, err := chosen(ctx, "saga", s.coordinators)
	if err != nil {
		return nil, err
	}
	return to.Handle(ctx, events)
}

func (s sagasByName) HandleSync(ctx context.Context, request *pb.SyncEventBook) (*pb.SagaResponse, error) {
	to, err := chosen(ctx, "saga", s.coordinators)
	if err != nil {
		return nil, err
	}
	return to.HandleSync(ctx, request)
}
