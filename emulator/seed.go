package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/payload"
)

// seed is a command to be sent, or an event to be stored, once for all runs.
type seed struct {
	seedEntry
	message *anypb.Any
	id      uuid.UUID // by which it is recognised the next time
}

// readSeeds reads seed files and checks everything that can be checked without
// the services. All mistakes are told at once, each with its place.
func readSeeds(ctx context.Context, c *config.Config, paths []string) ([]seed, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	types, err := schemaOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var seeds []seed
	var all error
	times := map[uuid.UUID]int{}
	for _, path := range paths {
		entries, err := readSeedFile(path)
		all = errors.Join(all, err)
		for _, entry := range entries {
			made, err := entry.seed(types, times)
			if err != nil {
				all = errors.Join(all, fmt.Errorf("%s: %w", entry.place, err))
				continue
			}
			seeds = append(seeds, made)
		}
	}
	return seeds, all
}

// seed makes an entry's message and id. times counts entries that are the same,
// since both are meant.
func (e seedEntry) seed(types *payload.Schema, times map[uuid.UUID]int) (seed, error) {
	if err := e.check(); err != nil {
		return seed{}, err
	}
	name := e.Command + e.Event
	message, err := types.Encode(e.Domain, name, e.payload)
	if err != nil {
		return seed{}, err
	}
	made := seed{seedEntry: e, message: message}
	if e.Key != "" {
		made.id = book.DerivedID("seed-key", e.Domain, e.ID, name, e.Key)
	} else {
		same := book.DerivedID("seed", e.Domain, e.ID, message.TypeUrl, string(message.Value))
		made.id = book.DerivedID("seed", same.String(), fmt.Sprint(times[same]))
		times[same]++
	}
	return made, nil
}

// sow sends the commands and stores the events, in their order, over a connection
// to a running system. What an earlier run has sown is recognised. It stops at
// the first that is refused, since others may build on it.
func sow(ctx context.Context, conn grpc.ClientConnInterface, seeds []seed, say func(string)) error {
	commands, events := 0, 0
	for i := range seeds {
		s := &seeds[i]
		var err error
		if s.Event != "" {
			events++
			err = s.store(ctx, conn)
		} else {
			commands++
			err = s.send(ctx, conn)
		}
		if err != nil {
			return fmt.Errorf("%s: %s %s %s: %s; this and the %d after it were not sown", s.place, s.Domain, s.ID, s.Command+s.Event, status.Convert(err).Message(), len(seeds)-i-1)
		}
	}
	if len(seeds) > 0 {
		say(fmt.Sprintf("sown: %d commands and %d events, or they had been before", commands, events))
	}
	return nil
}

// sowTime is how long one seed may take.
const sowTime = time.Minute

func (s *seed) send(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, sowTime)
	defer cancel()
	_, err := pb.NewBusinessCoordinatorClient(conn).Handle(ctx, &pb.BusinessRequest{Command: &pb.BusinessCommand{
		Domain: s.Domain, AggregateId: s.ID, TypeUrl: s.message.TypeUrl, Payload: s.message.Value, CorrelationId: s.Correlation,
		SyncMode: pb.SyncMode(s.sync), IdempotencyKey: "seed/" + s.id.String(),
	}})
	return err
}

func (s *seed) store(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, sowTime)
	defer cancel()
	stream, err := pb.NewArchiveClient(conn).Import(ctx)
	if err != nil {
		return err
	}
	page := &pb.EventPage{Sequence: &pb.EventPage_Force{Force: true}, Event: s.message}
	if !s.at.IsZero() {
		page.CreatedAt = timestamppb.New(s.at)
	}
	correlation := s.Correlation
	if correlation == "" {
		correlation = s.id.String()
	}
	archived := &pb.ArchivedBook{CommandId: s.id[:], Events: &pb.EventBook{
		Cover: &pb.Cover{Domain: s.Domain, AggregateId: s.ID}, CorrelationId: correlation, Pages: []*pb.EventPage{page},
	}}
	for _, message := range []*pb.ImportRequest{
		{Message: &pb.ImportRequest_Options{Options: &pb.ImportOptions{Merge: true}}},
		{Message: &pb.ImportRequest_Batch{Batch: &pb.ArchiveBatch{Books: []*pb.ArchivedBook{archived}}}},
	} {
		if stream.Send(message) != nil {
			break // Recv tells why
		}
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	if len(answer.Problems) > 0 {
		return errors.New(answer.Problems[0].Message)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	// The import has ended when its stream has.
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
