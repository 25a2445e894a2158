// Package archive is the role that takes what is stored out of a system and puts
// it into another one: books as their commands stored them, with the ids by which
// repetitions are recognised, and snapshots. No service decides anything anew.
//
// DESIGN.md beside this file says what an import must not let sagas see.
package archive

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Store is the part of an event store that the role needs.
type Store interface {
	eventstore.Writer
	eventstore.Bulk
	eventstore.Streams
	eventstore.Log
	eventstore.Index
	eventstore.Subscriptions
	Parked(ctx context.Context, query eventstore.ParkedQuery) ([]eventstore.Parked, error)
}

// Options describe the role.
type Options struct {
	Store Store
	// Hold keeps this process's sagas from acting until release is called; nil
	// when the process has none.
	Hold func() (release func())
	// Address is where other processes reach this one's sagas, empty if they
	// cannot. Sagas that run elsewhere cannot be held.
	Address string
	// Sagas are the configured sagas by name, with the domains they want.
	Sagas map[string][]string
	// Slices is into how many slices a saga's subscription is divided that is not
	// there yet; 1.
	Slices int
	// Writing is told before anything is stored past whoever else writes in this
	// process.
	Writing func()
	Logger  *slog.Logger
}

// Server serves Archive. It is safe for concurrent use; imports come one after
// the other.
type Server struct {
	pb.UnimplementedArchiveServer
	options   Options
	importing sync.Mutex
}

// New returns a server over a store.
func New(options Options) *Server {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Writing == nil {
		options.Writing = func() {}
	}
	options.Slices = max(options.Slices, 1)
	return &Server{options: options}
}

// Bounds of a batch. One book may be larger than that.
const (
	batchBooks = 1000
	batchBytes = 1 << 20
	// page is how many events or aggregates one read returns.
	page = 2000
	// restless is how many pages without anything wanted pass before the caller is
	// told how far the export is.
	restless = 16
)

// Export streams what is stored.
func (s *Server) Export(request *pb.ExportRequest, stream grpc.ServerStreamingServer[pb.ArchiveBatch]) error {
	wish, err := readWish(request)
	if err != nil {
		return rpcerr.Status(err)
	}
	e := &export{store: s.options.Store, wish: wish, head: s.options.Store.Head(), send: stream.Send}
	return rpcerr.Status(e.run(stream.Context()))
}

// wish says what is to be exported.
type wish struct {
	domains      map[string]bool // nil for all
	since, until time.Time       // zero for any
	correlation  string
	whole        bool
	snapshots    bool
}

func readWish(request *pb.ExportRequest) (*wish, error) {
	w := &wish{correlation: request.CorrelationId, whole: request.Whole, snapshots: !request.WithoutSnapshots}
	for i, domain := range request.Domains {
		if domain == "" {
			return nil, &book.Invalid{Field: fmt.Sprintf("domains[%d]", i), Found: "nothing", Want: "the name of a domain"}
		}
		if w.domains == nil {
			w.domains = map[string]bool{}
		}
		w.domains[domain] = true
	}
	for _, bound := range []struct {
		field string
		wire  *timestamppb.Timestamp
		to    *time.Time
	}{{"since", request.Since, &w.since}, {"until", request.Until, &w.until}} {
		if bound.wire == nil {
			continue
		}
		if err := bound.wire.CheckValid(); err != nil {
			return nil, &book.Invalid{Field: bound.field, Found: err.Error(), Want: "a time"}
		}
		*bound.to = bound.wire.AsTime()
	}
	return w, nil
}

// cuts reports whether the wish may leave out some of an aggregate's books.
func (w *wish) cuts() bool { return w.correlation != "" || !w.since.IsZero() || !w.until.IsZero() }

// wants reports whether a book, given by its first event, is wanted.
func (w *wish) wants(first *eventstore.Event) bool {
	return (w.domains == nil || w.domains[first.Key.Domain]) && (w.correlation == "" || w.correlation == first.CorrelationID) &&
		(w.since.IsZero() || !first.CreatedAt.Before(w.since)) && (w.until.IsZero() || first.CreatedAt.Before(w.until))
}

// export is one export.
type export struct {
	store Store
	wish  *wish
	head  uint64
	send  func(*pb.ArchiveBatch) error
	// last is the position of the last wanted event of each aggregate, when their
	// earlier ones are to come along; nil otherwise.
	last     map[book.Key]uint64
	refusals *refusals

	batch *pb.ArchiveBatch
	bytes int
	quiet int // pages since the last batch
}

