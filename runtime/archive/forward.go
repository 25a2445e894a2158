package archive

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Forward serves Archive at a door that has no store, by asking a process that has
// one.
func Forward(to pb.ArchiveClient) pb.ArchiveServer { return &forward{to: to} }

type forward struct {
	pb.UnimplementedArchiveServer
	to pb.ArchiveClient
}

func (f *forward) Export(request *pb.ExportRequest, stream grpc.ServerStreamingServer[pb.ArchiveBatch]) error {
	from, err := f.to.Export(stream.Context(), request)
	if err != nil {
		return err
	}
	return pass(from.Recv, stream.Send)
}

func (f *forward) Import(stream grpc.BidiStreamingServer[pb.ImportRequest, pb.ImportProgress]) error {
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	to, err := f.to.Import(ctx)
	if err != nil {
		return err
	}
	go func() {
		// Whatever ends this is seen by the other direction: the end of the requests
		// there, an error of the caller by the context.
		if pass(stream.Recv, to.Send) == nil {
			_ = to.CloseSend()
			return
		}
		if stream.Context().Err() != nil {
			stop()
		}
	}()
	return pass(to.Recv, stream.Send)
}

// pass hands on what comes until there is no more.
func pass[M any](receive func() (M, error), send func(M) error) error {
	for {
		message, err := receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = send(message)
		}
		if err != nil {
			return err
		}
	}
}
