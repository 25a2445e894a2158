// Package projector is the role that stands before one of the user's
// projectors: it brings the projector the events it wants and answers callers
// that want to wait for the projection.
package projector

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Options describe one projector.
type Options struct {
	Name    string
	Service pb.ProjectorClient // the user's
	Timeout time.Duration      // for one call of the service; 30 s
	// FullHistory hands the service the whole aggregate with every new event.
	FullHistory bool
	// Delivery says where events come from. Name, Handle, Reset and
	// Forward are set here.
	Delivery delivery.Options[*pb.Projection]
	// Peers connects to another instance of this projector's coordinator; nil
	// when there are none.
	Peers func(ctx context.Context, address string) (grpc.ClientConnInterface, error)
}

// Coordinator serves ProjectorCoordinator for one projector. It is safe for
// concurrent use.
type Coordinator struct {
	pb.UnimplementedProjectorCoordinatorServer
	options  Options
	consumer *delivery.Consumer[*pb.Projection]
}

// New returns a coordinator that has not started.
func New(options Options) *Coordinator {
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Second
	}
	c := &Coordinator{options: options}
	options.Delivery.Name = "projector/" + options.Name
	options.Delivery.Handle, options.Delivery.Reset = c.project, c.reset
	if options.Peers != nil {
		options.Delivery.Forward = c.forward
	}
	c.consumer = delivery.New(options.Delivery)
	return c
}

// forward hands events to the instance that is responsible for their aggregate.
func (c *Coordinator) forward(ctx context.Context, address string, events *pb.EventBook) (*pb.Projection, error) {
	conn, err := c.options.Peers(ctx, address)
	if err != nil {
		return nil, err
	}
	projection, err := pb.NewProjectorCoordinatorClient(conn).HandleSync(ctx, &pb.SyncEventBook{Events: events, SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
	return projection, delivery.FromPeer(err)
}

// Run delivers events to the projector until the context ends.
func (c *Coordinator) Run(ctx context.Context) error { return c.consumer.Run(ctx) }

// Decided says that somebody has decided about dead letters.
func (c *Coordinator) Decided() { c.consumer.Decided() }

// Wants reports whether the projector takes events of the domain.
func (c *Coordinator) Wants(domain string) bool { return c.consumer.Wants(domain) }

// Handle hands events to the projector ahead of the bus.
func (c *Coordinator) Handle(ctx context.Context, events *pb.EventBook) (*emptypb.Empty, error) {
	if _, err := c.consumer.Deliver(ctx, events); err != nil {
		return nil, rpcerr.Status(err)
	}
	return &emptypb.Empty{}, nil
}

// HandleSync hands events to the projector ahead of the bus and answers with
// what it made of the aggregate.
func (c *Coordinator) HandleSync(ctx context.Context, request *pb.SyncEventBook) (*pb.Projection, error) {
	projection, err := c.consumer.Deliver(ctx, request.GetEvents())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	if projection == nil {
		// Handled so long ago that the result is forgotten.
		projection = c.complete(nil, request.Events)
	}
	return projection, nil
}

// project calls the user's service.
func (c *Coordinator) project(ctx context.Context, events *pb.EventBook) (*pb.Projection, error) {
	if c.options.FullHistory && book.First(events) > 0 {
		whole, err := c.history(ctx, events)
		if err != nil {
			return nil, err
		}
		events = whole
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	projection, err := c.options.Service.Handle(ctx, events)
	if err != nil {
		return nil, err
	}
	return c.complete(projection, events), nil
}

// reset has the user's service clear its read model away.
func (c *Coordinator) reset(ctx context.Context) error {
	_, err := c.options.Service.Reset(ctx, &pb.ProjectorReset{Projector: c.options.Name})
	if status.Code(err) == codes.Unimplemented {
		return status.Errorf(codes.Unimplemented, `the service of projector %s does not offer Reset: clear its data away yourself and say "angz projections reset %s"`, c.options.Name, c.options.Name)
	}
	return err
}

// history returns the aggregate from its first event to the book's last one.
func (c *Coordinator) history(ctx context.Context, events *pb.EventBook) (*pb.EventBook, error) {
	earlier, err := c.options.Delivery.Query.GetEventBook(ctx, &pb.Query{
		Domain: events.Cover.Domain, Root: events.Cover.Root, UpperBound: book.First(events) - 1,
		AsOfSequence: new(book.First(events) - 1),
	})
	if err != nil {
		return nil, err
	}
	whole := &pb.EventBook{Cover: events.Cover, CorrelationId: events.CorrelationId, Position: events.Position}
	whole.Pages = append(append(whole.Pages, earlier.Pages...), events.Pages...)
	return whole, nil
}

// complete says whose projection it is and up to which event. Only the cover is
// left to the service, which may project onto something else.
func (c *Coordinator) complete(projection *pb.Projection, events *pb.EventBook) *pb.Projection {
	completed := &pb.Projection{Cover: projection.GetCover(), Projector: c.options.Name, Sequence: book.Last(events), Projection: projection.GetProjection()}
	if completed.Cover == nil {
		completed.Cover = events.Cover
	}
	return completed
}
