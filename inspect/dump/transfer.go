package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"

	"time"
)

// ExportRequest says what is exported. Everything that is set must hold.
type ExportRequest struct {
	Domains          []string
	Since, Until     time.Time // of a book's first event; zero for any
	CorrelationID    string
	Whole            bool // also what was stored earlier for the same aggregates
	WithoutSnapshots bool
	// Progress is told how much of the log has been looked at; nil for nobody.
	Progress func(done, total uint64)
}

// Export writes what a system has stored, in the order in which it was stored.
// Errors of the system are gRPC statuses as they came.
func Export(ctx context.Context, conn grpc.ClientConnInterface, types Types, request ExportRequest, to io.Writer) (Counts, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := pb.NewArchiveClient(conn).Export(ctx, &pb.ExportRequest{
		Domains: request.Domains, Since: stamp(request.Since), Until: stamp(request.Until), CorrelationId: request.CorrelationID,
		Whole: request.Whole, WithoutSnapshots: request.WithoutSnapshots,
	})
	if err != nil {
		return Counts{}, err
	}
	// While one batch is written the next one arrives.
	batches := make(chan *pb.ArchiveBatch, 1)
	received := make(chan error, 1)
	go func() {
		defer close(batches)
		for {
			batch, err := stream.Recv()
			if err != nil {
				received <- err
				return
			}
			select {
			case batches <- batch:
			case <-ctx.Done():
				received <- ctx.Err()
				return
			}
		}
	}()
	var writer *Writer
	for batch := range batches {
		if writer == nil { // a refused export leaves nothing written
			if writer, err = NewWriter(to, types); err != nil {
				return Counts{}, err
			}
		}
		if err := writer.Write(batch); err != nil {
			return writer.counts, err
		}
		if request.Progress != nil {
			request.Progress(batch.Position, batch.Head)
		}
	}
	if err := <-received; !errors.Is(err, io.EOF) {
		return Counts{}, err
	}
	if writer == nil {
		if writer, err = NewWriter(to, types); err != nil {
			return Counts{}, err
		}
	}
	return writer.Close()
}

func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// ImportRequest says what is imported and how.
type ImportRequest struct {
	// From is the file, of which nothing is stored before all of it has been looked
	// at. What it says is kept in a temporary file meanwhile.
	From  io.Reader
	Name  string // of the file
	Types Types  // nil when no types are known
	// Merge adds to what is there; books that are there already are passed over.
	Merge bool
	// DryRun only looks.
	DryRun bool
	// SkipConflicts leaves out the aggregates that something is wrong with, instead
	// of storing nothing at all.
	SkipConflicts bool
	// History has the sagas take what is imported as done.
	History bool
	// Partial accepts a file without its last line.
	Partial bool
	// Progress is told how many lines have been dealt with; nil for nobody.
	Progress func(looked, stored uint64)
}

// Imported is what became of an import.
type Imported struct {
	Counts            // stored, or those that would be
	Skipped  uint64   // books that were there already
	LeftOut  uint64   // aggregates that something is wrong with
	Problems Problems // all that is wrong
}

// Problems is all that is wrong with a file.
type Problems []*Problem

// mostShown is how many problems are told of.
const mostShown = 100

// Error lists the problems by line.
func (p Problems) Error() string {
	text := ""
	for i, problem := range p {
		if i == mostShown {
			return text + fmt.Sprintf("\nand %d more", len(p)-mostShown)
		}
		if i > 0 {
			text += "\n"
		}
		text += problem.Error()
	}
	return text
}

// Import stores what Export wrote. With something wrong in the file the error is
// Problems, and nothing has been stored unless SkipConflicts says so; other errors
// are those of reading, and gRPC statuses as they came.
func Import(ctx context.Context, conn grpc.ClientConnInterface, request ImportRequest) (_ Imported, err error) {
	kept, err := newSpool()
	if err != nil {
		return Imported{}, err
	}
	defer func() {
		if failed := kept.close(); err == nil {
			err = failed // a status stays what it was
		}
	}()
	im := &importing{client: pb.NewArchiveClient(conn), request: request, kept: kept, wrong: map[book.Key]bool{}}
	looked, err := im.pass(ctx, true)
	if err != nil {
		return looked, err
	}
	fatal := len(im.problems) > 0 && (!request.SkipConflicts || im.unreadable)
	if request.DryRun || fatal {
		looked.LeftOut, looked.Problems = uint64(len(im.wrong)), im.problems
		return looked, im.failure()
	}
	known := len(im.problems)
	stored, err := im.pass(ctx, false)
	stored.LeftOut, stored.Problems = uint64(len(im.wrong)), im.problems
	if err == nil && len(im.problems) > known {
		// Somebody else wrote between looking and storing.
		err = im.problems[known:]
	}
	return stored, err
}

// importing is one import.
type importing struct {
	client     pb.ArchiveClient
	request    ImportRequest
	problems   Problems
	unreadable bool // a line could not be read, so it is not known what it is about
	kept       *spool
	wrong      map[book.Key]bool
	looked     uint64
}

