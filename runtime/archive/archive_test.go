package archive_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/archive"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is an archive over a store in memory.
type world struct {
	t      *testing.T
	store  *sqlite.Store
	client pb.ArchiveClient
}

func newWorld(t *testing.T, edit func(*archive.Options)) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{CorrelationIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	options := archive.Options{Store: store}
	if edit != nil {
		edit(&options)
	}
	conn := transport.NewMemory()
	pb.RegisterArchiveServer(conn, archive.New(options))
	t.Cleanup(conn.Wait)
	return &world{t, store, pb.NewArchiveClient(conn)}
}

var happened = time.Date(2026, time.March, 14, 15, 9, 26, 535_897_932, time.UTC)

func command(key book.Key, next uint32, payloads ...string) eventstore.Append {
	request := eventstore.Append{
		CommandID: book.DerivedID("test", key.String(), fmt.Sprint(next)), Key: key, Name: "the " + key.Domain, Next: next,
		CorrelationID: "c-" + key.Domain, Causation: "saga x/y/1", Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	for i, payload := range payloads {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "x/test.Happened", Payload: []byte(payload), CreatedAt: happened.Add(time.Duration(next)*time.Hour + time.Duration(i))})
	}
	return request
}

func key(domain string, n int) book.Key {
	return book.Key{Domain: domain, Root: book.DerivedID("root", domain, fmt.Sprint(n))}
}

func (w *world) must(requests ...eventstore.Append) {
	w.t.Helper()
	for i, result := range w.store.AppendAll(w.t.Context(), requests) {
		if result.Err != nil {
			w.t.Fatalf("append %d: %v", i, result.Err)
		}
	}
}

// fill stores something of every kind.
func (w *world) fill() {
	w.t.Helper()
	order, other, customer := key("order", 1), key("order", 2), key("customer", 1)
	w.must(command(order, 0, "a", "b"), command(customer, 0, "c"), command(order, 2, "\xff\x00"), command(other, 0, ""), command(customer, 1, "d"))
	if err := w.store.SaveSnapshot(w.t.Context(), eventstore.Snapshot{Key: order, Sequence: 1, TypeURL: "x/test.State", State: []byte("s")}); err != nil {
		w.t.Fatal(err)
	}
	letter := eventstore.Parked{
		Subscription: "saga/loyalty/refused", Position: 3, Key: customer, Attempts: 2, Reason: "command 0 refused: \"no\"\ncommand 1 refused: \"never\"",
		State: eventstore.StateResolved, FirstAt: happened, LastAt: happened.Add(time.Second),
	}
	if err := w.store.Advance(w.t.Context(), eventstore.Advance{Name: "saga/loyalty", Park: []eventstore.Parked{letter}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) export(request *pb.ExportRequest) (all *pb.ArchiveBatch) {
	w.t.Helper()
	stream, err := w.client.Export(w.t.Context(), request)
	if err != nil {
		w.t.Fatal(err)
	}
	all = &pb.ArchiveBatch{}
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			w.t.Fatal(err)
		}
		all.Books, all.Snapshots = append(all.Books, batch.Books...), append(all.Snapshots, batch.Snapshots...)
		all.Position, all.Head = batch.Position, batch.Head
	}
}

func (w *world) imported(options *pb.ImportOptions, batches ...*pb.ArchiveBatch) (*pb.ImportProgress, error) {
	w.t.Helper()
	stream, err := w.client.Import(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Options{Options: options}})
	for _, batch := range batches {
		_ = stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Batch{Batch: proto.CloneOf(batch)}})
	}
	_ = stream.CloseSend()
	last := &pb.ImportProgress{}
	var problems []*pb.ImportProblem
	for {
		progress, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			last.Problems = problems
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last, problems = progress, append(problems, progress.Problems...)
	}
}

func (w *world) expect(want *pb.ImportProgress, options *pb.ImportOptions, batches ...*pb.ArchiveBatch) {
	w.t.Helper()
	got, err := w.imported(options, batches...)
	if err != nil {
		w.t.Fatalf("import: %v", err)
	}
	for _, problem := range got.Problems {
		problem.Cover = nil
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.t.Errorf("import (-want +got):\n%s", diff)
	}
}

