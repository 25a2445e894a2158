package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Import stores what an export gave.
func (s *Server) Import(stream grpc.BidiStreamingServer[pb.ImportRequest, pb.ImportProgress]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetOptions() == nil {
		return rpcerr.Status(&book.Invalid{Field: "message", Found: "a batch", Want: "the options, which come first"})
	}
	if !s.importing.TryLock() {
		return status.Error(codes.Aborted, "another import is under way: wait until it is done")
	}
	defer s.importing.Unlock()
	return rpcerr.Status(s.importAll(stream, first.GetOptions()))
}

func (s *Server) importAll(stream grpc.BidiStreamingServer[pb.ImportRequest, pb.ImportProgress], options *pb.ImportOptions) (err error) {
	ctx := stream.Context()
	if head := s.options.Store.Head(); head > 0 && !options.Merge {
		return status.Errorf(codes.AlreadyExists, "the log holds %d events already: import into an empty one, or merge", head)
	}
	end, err := s.prepare(ctx, options)
	if err != nil {
		return err
	}
	if !options.DryRun {
		s.options.Writing()
	}
	im := &importer{store: s.options.Store, options: options, next: map[aggregate]uint32{}, failed: map[aggregate]bool{}, domains: map[string]uint32{}, progress: &pb.ImportProgress{}}
	// While one batch is stored the next one arrives.
	arrived, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan *pb.ArchiveBatch, 1)
	received := make(chan error, 1)
	go func() { received <- receive(arrived, stream, batches) }()
	for batch := range batches {
		progress, err := im.take(ctx, batch)
		if err == nil {
			err = stream.Send(progress)
		}
		if err != nil {
			stop()
			return errors.Join(err, end(false))
		}
	}
	if err := <-received; err != nil {
		return errors.Join(err, end(false))
	}
	return end(len(im.failed) == 0)
}

