// Package query is the role that reads what is stored: the events of one
// aggregate as one book or as the books in which they were stored, those of one
// correlation, and the list of all aggregates.
package query

import (
	"context"
	"errors"
	"io"

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

const (
	// page is how many events or aggregates one read returns at most.
	page = 500
	// firstPage is how many events are read while it is not known how large
	// they are.
	firstPage = 16
	// pageBytes is about how many bytes of payload one read returns.
	pageBytes = 1 << 20
)

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
	wish, err := read(query)
	if err == nil && wish.whole {
		err = &book.Invalid{Field: "root", Found: "nothing", Want: "16 bytes, or an aggregate_id instead; for a whole correlation use GetEvents"}
	}
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	info, err := s.options.Store.Aggregate(ctx, wish.key)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	whole, pages := &pb.EventBook{Cover: wish.key.Cover(info.Name)}, 0
	err = s.each(ctx, wish, func(events []eventstore.Event) error {
		last := events[len(events)-1]
		whole.CorrelationId, whole.Position = last.CorrelationID, last.Position
		added := eventstore.Pages(events)
		pages += proto.Size(&pb.EventBook{Pages: added})
		envelope := &pb.EventBook{Cover: whole.Cover, CorrelationId: whole.CorrelationId, Position: whole.Position}
		if pages+proto.Size(envelope) > s.options.MaxMessageBytes {
			return status.Errorf(codes.ResourceExhausted, "the events of %s that were asked for take more than %d bytes, the limit of one message: "+
				"ask for fewer with lower_bound and upper_bound, or use GetEvents", wish.key, s.options.MaxMessageBytes)
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
	wish, err := read(query)
	if err != nil {
		return rpcerr.Status(err)
	}
	each := s.each
	if wish.whole {
		each = s.eachCorrelated
	}
	return rpcerr.Status(each(stream.Context(), wish, func(events []eventstore.Event) error {
		for _, events := range eventstore.Books(events) {
			if err := stream.Send(events); err != nil {
				return err
			}
		}
		return nil
	}))
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
// that the wish's other conditions leave, never none. A page may end within the
// events of one command; they are held back until the rest is there.
func (s *Server) each(ctx context.Context, wish *wish, handle func([]eventstore.Event) error) error {
	from, limit := wish.from, firstPage
	var held []eventstore.Event
	for from <= wish.to {
		read, err := s.options.Store.Events(ctx, wish.key, eventstore.Range{From: from, To: wish.to, Limit: limit})
		if err != nil {
			return err
		}
		full := len(read) == limit && read[limit-1].Sequence < wish.to
		events := append(held, wish.leave(read)...)
		held = nil
		if full {
			from, limit = read[limit-1].Sequence+1, nextPage(read)
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

// nextPage returns how many events to read after these, so that reading large
// events takes no more memory than reading small ones.
func nextPage(events []eventstore.Event) int {
	bytes := 1
	for i := range events {
		bytes += len(events[i].Payload)
	}
	return min(max(len(events)*pageBytes/bytes, 1), page)
}

// splitLast cuts off the events of the last command, whose rest may follow.
func splitLast(events []eventstore.Event) (before, last []eventstore.Event) {
	i := len(events)
	for i > 0 && events[i-1].CommandID == events[len(events)-1].CommandID {
		i--
	}
	return events[:i:i], events[i:]
}

// eachCorrelated does the same for all aggregates of a correlation, in the order
// in which their events were stored.
func (s *Server) eachCorrelated(ctx context.Context, wish *wish, handle func([]eventstore.Event) error) error {
	for after := uint64(0); ; {
		events, err := s.options.Store.ByCorrelation(ctx, wish.correlation, after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		after = events[len(events)-1].Position
		if left := wish.leave(events); len(left) > 0 {
			if err := handle(left); err != nil {
				return err
			}
		}
	}
}
