package gateway_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/transport"
)

// inMemory returns a gateway before a system that stores nothing, so that what
// is measured is the gateway.
func inMemory(own *pb.EventBook) *transport.Memory {
	s := newSystem()
	s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
		return &pb.CommandResponse{Events: own}, nil
	}
	s.subscribe = func(_ *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
		if err := stream.SendHeader(metadata.Pairs("subscribed", "true")); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	behind, front := transport.NewMemory(), transport.NewMemory()
	pb.RegisterAggregateCoordinatorServer(behind, s)
	pb.RegisterEventStreamServer(behind, s)
	pb.RegisterEventQueryServer(behind, s)
	gateway.New(gateway.Options{Routes: gateway.Routes{"*": behind}, Stream: pb.NewEventStreamClient(behind)}).Register(front)
	return front
}

func BenchmarkHandle(b *testing.B) {
	client := pb.NewAggregateCoordinatorClient(inMemory(events("order", "c", 0, 0)))
	ctx, request := b.Context(), command("c")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Handle(ctx, request); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	client := pb.NewCommandGatewayClient(inMemory(events("order", "c", 0, 0)))
	ctx, request := b.Context(), command("c")
	b.ReportAllocs()
	for b.Loop() {
		books, err := client.Execute(ctx, request)
		if err != nil {
			b.Fatal(err)
		}
		if got, ended := drain(books); len(got) != 1 || ended.Err() != nil {
			b.Fatalf("got %v, %v", got, ended)
		}
	}
}
