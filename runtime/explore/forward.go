package explore

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Forward serves Explorer at a door that has no store, by asking a process that
// has one. States are asked of the process that serves the domain: of returns it,
// nil when there is none.
func Forward(to pb.ExplorerClient, of func(domain string) pb.ExplorerClient) pb.ExplorerServer {
	return &forward{to: to, of: of}
}

type forward struct {
	pb.UnimplementedExplorerServer
	to pb.ExplorerClient
	of func(domain string) pb.ExplorerClient
}

func (f *forward) ListDomains(ctx context.Context, request *emptypb.Empty) (*pb.DomainList, error) {
	return f.to.ListDomains(ctx, request)
}

func (f *forward) ListAggregates(ctx context.Context, query *pb.AggregatesQuery) (*pb.AggregatesPage, error) {
	return f.to.ListAggregates(ctx, query)
}

func (f *forward) GetAggregate(ctx context.Context, cover *pb.Cover) (*pb.AggregateSummary, error) {
	return f.to.GetAggregate(ctx, cover)
}

func (f *forward) GetTopology(ctx context.Context, request *emptypb.Empty) (*pb.Topology, error) {
	return f.to.GetTopology(ctx, request)
}

func (f *forward) GetState(ctx context.Context, query *pb.StateQuery) (*pb.StateAnswer, error) {
	client := f.of(query.GetCover().GetDomain())
	if client == nil {
		return nil, status.Errorf(codes.NotFound, "no process serves the domain %q", query.GetCover().GetDomain())
	}
	return client.GetState(ctx, query)
}

func (f *forward) Tail(query *pb.TailQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	from, err := f.to.Tail(stream.Context(), query)
	if err != nil {
		return err
	}
	return pass(from, stream)
}

func (f *forward) Trace(query *pb.TraceQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	from, err := f.to.Trace(stream.Context(), query)
	if err != nil {
		return err
	}
	return pass(from, stream)
}

// pass hands on what comes until there is no more.
func pass(from grpc.ServerStreamingClient[pb.StoredBook], to grpc.ServerStreamingServer[pb.StoredBook]) error {
	for {
		stored, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = to.Send(stored)
		}
		if err != nil {
			return err
		}
	}
}
