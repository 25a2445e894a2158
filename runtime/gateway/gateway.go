// Package gateway is the clients' door: one address for commands of every
// domain and for queries. It routes by domain, gives commands their correlation
// id, and streams back what a command causes until the workflow has settled.
package gateway

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/observe"
)

// Options describe the role. Zero values mean the defaults given.
type Options struct {
	// Routes says where the commands of a domain go. Not to be changed later.
	Routes Routes
	// Unlisted domains are routed like the others but not named when a client
	// asks for a domain that is not there: they are angz's own.
	Unlisted []string
	// Stream is where Execute watches for what a command causes.
	Stream pb.EventStreamClient
	// Query reads the log. Nil means that the routes' connections serve
	// EventQuery for their domains.
	Query pb.EventQueryClient
	// StreamTimeout is how long Execute waits for a further book when it cannot
	// be known whether the workflow has settled; 30 s.
	StreamTimeout time.Duration
	// CallTimeout ends a forwarded call whose caller set no deadline; 90 s,
	// which is more than a coordinator takes to give up by itself and say why.
	CallTimeout time.Duration
	Logger      *slog.Logger
	Metrics     *observe.Metrics
	Observer    observe.Observer // is told of commands that go nowhere; nil for nobody
}

// Gateway serves CommandGateway, AggregateCoordinator and EventQuery. It is safe
// for concurrent use and keeps nothing between calls.
type Gateway struct {
	pb.UnimplementedCommandGatewayServer
	pb.UnimplementedAggregateCoordinatorServer
	pb.UnimplementedEventQueryServer
	options Options
}

// New returns a gateway.
func New(options Options) *Gateway {
	if options.StreamTimeout == 0 {
		options.StreamTimeout = 30 * time.Second
	}
	if options.CallTimeout == 0 {
		options.CallTimeout = 90 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gateway{options: options}
}

// Register makes the gateway's services known to a gRPC server.
func (g *Gateway) Register(registrar grpc.ServiceRegistrar) {
	pb.RegisterCommandGatewayServer(registrar, g)
	pb.RegisterAggregateCoordinatorServer(registrar, g)
	pb.RegisterEventQueryServer(registrar, g)
}

// limited makes a call that its caller put no deadline on, and gives it up after
// CallTimeout. The deadline does not travel, so that the callee's own, which is
// shorter and explains itself better, has its chance.
func limited[T any](ctx context.Context, g *Gateway, domain string, call func(context.Context) (T, error)) (T, error) {
	if _, ok := ctx.Deadline(); ok {
		return call(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(g.options.CallTimeout, cancel)
	answer, err := call(ctx)
	if !timer.Stop() && err != nil {
		err = status.Errorf(codes.DeadlineExceeded, "domain %s gave no answer within %s; whether the call took effect is unknown",
			domain, g.options.CallTimeout)
	}
	return answer, err
}
