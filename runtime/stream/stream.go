// Package stream is the role that lets a client watch what one correlation
// causes while it happens. It takes every book from the bus and hands it to
// those who wait for its correlation; a book that nobody waits for is forgotten
// at the price of one look-up.
package stream

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/follow"
	"github.com/angz-dev/angz/runtime/observe"
)

// Options describe the role. Zero values mean the defaults given.
type Options struct {
	// Bus brings the books. Without one, books come through Handle only.
	Bus bus.Subscriber
	// Name of the subscription; "stream".
	Name string
	// Log repairs what the bus loses. Required with a Bus.
	Log follow.Log
	// Buffer is how many books wait for one subscriber before it is dropped;
	// 1,024.
	Buffer  int
	Logger  *slog.Logger
	Metrics *observe.Metrics
}

// Server serves EventStream and, so that the role can stand behind a projector
// coordinator as well, Projector. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedEventStreamServer
	pb.UnimplementedProjectorServer
	options  Options
	registry registry
	started  chan struct{} // closed when books arrive
	stopped  chan struct{} // closed when no more books will come
}

// New returns a server whose subscribers wait until Run has been called.
func New(options Options) *Server {
	if options.Name == "" {
		options.Name = "stream"
	}
	if options.Buffer == 0 {
		options.Buffer = 1024
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		options:  options,
		registry: registry{watchers: map[string][]*watcher{}},
		started:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
}

// Register makes the server's services known to a gRPC server.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	pb.RegisterEventStreamServer(registrar, s)
	pb.RegisterProjectorServer(registrar, s)
}

// headerSubscribed is sent as soon as a subscription counts. Its value says
// nothing, but without any header a subscription inside the process could not
// be told from one that has failed.
const headerSubscribed = "angz-subscribed"

// Subscribe sends every book of a correlation from the moment at which the
// headers arrive. A subscriber that does not keep up is ended with
// RESOURCE_EXHAUSTED, and all of them with UNAVAILABLE when the role stops.
func (s *Server) Subscribe(filter *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	correlation := filter.GetCorrelationId()
	if correlation == "" {
		return status.Error(codes.InvalidArgument,
			"correlation_id is required: set it to the correlation id of the command whose effects you want to watch")
	}
	ctx := stream.Context()
	select {
	case <-s.started:
	case <-s.stopped:
		return errStopping()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	watcher := s.registry.add(correlation, s.options.Buffer)
	defer s.registry.remove(watcher)
	defer s.options.Metrics.Subscribed()()
	if err := stream.SendHeader(metadata.Pairs(headerSubscribed, "true")); err != nil {
		return err
	}
	for {
		select {
		case events := <-watcher.books:
			if err := stream.Send(events); err != nil {
				return err
			}
		case <-watcher.dropped:
			s.options.Metrics.SubscriberDropped()
			return errDropped(correlation, s.options.Buffer)
		case <-s.stopped:
			return errStopping()
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func errDropped(correlation string, buffer int) error {
	return status.Errorf(codes.ResourceExhausted, "dropped from the events of correlation %s: %d books were waiting and none was taken; "+
		"read what is missing with EventQuery.GetEvents and subscribe again", correlation, buffer)
}

func errStopping() error {
	return status.Error(codes.Unavailable, "the event stream is stopping; subscribe again")
}

// Handle takes a book from a projector coordinator and hands it to those who
// wait for it.
func (s *Server) Handle(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
	s.dispatch(events)
	return &pb.Projection{}, nil
}

func (s *Server) dispatch(events *pb.EventBook) {
	for _, watcher := range s.registry.find(events.GetCorrelationId()) {
		if !watcher.offer(events) {
			s.options.Logger.Warn("a subscriber of the event stream was dropped because it does not keep up",
				observe.KeyCorrelation, watcher.correlation, "waiting", s.options.Buffer)
			s.registry.remove(watcher)
		}
	}
}
