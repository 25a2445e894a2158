package query_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is the role over a real store, on a real socket.
type world struct {
	*testing.T
	pb.EventQueryClient
	store *sqlite.Store
}

func newWorld(t *testing.T, options query.Options) *world {
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
	options.Store = store
	served := runtimetest.Serve(t, func(to grpc.ServiceRegistrar) { pb.RegisterEventQueryServer(to, query.New(options)) })
	conn, err := transport.Dial(served.Address(), transport.DialOptions{Name: "the query role", MaxMessageBytes: options.MaxMessageBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &world{t, pb.NewEventQueryClient(conn), store}
}

func key(n byte) book.Key { return book.Key{Domain: "order", Root: uuid.UUID{15: n}} }

// at is the time of an event of the second hour.
func at(second int) time.Time { return time.Unix(3600+int64(second), 0).UTC() }

// append stores one command with as many events as there are times, and returns
// its book.
func (w *world) append(key book.Key, next uint32, correlation string, times ...time.Time) *pb.EventBook {
	w.Helper()
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Name: fmt.Sprintf("o%d", key.Root[15]), Next: next, CorrelationID: correlation}
	events := &pb.EventBook{Cover: key.Cover(request.Name), CorrelationId: correlation}
	for i, at := range times {
		payload := fmt.Append(nil, next+uint32(i))
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "type.examples/Done", Payload: payload, CreatedAt: at})
		events.Pages = append(events.Pages, &pb.EventPage{
			Sequence: &pb.EventPage_Num{Num: next + uint32(i)}, CreatedAt: timestamppb.New(at), Event: &anypb.Any{TypeUrl: "type.examples/Done", Value: payload},
		})
	}
	appended, err := w.store.Append(w.Context(), request)
	if err != nil {
		w.Fatal(err)
	}
	events.Position = appended.Last
	return events
}

// joined returns books as GetEventBook answers them.
func joined(books ...*pb.EventBook) *pb.EventBook {
	whole := proto.CloneOf(books[0])
	for _, events := range books[1:] {
		whole.Pages = append(whole.Pages, events.Pages...)
		whole.CorrelationId, whole.Position = events.CorrelationId, events.Position
	}
	return whole
}

func times(n int) []time.Time {
	var all []time.Time
	for i := range n {
		all = append(all, at(i))
	}
	return all
}

// received reads a stream to its end.
func received[T any](t *testing.T, stream grpc.ServerStreamingClient[T], err error) []*T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []*T
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, message)
	}
}

// both checks what GetEventBook and GetEvents answer.
func (w *world) both(name string, query *pb.Query, whole *pb.EventBook, books ...*pb.EventBook) {
	w.Helper()
	got, err := w.GetEventBook(w.Context(), query)
	if diff := cmp.Diff(whole, got, protocmp.Transform()); diff != "" || err != nil {
		w.Errorf("%s: GetEventBook: %v %s", name, err, diff)
	}
	stream, err := w.GetEvents(w.Context(), query)
	if diff := cmp.Diff(books, received(w.T, stream, err), protocmp.Transform()); diff != "" {
		w.Errorf("%s: GetEvents: %s", name, diff)
	}
}