func TestAnImportMakesTheSameStore(t *testing.T) {
	t.Parallel()
	from, to := newWorld(t, nil), newWorld(t, nil)
	from.fill()
	all := from.export(&pb.ExportRequest{})
	if len(all.Books) != 5 || len(all.Snapshots) != 1 || len(all.Books[1].Refusals) != 1 || all.Head != 6 || all.Position != 6 {
		t.Fatalf("exported %v", all)
	}
	want := &pb.ImportProgress{Books: 5, Events: 6, Snapshots: 1}
	to.expect(want, &pb.ImportOptions{DryRun: true}, all)
	if to.store.Head() != 0 {
		t.Fatal("a dry run stored something")
	}
	to.expect(want, &pb.ImportOptions{}, all)
	if diff := cmp.Diff(all, to.export(&pb.ExportRequest{}), protocmp.Transform()); diff != "" {
		t.Errorf("exported again (-want +got):\n%s", diff)
	}
	fromLog, _ := from.store.ReadLog(t.Context(), 0, 100)
	toLog, _ := to.store.ReadLog(t.Context(), 0, 100)
	if diff := cmp.Diff(fromLog, toLog, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestALogThatIsNotEmptyIsRefusedOrMerged(t *testing.T) {
	t.Parallel()
	from, to := newWorld(t, nil), newWorld(t, nil)
	from.fill()
	all := from.export(&pb.ExportRequest{})
	to.must(command(key("else", 1), 0, "z"))
	if _, err := to.imported(&pb.ImportOptions{}, all); status.Code(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
	to.expect(&pb.ImportProgress{Books: 5, Events: 6, Snapshots: 1}, &pb.ImportOptions{Merge: true}, all)
	for _, dry := range []bool{true, false} {
		to.expect(&pb.ImportProgress{Skipped: 5, Snapshots: 1}, &pb.ImportOptions{Merge: true, DryRun: dry}, all)
	}
	if head := to.store.Head(); head != 7 {
		t.Errorf("the log ends at %d, want 7", head)
	}
	// What was refused moved with its book.
	again := to.export(&pb.ExportRequest{Domains: []string{"customer"}})
	if len(again.Books) != 2 || len(again.Books[0].Refusals) != 1 {
		t.Errorf("exported %v", again.Books)
	}
}

func TestConflictsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	from, to := newWorld(t, nil), newWorld(t, nil)
	from.fill()
	all := from.export(&pb.ExportRequest{})
	for i, archived := range all.Books {
		archived.Line = uint64(i + 2)
	}
	// The first command of the order is another one here, and so is what the
	// customer's first command stored.
	another := command(key("order", 1), 0, "x")
	another.CommandID = uuid.New()
	changed := command(key("customer", 1), 0, "not c")
	to.must(another, changed)
	// The order's book in line 4 builds on that in line 2, which is enough to say.
	want := &pb.ImportProgress{Books: 1, Events: 1, Problems: []*pb.ImportProblem{
		{Line: 2, Message: "event 0 of this aggregate is here already, and is another one"},
		{Line: 3, Message: "its command " + changed.CommandID.String() + " is known here, as event 0 of " + changed.Key.String() + ", but its event 0 has other content"},
	}}
	to.expect(want, &pb.ImportOptions{Merge: true, DryRun: true}, all)
	to.expect(want, &pb.ImportOptions{Merge: true}, &pb.ArchiveBatch{Books: all.Books[:2]}, &pb.ArchiveBatch{Books: all.Books[2:]})
	// Nothing of the aggregates in question was stored.
	for _, other := range []book.Key{key("order", 1), key("customer", 1)} {
		if info, _ := to.store.Aggregate(t.Context(), other); info.Next != 1 {
			t.Errorf("%s has %d events, want 1", other, info.Next)
		}
	}
}

func TestEventsThatMissTheirPastAreRefused(t *testing.T) {
	t.Parallel()
	from, to := newWorld(t, nil), newWorld(t, nil)
	from.fill()
	late := from.export(&pb.ExportRequest{Since: timestamppb.New(happened.Add(time.Minute))})
	if len(late.Books) != 2 || len(late.Snapshots) != 0 {
		t.Fatalf("exported %v", late)
	}
	to.expect(&pb.ImportProgress{Problems: []*pb.ImportProblem{
		{Message: "it begins with event 2, and none of the aggregate's earlier events is here"},
		{Message: "it begins with event 1, and none of the aggregate's earlier events is here"},
	}}, &pb.ImportOptions{DryRun: true}, late)
	whole := from.export(&pb.ExportRequest{Since: timestamppb.New(happened.Add(time.Minute)), Whole: true})
	if len(whole.Books) != 4 || len(whole.Snapshots) != 1 {
		t.Fatalf("exported %v", whole)
	}
	to.expect(&pb.ImportProgress{Books: 4, Events: 5, Snapshots: 1}, &pb.ImportOptions{}, whole)
}

func TestFiltersLeaveWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fill()
	for name, c := range map[string]struct {
		request          *pb.ExportRequest
		books, snapshots int
	}{
		"domain":            {&pb.ExportRequest{Domains: []string{"order"}}, 3, 1},
		"domains":           {&pb.ExportRequest{Domains: []string{"order", "customer"}}, 5, 1},
		"no such domain":    {&pb.ExportRequest{Domains: []string{"none"}}, 0, 0},
		"until":             {&pb.ExportRequest{Until: timestamppb.New(happened.Add(time.Minute))}, 3, 0},
		"until, whole":      {&pb.ExportRequest{Until: timestamppb.New(happened.Add(time.Minute)), Whole: true}, 3, 1},
		"correlation":       {&pb.ExportRequest{CorrelationId: "c-order"}, 3, 0},
		"whole correlation": {&pb.ExportRequest{CorrelationId: "c-order", Whole: true}, 3, 1},
		"without snapshots": {&pb.ExportRequest{WithoutSnapshots: true}, 5, 0},
	} {
		got := w.export(c.request)
		if len(got.Books) != c.books || len(got.Snapshots) != c.snapshots {
			t.Errorf("%s: got %d books and %d snapshots, want %d and %d", name, len(got.Books), len(got.Snapshots), c.books, c.snapshots)
		}
	}
	stream, err := w.client.Export(t.Context(), &pb.ExportRequest{Domains: []string{""}})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, want INVALID_ARGUMENT", err)
	}
}

func TestBooksWithMistakesAreToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := func() *pb.ArchivedBook {
		id := uuid.New()
		return &pb.ArchivedBook{CommandId: id[:], Events: &pb.EventBook{
			Cover: key("order", 1).Cover(""), Pages: eventstore.Pages([]eventstore.Event{{TypeURL: "x/y", CreatedAt: happened}}),
		}}
	}
	for name, spoil := range map[string]func(*pb.ArchivedBook){
		"no events":     func(b *pb.ArchivedBook) { b.Events = nil },
		"no domain":     func(b *pb.ArchivedBook) { b.Events.Cover.Domain = "" },
		"no root":       func(b *pb.ArchivedBook) { b.Events.Cover.Root = nil },
		"no command":    func(b *pb.ArchivedBook) { b.CommandId = nil },
		"a nil command": func(b *pb.ArchivedBook) { b.CommandId = make([]byte, 16) },
		"no pages":      func(b *pb.ArchivedBook) { b.Events.Pages = nil },
		"no event":      func(b *pb.ArchivedBook) { b.Events.Pages[0].Event = nil },
		"no time":       func(b *pb.ArchivedBook) { b.Events.Pages[0].CreatedAt = nil },
		"a wrong time":  func(b *pb.ArchivedBook) { b.Events.Pages[0].CreatedAt = &timestamppb.Timestamp{Nanos: -1} },
		"a hole": func(b *pb.ArchivedBook) {
			page := proto.CloneOf(b.Events.Pages[0])
			page.Sequence = &pb.EventPage_Num{Num: 2}
			b.Events.Pages = append(b.Events.Pages, page)
		},
	} {
		spoilt := good()
		spoil(spoilt)
		spoilt.Line = 7
		for _, dry := range []bool{true, false} {
			got, err := w.imported(&pb.ImportOptions{DryRun: dry}, &pb.ArchiveBatch{Books: []*pb.ArchivedBook{spoilt}})
			if err != nil || len(got.Problems) != 1 || got.Problems[0].Line != 7 || got.Books != 0 {
				t.Errorf("%s: got %v, %v", name, got, err)
			}
		}
	}
	if w.store.Head() != 0 {
		t.Error("something was stored")
	}
}

func TestABookMayGoWhereverItsAggregateIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.must(command(key("order", 1), 0, "a", "b"))
	id := uuid.New()
	seed := &pb.ArchivedBook{CommandId: id[:], Events: &pb.EventBook{Cover: key("order", 1).Cover(""), Pages: eventstore.Pages([]eventstore.Event{{TypeURL: "x/y"}})}}
	seed.Events.Pages[0].Sequence, seed.Events.Pages[0].CreatedAt = &pb.EventPage_Force{Force: true}, nil
	batch := &pb.ArchiveBatch{Books: []*pb.ArchivedBook{seed}}
	w.expect(&pb.ImportProgress{Books: 1, Events: 1}, &pb.ImportOptions{Merge: true, DryRun: true}, batch)
	w.expect(&pb.ImportProgress{Books: 1, Events: 1}, &pb.ImportOptions{Merge: true}, batch)
	w.must(command(key("order", 1), 3, "c"))
	w.expect(&pb.ImportProgress{Skipped: 1}, &pb.ImportOptions{Merge: true}, batch)
	if w.store.Head() != 4 {
		t.Errorf("the log ends at %d, want 4", w.store.Head())
	}
}

func TestSagasTakeHistoryAsDone(t *testing.T) {
	t.Parallel()
	from := newWorld(t, nil)
	from.fill()
	all := from.export(&pb.ExportRequest{})
	to := newWorld(t, func(o *archive.Options) { o.Sagas = map[string][]string{"loyalty": nil, "picky": {"order"}} })
	to.expect(&pb.ImportProgress{Books: 5, Events: 6, Snapshots: 1}, &pb.ImportOptions{History: true}, all)
	positions, err := to.store.Positions(t.Context())
	if err != nil || len(positions) != 2 {
		t.Fatalf("got %v, %v", positions, err)
	}
	for _, position := range positions {
		if position.Position != 6 || position.Member != uuid.Nil {
			t.Errorf("got %+v, want position 6 and nobody there", position)
		}
	}
	// What a saga has left to do cannot be told from what is imported.
	to.must(command(key("else", 1), 0, "z"))
	if _, err := to.imported(&pb.ImportOptions{History: true, Merge: true}, all); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v, want FAILED_PRECONDITION", err)
	}
}

func TestSagasThatCannotBeHeldPreventAnImport(t *testing.T) {
	t.Parallel()
	from := newWorld(t, nil)
	from.fill()
	all := from.export(&pb.ExportRequest{})
	held, released := 0, 0
	hold := func(o *archive.Options) {
		o.Hold, o.Address = func() func() { held++; return func() { released++ } }, "here"
	}
	plain, holding := newWorld(t, nil), newWorld(t, hold)
	for _, w := range []*world{plain, holding} {
		if _, err := w.store.Share(t.Context(), eventstore.Share{Name: "saga/x", Member: uuid.New(), Address: "here", Slices: 1, Lease: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := plain.imported(&pb.ImportOptions{}, all); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a saga elsewhere: got %v, want FAILED_PRECONDITION", err)
	}
	if _, err := holding.imported(&pb.ImportOptions{History: true}, all); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("history where a saga runs: got %v, want FAILED_PRECONDITION", err)
	}
	if _, err := holding.imported(&pb.ImportOptions{}, all); err != nil || held != 1 || released != 1 {
		t.Errorf("got %v, held %d times and released %d times", err, held, released)
	}
}

func TestAnImportBeginsWithItsOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	stream, err := w.client.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Batch{Batch: &pb.ArchiveBatch{}}})
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, want INVALID_ARGUMENT", err)
	}
}

func TestOneImportAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	first, err := w.client.Import(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Options{Options: &pb.ImportOptions{}}})
	_ = first.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Batch{Batch: &pb.ArchiveBatch{}}})
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.imported(&pb.ImportOptions{}); status.Code(err) != codes.Aborted {
		t.Errorf("got %v, want ABORTED", err)
	}
	leave()
}

func TestADoorWithoutAStorePassesOn(t *testing.T) {
	t.Parallel()
	from, to := newWorld(t, nil), newWorld(t, nil)
	from.fill()
	for _, w := range []*world{from, to} {
		conn := transport.NewMemory()
		pb.RegisterArchiveServer(conn, archive.Forward(w.client))
		t.Cleanup(conn.Wait)
		w.client = pb.NewArchiveClient(conn)
	}
	all := from.export(&pb.ExportRequest{})
	to.expect(&pb.ImportProgress{Books: 5, Events: 6, Snapshots: 1}, &pb.ImportOptions{}, all)
	if _, err := to.imported(&pb.ImportOptions{}, all); status.Code(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
}
