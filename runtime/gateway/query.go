package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// GetEventBook asks the log of the query's domain.
func (g *Gateway) GetEventBook(ctx context.Context, query *pb.Query) (*pb.EventBook, error) {
	log, err := g.reader(query)
	if err != nil {
		return nil, err
	}
	return limited(ctx, g, query.GetDomain(), func(ctx context.Context) (*pb.EventBook, error) {
		return log.GetEventBook(ctx, query)
	})
}

// GetEvents asks the log of the query's domain; for a query by correlation
// alone, all of them.
func (g *Gateway) GetEvents(query *pb.Query, client grpc.ServerStreamingServer[pb.EventBook]) error {
	if query.GetDomain() == "" && query.GetCorrelationId() != "" {
		return g.correlated(query, client)
	}
	log, err := g.reader(query)
	if err != nil {
		return err
	}
	books, err := log.GetEvents(client.Context(), query)
	if err != nil {
		return err
	}
	return each(books, client.Send)
}

// Synchronize answers one query after the other as GetEventBook does.
func (g *Gateway) Synchronize(client grpc.BidiStreamingServer[pb.Query, pb.EventBook]) error {
	for {
		query, err := client.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		events, err := g.GetEventBook(client.Context(), query)
		if err != nil {
			return err
		}
		if err := client.Send(events); err != nil {
			return err
		}
	}
}

// GetAggregateRoots lists the aggregates of all logs in the order of domain and
// root, each once.
func (g *Gateway) GetAggregateRoots(request *emptypb.Empty, client grpc.ServerStreamingServer[pb.AggregateRoot]) error {
	ctx, cancel := context.WithCancel(client.Context())
	defer cancel()
	var logs []source[pb.AggregateRoot]
	for _, reader := range g.readers() {
		roots, err := reader.client.GetAggregateRoots(ctx, request)
		if err != nil {
			return err
		}
		logs = append(logs, roots)
	}
	var last *pb.AggregateRoot
	return merge(logs, compareRoots, func(root *pb.AggregateRoot) error {
		if last != nil && compareRoots(last, root) == 0 {
			return nil
		}
		last = root
		return client.Send(root)
	})
}

func compareRoots(a, b *pb.AggregateRoot) int {
	if a.Domain != b.Domain {
		return bytes.Compare([]byte(a.Domain), []byte(b.Domain))
	}
	return bytes.Compare(a.Root.GetValue(), b.Root.GetValue())
}

// correlated answers a query by correlation from all logs. Between logs, which
// know nothing of each other's positions, time decides.
func (g *Gateway) correlated(query *pb.Query, client grpc.ServerStreamingServer[pb.EventBook]) error {
	ctx, cancel := context.WithCancel(client.Context())
	defer cancel()
	var logs []source[pb.EventBook]
	for _, reader := range g.readers() {
		books, err := reader.client.GetEvents(ctx, query)
		if err != nil {
			return err
		}
		logs = append(logs, books)
	}
	return merge(logs, compareTimes, client.Send)
}

func compareTimes(a, b *pb.EventBook) int {
	return firstPage(a).GetCreatedAt().AsTime().Compare(firstPage(b).GetCreatedAt().AsTime())
}

func firstPage(events *pb.EventBook) *pb.EventPage {
	if len(events.GetPages()) == 0 {
		return nil
	}
	return events.Pages[0]
}

// reader is one log.
type reader struct {
	conn   grpc.ClientConnInterface // nil for the one that knows everything
	client pb.EventQueryClient
}

// readers returns all logs there are, usually one.
func (g *Gateway) readers() []reader {
	if g.options.Query != nil {
		return []reader{{client: g.options.Query}}
	}
	var readers []reader
	for _, conn := range g.options.Routes.connections() {
		readers = append(readers, reader{conn, pb.NewEventQueryClient(conn)})
	}
	return readers
}

// reader returns the log to ask about one aggregate.
func (g *Gateway) reader(query *pb.Query) (pb.EventQueryClient, error) {
	if g.options.Query != nil {
		return g.options.Query, nil
	}
	if query.GetDomain() == "" {
		return nil, status.Error(codes.InvalidArgument, `domain: found nothing, expected the name of a domain, such as "customer"`)
	}
	conn, err := g.route(query.Domain)
	if err != nil {
		return nil, err
	}
	return pb.NewEventQueryClient(conn), nil
}