// failure is all that is wrong, nil for nothing.
func (im *importing) failure() error {
	if len(im.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(im.problems, func(a, b *Problem) int { return int(a.Line) - int(b.Line) })
	return im.problems
}

// pass goes through the file once, only looking or storing.
func (im *importing) pass(ctx context.Context, look bool) (Imported, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := im.client.Import(ctx)
	if err != nil {
		return Imported{}, err
	}
	options := &pb.ImportOptions{Merge: im.request.Merge, DryRun: look, History: im.request.History}
	if err := stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Options{Options: options}}); err != nil {
		return Imported{}, answerOf(stream, err)
	}
	answers := make(chan answers, 1)
	go func() { answers <- im.listen(stream) }()
	reading := im.send(stream, look)
	if reading != nil && !errors.Is(reading, io.EOF) {
		stop()
	}
	answered := <-answers
	if reading != nil && !errors.Is(reading, io.EOF) {
		return answered.Imported, reading
	}
	if answered.err != nil {
		return answered.Imported, answered.err
	}
	for _, problem := range answered.problems {
		im.problems = append(im.problems, &Problem{im.request.Name, problem.Line, named(problem)})
		if key, err := book.KeyOf(problem.Cover); err == nil {
			im.wrong[key] = true
		}
	}
	return answered.Imported, nil
}

// named says which aggregate a problem is about.
func named(problem *pb.ImportProblem) string {
	key, err := book.KeyOf(problem.Cover)
	if err != nil {
		return problem.Message
	}
	name := problem.Cover.AggregateId
	if name == "" {
		name = key.Root.String()
	}
	return fmt.Sprintf("%s %s: %s", key.Domain, name, problem.Message)
}

// answerOf returns why a stream takes no more.
func answerOf(stream grpc.BidiStreamingClient[pb.ImportRequest, pb.ImportProgress], err error) error {
	if errors.Is(err, io.EOF) {
		_, err = stream.Recv()
	}
	return err
}

// send sends the file. io.EOF says that the other end wants no more and tells
// why.
func (im *importing) send(stream grpc.BidiStreamingClient[pb.ImportRequest, pb.ImportProgress], look bool) error {
	next := im.again
	if look {
		next = im.look(NewReader(im.request.From, im.request.Name, im.request.Types))
	}
	for {
		batch, err := next()
		if errors.Is(err, io.EOF) {
			return stream.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Batch{Batch: batch}}); err != nil {
			return err
		}
	}
}

// look returns what reads the file's batches and notes what is wrong with it.
func (im *importing) look(reader *Reader) func() (*pb.ArchiveBatch, error) {
	return func() (*pb.ArchiveBatch, error) {
		batch, problems, err := reader.Next()
		if errors.Is(err, io.EOF) && !reader.Ended() && !im.request.Partial {
			problems = append(problems, &Problem{im.request.Name, reader.line, `the last line {"kind":"end",…} is missing, so something may have been cut off: export again, or import what is there with --partial`})
		}
		im.problems = append(im.problems, problems...)
		im.unreadable = im.unreadable || len(problems) > 0
		if err != nil {
			return nil, err
		}
		im.looked = reader.line
		im.tell(0)
		if im.request.DryRun {
			return batch, nil
		}
		batch.Position = reader.line // for the second time
		return batch, im.kept.add(batch)
	}
}

// again reads the batches once more, without the aggregates that something is
// wrong with.
func (im *importing) again() (*pb.ArchiveBatch, error) {
	batch, err := im.kept.next()
	if err != nil {
		return nil, err
	}
	im.tell(batch.Position)
	im.leaveOut(batch)
	return batch, nil
}

func (im *importing) tell(stored uint64) {
	if im.request.Progress != nil {
		im.request.Progress(im.looked, stored)
	}
}

// leaveOut takes what belongs to aggregates that something is wrong with out of a
// batch.
func (im *importing) leaveOut(batch *pb.ArchiveBatch) {
	if len(im.wrong) == 0 {
		return
	}
	isWrong := func(cover *pb.Cover) bool {
		key, err := book.KeyOf(cover)
		return err != nil || im.wrong[key]
	}
	batch.Books = slices.DeleteFunc(batch.Books, func(b *pb.ArchivedBook) bool { return isWrong(b.Events.Cover) })
	batch.Snapshots = slices.DeleteFunc(batch.Snapshots, func(s *pb.ArchivedSnapshot) bool { return isWrong(s.Cover) })
}

// answers are what the other end said.
type answers struct {
	Imported
	problems []*pb.ImportProblem
	err      error
}

func (im *importing) listen(stream grpc.BidiStreamingClient[pb.ImportRequest, pb.ImportProgress]) (a answers) {
	for {
		progress, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			a.err = err
			return a
		}
		a.Counts = Counts{Books: progress.Books, Events: progress.Events, Snapshots: progress.Snapshots}
		a.Skipped = progress.Skipped
		a.problems = append(a.problems, progress.Problems...)
	}
}