func (e *export) run(ctx context.Context) (err error) {
	e.batch = &pb.ArchiveBatch{}
	if e.refusals, err = openRefusals(ctx, e.store); err != nil {
		return err
	}
	read := e.readLog
	if e.wish.correlation != "" {
		read = e.readCorrelation
	}
	if e.wish.whole && e.wish.cuts() {
		e.last = map[book.Key]uint64{}
		err := e.each(ctx, read, func(events []eventstore.Event) error {
			if e.wish.wants(&events[0]) {
				e.last[events[0].Key] = events[len(events)-1].Position
			}
			return nil
		})
		if err != nil {
			return err
		}
		read = e.readLog
	}
	if err := e.each(ctx, read, func(events []eventstore.Event) error { return e.book(ctx, events) }); err != nil {
		return err
	}
	if e.wish.snapshots && (!e.wish.cuts() || e.last != nil) {
		if err := e.snapshots(ctx); err != nil {
			return err
		}
	}
	return e.flush(e.head)
}

type reader func(ctx context.Context, after uint64) ([]eventstore.Event, error)

func (e *export) readLog(ctx context.Context, after uint64) ([]eventstore.Event, error) {
	return e.store.ReadLog(ctx, after, page)
}

func (e *export) readCorrelation(ctx context.Context, after uint64) ([]eventstore.Event, error) {
	return e.store.ByCorrelation(ctx, e.wish.correlation, after, page)
}

// each hands over the events of one command after the other, up to the head.
func (e *export) each(ctx context.Context, read reader, handle func([]eventstore.Event) error) error {
	for after := uint64(0); after < e.head; {
		if err := ctx.Err(); err != nil {
			return err
		}
		events, err := read(ctx, after)
		if err != nil || len(events) == 0 {
			return err
		}
		after = events[len(events)-1].Position
		for len(events) > 0 && events[0].Position <= e.head {
			n := max(1, min(events[0].Count-events[0].Offset, len(events)))
			if err := handle(events[:n]); err != nil {
				return err
			}
			events = events[n:]
		}
		if e.quiet++; e.quiet >= restless {
			if err := e.flush(min(after, e.head)); err != nil {
				return err
			}
		}
	}
	return nil
}

// book adds the events of one command to the batch if they are wanted.
func (e *export) book(ctx context.Context, events []eventstore.Event) error {
	first, last := &events[0], &events[len(events)-1]
	if e.last == nil && !e.wish.wants(first) || e.last != nil && last.Position > e.last[first.Key] {
		return nil
	}
	refused, err := e.refusals.at(ctx, last.Position)
	if err != nil {
		return err
	}
	archived := &pb.ArchivedBook{Events: eventstore.Book(events), CommandId: first.CommandID[:], Causation: first.Causation, Refusals: refused}
	e.batch.Books = append(e.batch.Books, archived)
	for i := range events {
		e.bytes += len(events[i].Payload) + len(events[i].TypeURL) + 32
	}
	return e.flushFull(last.Position)
}

func (e *export) flushFull(position uint64) error {
	if len(e.batch.Books)+len(e.batch.Snapshots) < batchBooks && e.bytes < batchBytes {
		return nil
	}
	return e.flush(position)
}

// flush sends what has gathered, which may be nothing but how far the export is.
func (e *export) flush(position uint64) error {
	e.batch.Position, e.batch.Head = position, e.head
	err := e.send(e.batch)
	e.batch, e.bytes, e.quiet = &pb.ArchiveBatch{}, 0, 0
	return err
}

// snapshots adds the snapshots of the aggregates that are exported, unless they
// are of later events.
func (e *export) snapshots(ctx context.Context) error {
	for after := (book.Key{}); ; {
		roots, err := e.store.Roots(ctx, after, page)
		if err != nil || len(roots) == 0 {
			return err
		}
		for _, root := range roots {
			upTo := e.head
			if e.last != nil {
				upTo = e.last[root.Key]
			}
			if upTo == 0 || e.wish.domains != nil && !e.wish.domains[root.Key.Domain] {
				continue
			}
			if err := e.snapshot(ctx, root.Key, upTo); err != nil {
				return err
			}
		}
		after = roots[len(roots)-1].Key
	}
}

func (e *export) snapshot(ctx context.Context, key book.Key, upTo uint64) error {
	info, err := e.store.Aggregate(ctx, key)
	if err != nil || info.Snapshot == nil {
		return err
	}
	next, err := e.store.NextAt(ctx, key, upTo)
	if err != nil || info.Snapshot.Sequence >= next {
		return err
	}
	e.batch.Snapshots = append(e.batch.Snapshots, &pb.ArchivedSnapshot{
		Cover: key.Cover(info.Name), Sequence: info.Snapshot.Sequence, State: &anypb.Any{TypeUrl: info.Snapshot.TypeURL, Value: info.Snapshot.State},
	})
	e.bytes += len(info.Snapshot.State) + 64
	return e.flushFull(e.head)
}

// commandID reads a command id.
func commandID(bytes []byte) (uuid.UUID, error) {
	id, err := uuid.FromBytes(bytes)
	if err != nil || id == uuid.Nil {
		return uuid.Nil, &book.Invalid{Field: "command_id", Found: fmt.Sprintf("%d bytes", len(bytes)), Want: "16 bytes that are not all zero"}
	}
	return id, nil
}
