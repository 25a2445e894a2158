package aggregate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Follower is a projector or a saga that a synchronous call waits for. Exactly
// one of Projector and Saga is set.
type Follower struct {
	Name        string
	Wants       func(domain string) bool
	Synchronous bool // every command waits for it, whatever its mode
	Projector   pb.ProjectorCoordinatorClient
	Saga        pb.SagaCoordinatorClient
}

// awaited reports whether a command in this domain and mode waits for it.
func (f *Follower) awaited(domain string, mode pb.SyncMode) bool {
	if !f.Wants(domain) {
		return false
	}
	least := pb.SyncMode_SYNC_MODE_SIMPLE
	if f.Saga != nil {
		least = pb.SyncMode_SYNC_MODE_CASCADE
	}
	return f.Synchronous || mode >= least
}

// await hands stored events to the followers that the mode asks for, side by
// side, and returns the projections in the order of the followers. An error
// says that the events are stored all the same.
func (c *Coordinator) await(ctx context.Context, events *pb.EventBook, mode pb.SyncMode) ([]*pb.Projection, error) {
	var awaited []*Follower
	for i := range c.options.Followers {
		if follower := &c.options.Followers[i]; follower.awaited(events.Cover.Domain, mode) {
			awaited = append(awaited, follower)
		}
	}
	if len(awaited) == 0 {
		return nil, nil
	}
	ctx, cancel := early(ctx)
	defer cancel()
	projections := make([]*pb.Projection, len(awaited))
	group, ctx := errgroup.WithContext(ctx)
	for i, follower := range awaited {
		group.Go(func() (err error) {
			projections[i], err = follower.handle(ctx, events, mode)
			return storedAnyway(events, follower, err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(projections, func(p *pb.Projection) bool { return p == nil }), nil
}

// early ends a little before the context does: at the deadline itself the
// caller's clock cuts the call, and nobody hears that the events are stored.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, limited := ctx.Deadline()
	if !limited {
		return context.WithCancel(ctx)
	}
	spare := min(time.Until(deadline)/5, 500*time.Millisecond)
	return context.WithDeadline(ctx, deadline.Add(-spare))
}

// handle returns nil for a saga, which projects nothing.
func (f *Follower) handle(ctx context.Context, events *pb.EventBook, mode pb.SyncMode) (*pb.Projection, error) {
	request := &pb.SyncEventBook{Events: events, SyncMode: mode}
	if f.Saga != nil {
		_, err := f.Saga.HandleSync(ctx, request)
		return nil, err
	}
	return f.Projector.HandleSync(ctx, request)
}

// storedAnyway adds to an error that the command itself has been done.
func storedAnyway(events *pb.EventBook, follower *Follower, err error) error {
	if err == nil {
		return nil
	}
	kind := "projector"
	if follower.Saga != nil {
		kind = "saga"
	}
	failed := status.Convert(rpcerr.Status(err))
	key, _ := book.KeyOf(events.Cover) // made from a stored key
	said := failed.Proto()             // a copy; it keeps the details
	said.Message = fmt.Sprintf("the events %d to %d of %s are stored, but %s %s has not handled them: %s",
		book.First(events), book.Last(events), key, kind, follower.Name, failed.Message())
	return rpcerr.Stored(status.FromProto(said).Err())
}