func TestRangesOfOneAggregate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	first, second, third := w.append(key(1), 0, "c1", at(0)), w.append(key(1), 1, "c2", at(1), at(2)), w.append(key(1), 3, "c1", at(3))
	w.append(key(2), 0, "c1", at(9))
	whole := joined(first, second, third)
	// part is a part of a book, at the position where it ends.
	part := func(of *pb.EventBook, from, to int, position uint64) *pb.EventBook {
		cut := proto.CloneOf(of)
		cut.Pages, cut.Position = cut.Pages[from:to], position
		return cut
	}
	under := func(events *pb.EventBook, correlation string) *pb.EventBook {
		events.CorrelationId = correlation
		return events
	}
	none := &pb.EventBook{Cover: first.Cover}
	by := func(edit func(*pb.Query)) *pb.Query {
		query := &pb.Query{Domain: "order", Root: first.Cover.Root}
		edit(query)
		return query
	}
	for _, c := range []struct {
		name  string
		query *pb.Query
		whole *pb.EventBook
		books []*pb.EventBook
	}{
		{"everything", by(func(*pb.Query) {}), whole, []*pb.EventBook{first, second, third}},
		{"no bound", by(func(q *pb.Query) { q.UpperBound = math.MaxUint32 }), whole, []*pb.EventBook{first, second, third}},
		{"bounds are inclusive", by(func(q *pb.Query) { q.LowerBound, q.UpperBound = 1, 2 }), second, []*pb.EventBook{second}},
		{"a bound within a command", by(func(q *pb.Query) { q.LowerBound, q.UpperBound = 2, 3 }),
			joined(part(second, 1, 2, 3), third), []*pb.EventBook{part(second, 1, 2, 3), third}},
		{"an upper bound within a command", by(func(q *pb.Query) { q.UpperBound = 1 }),
			joined(first, part(second, 0, 1, 2)), []*pb.EventBook{first, part(second, 0, 1, 2)}},
		{"from_sequence", by(func(q *pb.Query) { q.FromSequence = 3 }), third, []*pb.EventBook{third}},
		{"the higher lower bound counts", by(func(q *pb.Query) { q.FromSequence, q.LowerBound = 1, 3 }), third, []*pb.EventBook{third}},
		{"as of the first", by(func(q *pb.Query) { q.AsOfSequence = proto.Uint32(0) }), first, []*pb.EventBook{first}},
		{"as of a time", by(func(q *pb.Query) { q.AsOfTime = timestamppb.New(at(1)) }),
			joined(first, part(second, 0, 1, 2)), []*pb.EventBook{first, part(second, 0, 1, 2)}},
		{"before all time", by(func(q *pb.Query) { q.AsOfTime = timestamppb.New(at(-1)) }), none, nil},
		{"of one correlation", by(func(q *pb.Query) { q.CorrelationId = "c1" }), under(joined(first, third), "c1"), []*pb.EventBook{first, third}},
		{"bounds that cross", by(func(q *pb.Query) { q.LowerBound, q.UpperBound = 3, 2 }), none, nil},
		{"beyond the end", by(func(q *pb.Query) { q.LowerBound = 4 }), none, nil},
		{"beyond all numbers", by(func(q *pb.Query) { q.LowerBound = math.MaxUint32 }), none, nil},
	} {
		w.both(c.name, c.query, c.whole, c.books...)
	}
}

func TestAnAggregateIsFoundByItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	named := book.Key{Domain: "order", Root: book.Root("order", "o1")}
	stored := w.append(named, 0, "c", at(0))
	w.both("by name", &pb.Query{Domain: "order", AggregateId: "o1"}, stored, stored)
	w.both("by the root's text", &pb.Query{Domain: "order", AggregateId: named.Root.String()}, stored, stored)
}

func TestAnUnknownAggregateIsABookWithoutPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	w.both("unknown", &pb.Query{Domain: "order", Root: key(9).Cover("").Root}, &pb.EventBook{Cover: key(9).Cover("")})
}

func TestOnePageOfTheStoreIsNotTheEnd(t *testing.T) {
	t.Parallel()
	for _, counts := range [][]int{{600}, {499, 2, 500}, {500}, {1, 600, 600, 1}} {
		t.Run(fmt.Sprint(counts), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, query.Options{})
			var books []*pb.EventBook
			next := 0
			for _, count := range counts {
				books = append(books, w.append(key(1), uint32(next), "c", times(count)...))
				next += count
			}
			w.both("whole", &pb.Query{Domain: "order", Root: key(1).Cover("").Root}, joined(books...), books...)
			// Every event but the first second's is after this time.
			early := &pb.Query{Domain: "order", Root: key(1).Cover("").Root, AsOfTime: timestamppb.New(at(0))}
			stream, err := w.GetEvents(t.Context(), early)
			if got := received(t, stream, err); len(got) != len(counts) {
				t.Errorf("%d books begin at the first second, want %d", len(got), len(counts))
			}
		})
	}
}

func TestACorrelationIsListedInTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	var books []*pb.EventBook
	for n := range uint32(200) {
		books = append(books, w.append(key(1), 2*n, "c1", at(0), at(1)), w.append(key(2), n, "c1", at(2)))
		w.append(key(3), n, "c2", at(0))
	}
	stream, err := w.GetEvents(t.Context(), &pb.Query{CorrelationId: "c1"})
	if diff := cmp.Diff(books, received(t, stream, err), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	stream, err = w.GetEvents(t.Context(), &pb.Query{CorrelationId: "c1", AsOfTime: timestamppb.New(at(0))})
	if got := received(t, stream, err); len(got) != 200 || len(got[0].Pages) != 1 {
		t.Errorf("%d books at that time", len(got))
	}
	stream, err = w.GetEvents(t.Context(), &pb.Query{CorrelationId: "nobody's"})
	if got := received(t, stream, err); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestSynchronizeAnswersEachQueryInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	first, second := w.append(key(1), 0, "c", at(0)), w.append(key(2), 0, "c", at(0))
	stream, err := w.Synchronize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ cover, want *pb.EventBook }{{second, second}, {first, first}, {second, second}} {
		if err := stream.Send(&pb.Query{Domain: "order", Root: c.cover.Cover.Root}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
}

func TestAllAggregatesAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	var want []*pb.AggregateRoot
	for n := range 501 {
		root := uuid.UUID{13: byte(n >> 8), 14: byte(n), 15: 7}
		w.append(book.Key{Domain: "order", Root: root}, 0, "c", at(0))
		want = append(want, &pb.AggregateRoot{Domain: "order", Root: &pb.UUID{Value: root[:]}, AggregateId: "o7"})
	}
	stream, err := w.GetAggregateRoots(t.Context(), &emptypb.Empty{})
	if diff := cmp.Diff(want, received(t, stream, err), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestInvalidQueriesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	for want, query := range map[string]*pb.Query{
		`domain: found nothing, expected the name of a domain, such as "customer"`: {Root: key(1).Cover("").Root},
		"root: found nothing, expected 16 bytes, or an aggregate_id instead":       {Domain: "order"},
		"root.value: found 3 bytes, expected exactly 16 bytes":                     {Domain: "order", Root: &pb.UUID{Value: []byte("abc")}},
		"root.value: found 17 bytes, expected exactly 16 bytes":                    {Domain: "order", Root: &pb.UUID{Value: make([]byte, 17)}, CorrelationId: "c"},
	} {
		_, err := w.GetEventBook(t.Context(), query)
		w.refused("GetEventBook", err, codes.InvalidArgument, want)
		stream, err := w.GetEvents(t.Context(), query)
		if err == nil {
			_, err = stream.Recv()
		}
		w.refused("GetEvents", err, codes.InvalidArgument, want)
		both, err := w.Synchronize(t.Context())
		if err == nil {
			err = both.Send(query)
		}
		if err == nil {
			_, err = both.Recv()
		}
		w.refused("Synchronize", err, codes.InvalidArgument, want)
	}
	// A correlation across aggregates is for GetEvents only.
	_, err := w.GetEventBook(t.Context(), &pb.Query{CorrelationId: "c"})
	w.refused("GetEventBook", err, codes.InvalidArgument, `domain: found nothing, expected the name of a domain, such as "customer"`)
}

func (w *world) refused(call string, err error, code codes.Code, message string) {
	w.Helper()
	if said := status.Convert(err); said.Code() != code || !strings.HasPrefix(said.Message(), message) {
		w.Errorf("%s: got %v, want %s: %s", call, err, code, message)
	}
}

func TestABookThatIsTooLargeIsRefusedWithAWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	whole := joined(w.append(key(1), 0, "c", times(300)...), w.append(key(1), 300, "c", times(300)...))
	for limit, want := range map[int]codes.Code{proto.Size(whole): codes.OK, proto.Size(whole) - 1: codes.ResourceExhausted} {
		memory := transport.NewMemory()
		pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: w.store, MaxMessageBytes: limit}))
		_, err := pb.NewEventQueryClient(memory).GetEventBook(t.Context(), &pb.Query{Domain: "order", Root: key(1).Cover("").Root})
		if want == codes.OK && err == nil {
			continue
		}
		w.refused("GetEventBook", err, want, fmt.Sprintf("the events of %s that were asked for take more than %d bytes, the limit of one message: "+
			"ask for fewer with lower_bound and upper_bound, or use GetEvents", key(1), limit))
	}
}

// counting tells how far a stream got.
type counting struct {
	query.Store
	reads chan struct{}
	ended chan error
}

func (c counting) Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error) {
	events, err := c.Store.Events(ctx, key, wanted)
	if err != nil {
		c.ended <- err
		return nil, err
	}
	select {
	case c.reads <- struct{}{}:
	case <-ctx.Done():
		c.ended <- ctx.Err()
		return nil, ctx.Err()
	}
	return events, nil
}

func TestAClientThatLeavesStopsALongStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	for n := range uint32(4) {
		w.append(key(1), 500*n, "c", times(500)...)
	}
	slow := counting{w.store, make(chan struct{}), make(chan error, 1)}
	memory := transport.NewMemory()
	pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: slow}))
	ctx, leave := context.WithCancel(t.Context())
	stream, err := pb.NewEventQueryClient(memory).GetEvents(ctx, &pb.Query{Domain: "order", Root: key(1).Cover("").Root})
	if err != nil {
		t.Fatal(err)
	}
	<-slow.reads
	<-slow.reads
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	leave()
	select {
	case err := <-slow.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the role read on until %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the role works on for nobody")
	}
}

func TestAStoreThatIsClosedIsUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := w.GetEventBook(t.Context(), &pb.Query{Domain: "order", AggregateId: "o"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("GetEventBook: %v", err)
	}
	stream, err := w.GetAggregateRoots(t.Context(), &emptypb.Empty{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("GetAggregateRoots: %v", err)
	}
}
