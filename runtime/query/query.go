// Package query is the role that reads what is stored: the events of one
// aggregate as one book or as the books in which they were stored, those of one
// correlation, and the list of all aggregates.
package query

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// page is how many events or aggregates one read returns.
const page = 500

// Store is the part of an event store that the role needs.
type Store interface {
	Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error)
	Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error)
	ByCorrelation(ctx context.Context, correlationID string, after uint64, limit int) ([]eventstore.Event, error)
	Roots(ctx context.Context, after book.Key, limit int) ([]eventstore.Root, error)
}

// Options describe the role.
type Options struct {
	Store Store
	// MaxMessageBytes is how large one answer may be; 16 MiB.
	MaxMessageBytes int
}

// Server serves EventQuery. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedEventQueryServer
	options Options
}

// New returns a server over a store.
func New(options Options) *Server {
	if options.MaxMessageBytes == 0 {
		options.MaxMessageBytes = 16 << 20
	}
	return &Server{options: options}
}

// GetEventBook answers with the whole range as one book under the correlation of
// its last event.
func (s *Server) GetEventBook(ctx context.Context, query *pb.Query) (*pb.EventBook, error) {
	key, err := book.KeyFrom(query.GetDomain(), query.GetRoot(), query.GetAggregateId())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	info, err := s.options.Store.Aggregate(ctx, key)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	whole, pages := &pb.EventBook{Cover: key.Cover(info.Name)}, 0
	err = s.each(ctx, key, query, func(events []eventstore.Event) error {
		last := events[len(events)-1]
		whole.CorrelationId, whole.Position = last.CorrelationID, last.Position
		added := eventstore.Pages(events)
		pages += proto.Size(&pb.EventBook{Pages: added})
		envelope := &pb.EventBook{Cover: whole.Cover, CorrelationId: whole.CorrelationId, Position: whole.Position}
		if pages+proto.Size(envelope) > s.options.MaxMessageBytes {
			return status.Errorf(codes.ResourceExhausted, "the events of %s that were asked for take more than %d bytes, the limit of one message: "+
				"ask for fewer with lower_bound and upper_bound, or use GetEvents", key, s.options.MaxMessageBytes)
		}
		whole.Pages = append(whole.Pages, added...)
		return nil
	})
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	return whole, nil
}

// GetEvents streams the range as the books in which it was stored.
func (s *Server) GetEvents(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	send := func(events []eventstore.Event) error {
		for _, events := range eventstore.Books(events) {
			if err := stream.Send(events); err != nil {
				return err
			}
		}
		return nil
	}
	if query.GetCorrelationId() != "" && query.Domain == "" && query.Root == nil && query.AggregateId == "" {
		return rpcerr.Status(s.eachCorrelated(stream.Context(), query, send))
	}
	key, err := book.KeyFrom(query.GetDomain(), query.GetRoot(), query.GetAggregateId())
	if err != nil {
		return rpcerr.Status(err)
	}
	return rpcerr.Status(s.each(stream.Context(), key, query, send))
}

// Synchronize answers each query with one book, in order.
func (s *Server) Synchronize(stream grpc.BidiStreamingServer[pb.Query, pb.EventBook]) error {
	for {
		query, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		events, err := s.GetEventBook(stream.Context(), query)
		if err != nil {
			return err
		}
		if err := stream.Send(events); err != nil {
			return err
		}
	}
}

// GetAggregateRoots lists every aggregate in the order of domain and root.
func (s *Server) GetAggregateRoots(_ *emptypb.Empty, stream grpc.ServerStreamingServer[pb.AggregateRoot]) error {
	var after book.Key
	for {
		roots, err := s.options.Store.Roots(stream.Context(), after, page)
		if err != nil {
			return rpcerr.Status(err)
		}
		for _, root := range roots {
			listed := &pb.AggregateRoot{Domain: root.Key.Domain, Root: root.Key.Cover("").Root, AggregateId: root.Name}
			if err := stream.Send(listed); err != nil {
				return err
			}
		}
		if len(roots) < page {
			return nil
		}
		after = roots[len(roots)-1].Key
	}
}

// each reads the range of one aggregate page by page and hands over the events
// that the query's other conditions leave, never none. A page may end within the
// events of one command; they are held back until the rest is there.
func (s *Server) each(ctx context.Context, key book.Key, query *pb.Query, handle func([]eventstore.Event) error) error {
	from, to := book.Bounds(query)
	wanted := wantedBy(query)
	var held []eventstore.Event
	for from <= to {
		events, err := s.options.Store.Events(ctx, key, eventstore.Range{From: from, To: to, Limit: page})
		if err != nil {
			return err
		}
		full := len(events) == page && events[page-1].Sequence < to
		if len(events) > 0 {
			from = events[len(events)-1].Sequence + 1
		}
		events = append(held, wanted(events)...)
		held = nil
		if full {
			events, held = splitLast(events)
		}
		if len(events) > 0 {
			if err := handle(events); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
	}
	return nil
}

// splitLast cuts off the events of the last command, whose rest may follow.
func splitLast(events []eventstore.Event) (before, last []eventstore.Event) {
	i := len(events)
	for i > 0 && events[i-1].CommandID == events[len(events)-1].CommandID {
		i--
	}
	return events[:i:i], events[i:]
}

// eachCorrelated does the same for all aggregates of a correlation.
func (s *Server) eachCorrelated(ctx context.Context, query *pb.Query, handle func([]eventstore.Event) error) error {
	wanted, after := wantedBy(query), uint64(0)
	for {
		events, err := s.options.Store.ByCorrelation(ctx, query.CorrelationId, after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		after = events[len(events)-1].Position
		if left := wanted(events); len(left) > 0 {
			if err := handle(left); err != nil {
				return err
			}
		}
	}
}

// wantedBy returns a filter for the conditions that are not ranges of numbers.
func wantedBy(query *pb.Query) func([]eventstore.Event) []eventstore.Event {
	until := time.Unix(0, math.MaxInt64)
	if query.AsOfTime != nil {
		until = query.AsOfTime.AsTime()
	}
	return func(events []eventstore.Event) []eventstore.Event {
		if query.AsOfTime == nil && query.CorrelationId == "" {
			return events
		}
		var left []eventstore.Event
		for _, event := range events {
			if event.CreatedAt.After(until) || query.CorrelationId != "" && event.CorrelationID != query.CorrelationId {
				continue
			}
			left = append(left, event)
		}
		return left
	}
}