// receive passes the batches on until the sender has no more.
func receive(ctx context.Context, stream grpc.BidiStreamingServer[pb.ImportRequest, pb.ImportProgress], to chan<- *pb.ArchiveBatch) error {
	defer close(to)
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if message.GetBatch() == nil {
			return &book.Invalid{Field: "message", Found: "no batch", Want: "a batch after the options"}
		}
		select {
		case to <- message.GetBatch():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// importer is one import.
type importer struct {
	store    Store
	options  *pb.ImportOptions
	domains  map[string]uint32 // numbers for their names
	next     map[aggregate]uint32
	failed   map[aggregate]bool
	progress *pb.ImportProgress
}

// aggregate is a book.Key that takes little memory, because an import remembers
// each one.
type aggregate struct {
	root   uuid.UUID
	domain uint32
}

func (im *importer) aggregate(key book.Key) aggregate {
	number, known := im.domains[key.Domain]
	if !known {
		number = uint32(len(im.domains))
		im.domains[key.Domain] = number
	}
	return aggregate{key.Root, number}
}

// item is one book on its way.
type item struct {
	archived *pb.ArchivedBook
	key      book.Key
	first    uint32 // number of the first event, unless anywhere
	anywhere bool
	request  eventstore.Append
}

// take stores a batch, or only looks at it.
func (im *importer) take(ctx context.Context, batch *pb.ArchiveBatch) (*pb.ImportProgress, error) {
	im.progress.Problems = nil
	var items []*item
	for _, archived := range batch.Books {
		next, err := readItem(archived)
		if err != nil {
			im.problem(archived.GetLine(), archived.GetEvents().GetCover(), next.key, err.Error())
			continue
		}
		if !im.options.DryRun && im.failed[im.aggregate(next.key)] {
			continue // the first one has been told of
		}
		next.request.Repeatable = im.options.Merge
		switch {
		case im.options.DryRun:
			err = im.look(ctx, next)
		case next.anywhere:
			// Where it goes depends on those before it.
			if err = im.keep(ctx, items); err == nil {
				items, err = nil, im.append(ctx, next)
			}
		default:
			items = append(items, next)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := im.keep(ctx, items); err != nil {
		return nil, err
	}
	for _, snapshot := range batch.Snapshots {
		if err := im.snapshot(ctx, snapshot); err != nil {
			return nil, err
		}
	}
	return &pb.ImportProgress{
		Books: im.progress.Books, Events: im.progress.Events, Snapshots: im.progress.Snapshots, Skipped: im.progress.Skipped, Problems: im.progress.Problems,
	}, nil
}

// problem notes what is wrong and gives the aggregate up.
func (im *importer) problem(line uint64, cover *pb.Cover, key book.Key, message string) {
	if key != (book.Key{}) {
		im.failed[im.aggregate(key)] = true
	}
	im.progress.Problems = append(im.progress.Problems, &pb.ImportProblem{Line: line, Cover: cover, Message: message})
}

// readItem checks what can be checked without the store.
func readItem(archived *pb.ArchivedBook) (*item, error) {
	events := archived.GetEvents()
	next := &item{archived: archived}
	var err error
	if next.key, err = book.KeyOf(events.GetCover()); err != nil {
		return next, err
	}
	id, err := commandID(archived.GetCommandId())
	if err != nil {
		return next, err
	}
	if len(events.Pages) == 0 {
		return next, &book.Invalid{Field: "events", Found: "none", Want: "at least one"}
	}
	next.request = eventstore.Append{
		CommandID: id, Key: next.key, Name: events.Cover.AggregateId, CorrelationID: events.CorrelationId,
		Causation: archived.Causation, Trace: events.TraceContext, Events: make([]eventstore.NewEvent, len(events.Pages)),
	}
	next.first, next.anywhere = events.Pages[0].GetNum(), events.Pages[0].GetForce()
	next.request.Next = next.first
	for i, page := range events.Pages {
		if page.GetEvent() == nil {
			return next, &book.Invalid{Field: fmt.Sprintf("events[%d]", i), Found: "no event", Want: "an event in a google.protobuf.Any"}
		}
		if page.GetForce() != next.anywhere || !next.anywhere && uint64(page.GetNum()) != uint64(next.first)+uint64(i) {
			return next, &book.Invalid{Field: fmt.Sprintf("events[%d]", i), Found: fmt.Sprintf("the number %d", page.GetNum()), Want: fmt.Sprint(uint64(next.first) + uint64(i))}
		}
		created := time.Now()
		if !next.anywhere || page.CreatedAt != nil {
			if err := page.GetCreatedAt().CheckValid(); err != nil {
				return next, &book.Invalid{Field: fmt.Sprintf("events[%d].created_at", i), Found: err.Error(), Want: "a time"}
			}
			created = page.CreatedAt.AsTime()
		}
		next.request.Events[i] = eventstore.NewEvent{TypeURL: page.Event.TypeUrl, Payload: page.Event.Value, CreatedAt: created}
	}
	return next, next.request.Check()
}

// look finds out what would become of a book.
func (im *importer) look(ctx context.Context, next *item) error {
	if im.options.Merge {
		stored, err := im.store.ByCommand(ctx, next.request.CommandID)
		if err != nil {
			return err
		}
		if len(stored) > 0 {
			im.known(next, stored)
			return nil
		}
	}
	number, err := im.nextOf(ctx, next.key)
	switch {
	case err != nil:
		return err
	case next.anywhere:
		next.first = number
	case next.first > number && im.failed[im.aggregate(next.key)]:
		return nil // what it builds on has been told of
	case next.first != number:
		im.problem(next.archived.Line, next.archived.Events.Cover, next.key, misplaced(next.first, number))
		return nil
	}
	im.next[im.aggregate(next.key)] = next.first + uint32(len(next.request.Events))
	im.count(next)
	return nil
}

// nextOf returns the number that an aggregate's next event has, with what would
// have been stored so far.
func (im *importer) nextOf(ctx context.Context, key book.Key) (uint32, error) {
	if number, known := im.next[im.aggregate(key)]; known {
		return number, nil
	}
	if !im.options.Merge {
		return 0, nil
	}
	info, err := im.store.Aggregate(ctx, key)
	return info.Next, err
}

// misplaced says why a book cannot follow what is there.
func misplaced(first, next uint32) string {
	if first < next {
		return fmt.Sprintf("event %d of this aggregate is here already, and is another one", first)
	}
	if next == 0 {
		return fmt.Sprintf("it begins with event %d, and none of the aggregate's earlier events is here", first)
	}
	return fmt.Sprintf("it begins with event %d, but the aggregate's events from %d on are not here", first, next)
}

// known notes a book whose command is in the log already.
func (im *importer) known(next *item, stored []eventstore.Event) {
	if difference := next.differs(stored); difference != "" {
		im.problem(next.archived.Line, next.archived.Events.Cover, next.key, difference)
		return
	}
	im.progress.Skipped++
}

// differs says how a book differs from what its command stored here, nothing if
// they are the same.
func (it *item) differs(stored []eventstore.Event) string {
	first := &stored[0]
	where := fmt.Sprintf("its command %s is known here, as event %d of %s,", it.request.CommandID, first.Sequence, first.Key)
	switch {
	case first.Key != it.key:
		return where + " another aggregate"
	case it.anywhere:
		return ""
	case first.Sequence != it.first:
		return where + fmt.Sprintf(" not as event %d", it.first)
	case len(stored) != len(it.request.Events):
		return where + fmt.Sprintf(" with %d events, not %d", len(stored), len(it.request.Events))
	case first.CorrelationID != it.request.CorrelationID:
		return where + fmt.Sprintf(" with the correlation %q, not %q", first.CorrelationID, it.request.CorrelationID)
	case first.Causation != it.request.Causation:
		return where + fmt.Sprintf(" with the cause %q, not %q", first.Causation, it.request.Causation)
	}
	for i := range stored {
		wanted := &it.request.Events[i]
		if stored[i].TypeURL != wanted.TypeURL || !bytes.Equal(stored[i].Payload, wanted.Payload) {
			return where + fmt.Sprintf(" but its event %d has other content", it.first+uint32(i))
		}
		if eventstore.Nanos(stored[i].CreatedAt) != eventstore.Nanos(wanted.CreatedAt) {
			return where + fmt.Sprintf(" but its event %d happened at another time, %s", it.first+uint32(i), stored[i].CreatedAt.Format(time.RFC3339Nano))
		}
	}
	return ""
}

func (im *importer) count(stored *item) {
	if im.failed[im.aggregate(stored.key)] {
		return
	}
	im.progress.Books++
	im.progress.Events += uint64(len(stored.request.Events))
}

// overloaded is how long an import waits between attempts when the store has too
// much to do for others.
func overloaded() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 10 * time.Millisecond, MaxInterval: time.Second, Multiplier: 2, RandomizationFactor: 0.3}
}

// keep stores books in their order.
func (im *importer) keep(ctx context.Context, items []*item) error {
	delays := overloaded()
	for len(items) > 0 {
		requests := make([]eventstore.Append, len(items))
		for i, next := range items {
			requests[i] = next.request
		}
		var again []*item
		refused := map[string][]eventstore.Parked{}
		for i, result := range im.store.AppendAll(ctx, requests) {
			next := items[i]
			if errors.Is(result.Err, eventstore.ErrOverloaded) {
				next.request.Repeatable = true
				again = append(again, next)
				continue
			}
			if err := im.stored(ctx, next, result, refused); err != nil {
				return err
			}
		}
		if err := im.park(ctx, refused); err != nil {
			return err
		}
		if items = again; len(items) > 0 {
			if err := pause(ctx, delays.NextBackOff()); err != nil {
				return err
			}
		}
	}
	return nil
}

// stored notes what became of a book.
func (im *importer) stored(ctx context.Context, next *item, result eventstore.Result, refused map[string][]eventstore.Parked) error {
	conflict := (*eventstore.Conflict)(nil)
	switch {
	case errors.As(result.Err, &conflict):
		im.problem(next.archived.Line, next.archived.Events.Cover, next.key, misplaced(next.first, conflict.Next))
		return nil
	case errors.Is(result.Err, eventstore.ErrUnavailable), errors.Is(result.Err, eventstore.ErrClosed), result.Err != nil && ctx.Err() != nil:
		return result.Err
	case result.Err != nil:
		im.problem(next.archived.Line, next.archived.Events.Cover, next.key, result.Err.Error())
		return nil
	case result.Duplicate:
		im.known(next, result.Events)
	default:
		im.count(next)
	}
	for _, each := range next.archived.Refusals {
		letter := letterOf(next.key, next.first, result.Last, each)
		if result.Duplicate {
			// What is known here counts.
			known, err := im.store.Parked(ctx, eventstore.ParkedQuery{Subscription: letter.Subscription, AfterSubscription: letter.Subscription, AfterPosition: result.Last - 1, Limit: 1})
			if err != nil {
				return err
			}
			if len(known) > 0 && known[0].Position == result.Last {
				continue
			}
		}
		refused[sagaPrefix+each.Saga] = append(refused[sagaPrefix+each.Saga], letter)
	}
	return nil
}

func (im *importer) park(ctx context.Context, refused map[string][]eventstore.Parked) error {
	for subscription, letters := range refused {
		if err := im.store.Advance(ctx, eventstore.Advance{Name: subscription, Park: letters}); err != nil {
			return fmt.Errorf("keep what was refused to %s: %w", subscription, err)
		}
	}
	return nil
}

// append stores a book as the next of its aggregate.
func (im *importer) append(ctx context.Context, next *item) error {
	delays := overloaded()
	next.request.Repeatable = true
	for {
		info, err := im.store.Aggregate(ctx, next.key)
		if err != nil {
			return err
		}
		next.first, next.request.Next = info.Next, info.Next
		result := im.store.AppendAll(ctx, []eventstore.Append{next.request})[0]
		conflict := (*eventstore.Conflict)(nil)
		if errors.As(result.Err, &conflict) || errors.Is(result.Err, eventstore.ErrOverloaded) {
			if err := pause(ctx, delays.NextBackOff()); err != nil {
				return err
			}
			continue
		}
		refused := map[string][]eventstore.Parked{}
		if err := im.stored(ctx, next, result, refused); err != nil {
			return err
		}
		return im.park(ctx, refused)
	}
}

func pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// snapshot keeps a snapshot, or only looks whether it could be kept.
func (im *importer) snapshot(ctx context.Context, archived *pb.ArchivedSnapshot) error {
	key, err := book.KeyOf(archived.GetCover())
	if err == nil && archived.GetState() == nil {
		err = &book.Invalid{Field: "state", Found: "nothing", Want: "a state in a google.protobuf.Any"}
	}
	if err != nil {
		im.problem(archived.GetLine(), archived.GetCover(), key, err.Error())
		return nil
	}
	if im.failed[im.aggregate(key)] {
		return nil
	}
	next, known := im.next[im.aggregate(key)]
	if !known {
		info, err := im.store.Aggregate(ctx, key)
		if err != nil {
			return err
		}
		next = info.Next
	}
	if archived.Sequence >= next {
		im.problem(archived.Line, archived.Cover, key, fmt.Sprintf("it contains event %d, the aggregate has only %d", archived.Sequence, next))
		return nil
	}
	im.progress.Snapshots++
	if im.options.DryRun {
		return nil
	}
	return im.store.SaveSnapshot(ctx, eventstore.Snapshot{Key: key, Sequence: archived.Sequence, TypeURL: archived.State.TypeUrl, State: archived.State.Value})
}
