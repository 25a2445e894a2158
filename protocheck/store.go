package protocheck

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// ReadStore counts what a system has stored, over its archive. It goes through
// everything once and keeps samples only. With states it also looks at every
// aggregate's snapshot, which takes several times as long. progress, which may be
// nil, is told how much of the log has been seen. Errors are gRPC's.
func ReadStore(ctx context.Context, conn grpc.ClientConnInterface, states bool, progress func(seen, all uint64)) (*Tally, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := pb.NewArchiveClient(conn).Export(ctx, &pb.ExportRequest{WithoutSnapshots: !states})
	tally := &Tally{}
	for err == nil {
		var batch *pb.ArchiveBatch
		if batch, err = stream.Recv(); errors.Is(err, io.EOF) {
			return tally, nil
		}
		for _, book := range batch.GetBooks() {
			for _, page := range book.GetEvents().GetPages() {
				tally.Add(page.GetEvent().GetTypeUrl(), page.GetEvent().GetValue())
			}
		}
		for _, snapshot := range batch.GetSnapshots() {
			tally.AddState(snapshot.GetState().GetTypeUrl(), snapshot.GetState().GetValue())
		}
		if progress != nil && err == nil {
			progress(batch.GetPosition(), batch.GetHead())
		}
	}
	return nil, err
}
