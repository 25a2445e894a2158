package query_test

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
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
	"github.com/angz-dev/angz/runtime/transport"
)

// began is when the first event of every aggregate happened; each further one
// happened a second later.
var began = time.Date(2026, time.March, 14, 15, 9, 26, 535, time.UTC)

// world is a store with a query role over it and a client of the role.
type world struct {
	store  *sqlite.Store
	reads  *reads
	client pb.EventQueryClient
}

func newWorld(t testing.TB, options query.Options) *world {
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
	w := &world{store: store, reads: &reads{Store: store}}
	options.Store = w.reads
	conn := transport.NewMemory()
	pb.RegisterEventQueryServer(conn, query.New(options))
	w.client = pb.NewEventQueryClient(conn)
	return w
}

// reads is the store, and remembers how much was read at a time.
type reads struct {
	query.Store

	mu     sync.Mutex
	bytes  []int
	onRead func()
}

func (r *reads) Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error) {
	events, err := r.Store.Events(ctx, key, wanted)
	bytes := 0
	for _, event := range events {
		bytes += len(event.Payload)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes = append(r.bytes, bytes)
	if r.onRead != nil {
		r.onRead()
	}
	return events, err
}

// aggregate is one that the tests append to.
type aggregate struct {
	key  book.Key
	name string
	next uint32
}

func called(domain, name string) *aggregate {
	return &aggregate{key: book.Key{Domain: domain, Root: book.Root(domain, name)}, name: name}
}

// append stores one command's events and returns the book in which they are to
// be found again.
func (w *world) append(t testing.TB, to *aggregate, correlation string, payloads ...string) *pb.EventBook {
	t.Helper()
	request := eventstore.Append{CommandID: uuid.Must(uuid.NewV7()), Key: to.key, Name: to.name, Next: to.next, CorrelationID: correlation}
	stored := &pb.EventBook{Cover: to.key.Cover(to.name), CorrelationId: correlation}
	for _, payload := range payloads {
		happened := began.Add(time.Duration(to.next) * time.Second)
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "type.examples/examples.Happened", Payload: []byte(payload), CreatedAt: happened})
		stored.Pages = append(stored.Pages, &pb.EventPage{
			Sequence: &pb.EventPage_Num{Num: to.next}, CreatedAt: timestamppb.New(happened),
			Event: &anypb.Any{TypeUrl: "type.examples/examples.Happened", Value: []byte(payload)},
		})
		to.next++
	}
	appended, err := w.store.Append(context.WithoutCancel(t.Context()), request)
	if err != nil {
		t.Fatal(err)
	}
	stored.Position = appended.Last
	return stored
}

func (w *world) events(t testing.TB, query *pb.Query) ([]*pb.EventBook, error) {
	t.Helper()
	stream, err := w.client.GetEvents(t.Context(), query)
	if err != nil {
		return nil, err
	}
	return all(stream)
}

// all receives until the end.
func all[T any](stream grpc.ServerStreamingClient[T]) (received []*T, err error) {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return received, nil
		}
		if err != nil {
			return received, err
		}
		received = append(received, message)
	}
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// must returns what a call answers that has to succeed.
func must[T any](answer T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

func TestEventsComeAsTheBooksInWhichTheyWereStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	alice, bob := called("customer", "alice"), called("customer", "bob")
	first := w.append(t, alice, "c1", "a", "b")
	w.append(t, bob, "c1", "x")
	second := w.append(t, alice, "c2", "c")
	for shape, wanted := range map[string]*pb.Query{
		"by name":         {Domain: "customer", AggregateId: "alice"},
		"by root":         {Domain: "customer", Root: &pb.UUID{Value: alice.key.Root[:]}},
		"by root in text": {Domain: "customer", AggregateId: alice.key.Root.String()},
	} {
		same(t, shape, []*pb.EventBook{first, second}, must(w.events(t, wanted))(t))
		whole := &pb.EventBook{Cover: first.Cover, Pages: slices.Concat(first.Pages, second.Pages), CorrelationId: "c2", Position: second.Position}
		same(t, shape+", whole", whole, must(w.client.GetEventBook(t.Context(), wanted))(t))
	}
}

func TestRangesAreInclusive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	alice := called("customer", "alice")
	w.append(t, alice, "c1", "0", "1")
	w.append(t, alice, "c2", "2", "3", "4")
	w.append(t, alice, "c1", "5")
	at := func(seconds int) *timestamppb.Timestamp {
		return timestamppb.New(began.Add(time.Duration(seconds) * time.Second))
	}
	for _, test := range []struct {
		what  string
		query *pb.Query
		want  []string // a word for each book
	}{
		{"everything", &pb.Query{}, []string{"01", "234", "5"}},
		{"from", &pb.Query{LowerBound: 3}, []string{"34", "5"}},
		{"from, the other name", &pb.Query{FromSequence: 3}, []string{"34", "5"}},
		{"the higher one", &pb.Query{LowerBound: 1, FromSequence: 4}, []string{"4", "5"}},
		{"to", &pb.Query{UpperBound: 3}, []string{"01", "23"}},
		{"to the end, in words", &pb.Query{UpperBound: math.MaxUint32}, []string{"01", "234", "5"}},
		{"one", &pb.Query{LowerBound: 3, UpperBound: 3}, []string{"3"}},
		{"the last", &pb.Query{LowerBound: 5}, []string{"5"}},
		{"beyond the last", &pb.Query{LowerBound: 6}, nil},
		{"upside down", &pb.Query{LowerBound: 4, UpperBound: 3}, nil},
		{"from the highest number", &pb.Query{LowerBound: math.MaxUint32, UpperBound: math.MaxUint32}, nil},
		{"as of the first", &pb.Query{AsOfSequence: proto.Uint32(0)}, []string{"0"}},
		{"as of a number", &pb.Query{AsOfSequence: proto.Uint32(2), UpperBound: 4}, []string{"01", "2"}},
		{"as of a time, inclusive", &pb.Query{AsOfTime: at(3)}, []string{"01", "23"}},
		{"as of a time before", &pb.Query{AsOfTime: at(-1)}, nil},
		{"as of a time far off", &pb.Query{AsOfTime: timestamppb.New(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, []string{"01", "234", "5"}},
		{"of one correlation", &pb.Query{CorrelationId: "c1"}, []string{"01", "5"}},
		{"of another one", &pb.Query{CorrelationId: "c3"}, nil},
		{"all at once", &pb.Query{CorrelationId: "c2", AsOfTime: at(3), LowerBound: 3}, []string{"3"}},
	} {
		test.query.Domain, test.query.AggregateId = "customer", "alice"
		same(t, test.what, test.want, words(must(w.events(t, test.query))(t)...))
		whole := must(w.client.GetEventBook(t.Context(), test.query))(t)
		same(t, test.what+", whole", strings.Join(test.want, ""), strings.Join(words(whole), ""))
		same(t, test.what+", cover", alice.key.Cover("alice"), whole.Cover)
	}
}

// words returns the payloads of each book.
func words(books ...*pb.EventBook) (words []string) {
	for _, events := range books {
		var word strings.Builder
		for _, page := range events.Pages {
			word.Write(page.Event.Value)
		}
		words = append(words, word.String())
	}
	return words
}

func TestAnUnknownAggregateIsABookWithoutPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	nobody := called("customer", "nobody")
	wanted := &pb.Query{Domain: "customer", AggregateId: "nobody"}
	same(t, "one book", &pb.EventBook{Cover: nobody.key.Cover("")}, must(w.client.GetEventBook(t.Context(), wanted))(t))
	same(t, "a stream", []*pb.EventBook(nil), must(w.events(t, wanted))(t))
}

func TestACorrelationIsReadAcrossAggregates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	order, stock := called("order", "o"), called("stock", "s")
	w.append(t, order, "c1", "a", "b")
	w.append(t, order, "c2", "x")
	w.append(t, stock, "c1", "c")
	w.append(t, order, "c1", "d")
	for _, test := range []struct {
		what  string
		query *pb.Query
		want  []string
	}{
		{"all of it", &pb.Query{}, []string{"ab", "c", "d"}},
		{"an empty root", &pb.Query{Root: &pb.UUID{}}, []string{"ab", "c", "d"}},
		{"one domain's", &pb.Query{Domain: "order"}, []string{"ab", "d"}},
		{"one aggregate's", &pb.Query{Domain: "stock", AggregateId: "s"}, []string{"c"}},
		{"by number", &pb.Query{LowerBound: 1}, []string{"b", "d"}},
		{"by time", &pb.Query{AsOfTime: timestamppb.New(began)}, []string{"a", "c"}},
	} {
		test.query.CorrelationId = "c1"
		same(t, test.what, test.want, words(must(w.events(t, test.query))(t)...))
	}
}

func TestALongCorrelationIsReadInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	order, want := called("order", "o"), []string(nil)
	for range 450 {
		w.append(t, order, "c1", "a", "b", "c")
		want = append(want, "abc")
	}
	same(t, "books", want, words(must(w.events(t, &pb.Query{CorrelationId: "c1"}))(t)...))
}

func TestAQueryNamesItsFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	for _, test := range []struct {
		what    string
		query   *pb.Query
		want    string
		oneOnly bool // GetEvents has no fault to find
	}{
		{"nothing", &pb.Query{}, `domain: found nothing, expected the name of a domain, such as "customer"`, false},
		{"no root", &pb.Query{Domain: "customer"}, "root: found nothing, expected 16 bytes, or an aggregate_id instead", false},
		{"a short root", &pb.Query{Domain: "customer", Root: &pb.UUID{Value: []byte("short")}}, "root.value: found 5 bytes, expected exactly 16 bytes", false},
		{"a root of nothing", &pb.Query{Root: &pb.UUID{Value: make([]byte, 16)}, CorrelationId: "c"}, `domain: found nothing, expected the name of a domain, such as "customer"`, false},
		{"no such time", &pb.Query{Domain: "customer", AggregateId: "a", AsOfTime: &timestamppb.Timestamp{Seconds: 7, Nanos: -1}},
			"as_of_time: found 7 seconds and -1 nanoseconds, expected a time between the years 1 and 9999, its nanoseconds between 0 and 999999999", false},
		{"a whole correlation", &pb.Query{CorrelationId: "c"}, "root: found nothing, expected 16 bytes, or an aggregate_id instead; for a whole correlation use GetEvents", true},
	} {
		_, err := w.client.GetEventBook(t.Context(), test.query)
		told(t, test.what, codes.InvalidArgument, test.want, err)
		if !test.oneOnly {
			_, err = w.events(t, test.query)
			told(t, test.what+", streamed", codes.InvalidArgument, test.want, err)
		}
	}
}

func told(t *testing.T, what string, code codes.Code, message string, err error) {
	t.Helper()
	if said := status.Convert(err); said.Code() != code || said.Message() != message {
		t.Errorf("%s: got %v, want %s: %s", what, err, code, message)
	}
}

func TestABookThatIsTooLargeForOneMessageSaysHowToReadIt(t *testing.T) {
	t.Parallel()
	alice := called("customer", "alice")
	fill := func(w *world) *pb.EventBook {
		for alice.next = 0; alice.next < 900; {
			w.append(t, alice, "c", "a", "b", "c")
		}
		return must(w.client.GetEventBook(t.Context(), &pb.Query{Domain: "customer", AggregateId: "alice"}))(t)
	}
	size := proto.Size(fill(newWorld(t, query.Options{})))
	fitting := newWorld(t, query.Options{MaxMessageBytes: size})
	if whole := fill(fitting); proto.Size(whole) != size {
		t.Errorf("%d bytes where there were %d", proto.Size(whole), size)
	}
	tight := newWorld(t, query.Options{MaxMessageBytes: size - 1})
	for alice.next = 0; alice.next < 900; {
		tight.append(t, alice, "c", "a", "b", "c")
	}
	_, err := tight.client.GetEventBook(t.Context(), &pb.Query{Domain: "customer", AggregateId: "alice"})
	said := status.Convert(err)
	if said.Code() != codes.ResourceExhausted || !strings.Contains(said.Message(), "ask for fewer with lower_bound and upper_bound, or use GetEvents") {
		t.Errorf("got %v", err)
	}
	part := must(tight.client.GetEventBook(t.Context(), &pb.Query{Domain: "customer", AggregateId: "alice", LowerBound: 1}))(t)
	if len(part.Pages) != 899 {
		t.Errorf("%d pages of the part that fits", len(part.Pages))
	}
}

// The first read ends after 16 events, the ones after it after 500.
func TestCommandsStayWholeWhereverAReadEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what  string
		sizes []int
		bytes int
	}{
		{"between two commands", []int{16, 1}, 1},
		{"after the last one", []int{16}, 1},
		{"within a command", []int{15, 3, 1}, 1},
		{"within the last command", []int{1, 20}, 1},
		{"twice within a command", []int{700, 2}, 1},
		{"at every place", []int{10, 10, 490, 10, 499, 3}, 1},
		{"after each large event", []int{3, 20, 2, 40, 1}, 50_000},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, query.Options{})
			alice := called("customer", "alice")
			var want []*pb.EventBook
			for _, size := range test.sizes {
				want = append(want, w.append(t, alice, "c", slices.Repeat([]string{strings.Repeat("x", test.bytes)}, size)...))
			}
			// A range that ends with the last event must not lose what is held
			// back for it.
			for _, upper := range []uint32{0, alice.next - 1, alice.next} {
				got := must(w.events(t, &pb.Query{Domain: "customer", AggregateId: "alice", UpperBound: upper}))(t)
				if !slices.EqualFunc(want, got, func(a, b *pb.EventBook) bool { return proto.Equal(a, b) }) {
					t.Errorf("up to %d: %d books, want %d", upper, len(got), len(want))
				}
			}
		})
	}
}

func TestNeverTheWholeAggregateIsInMemory(t *testing.T) {
	t.Parallel()
	const size, most = 64 << 10, 2 << 20
	w := newWorld(t, query.Options{})
	alice := called("customer", "alice")
	for range 150 {
		w.append(t, alice, "c", strings.Repeat("x", size))
	}
	if books := must(w.events(t, &pb.Query{Domain: "customer", AggregateId: "alice"}))(t); len(books) != 150 {
		t.Errorf("%d books", len(books))
	}
	if largest := slices.Max(w.reads.bytes); largest > most {
		t.Errorf("%d bytes were read at once: %d", largest, w.reads.bytes)
	}
}

func TestSmallEventsAreReadManyAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	alice := called("customer", "alice")
	for range 50 {
		w.append(t, alice, "c", slices.Repeat([]string{"x"}, 20)...)
	}
	must(w.events(t, &pb.Query{Domain: "customer", AggregateId: "alice"}))(t)
	if len(w.reads.bytes) > 3 {
		t.Errorf("%d reads for 1000 events", len(w.reads.bytes))
	}
}

func TestEveryAggregateIsListedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	var want []*pb.AggregateRoot
	for i := range 1100 {
		named := called([]string{"a", "b", "ab"}[i%3], uuid.NewString())
		if i%2 == 0 {
			named = called("customer", "number "+uuid.NewString())
		} else {
			named.name = ""
		}
		w.append(t, named, "c", "x")
		want = append(want, &pb.AggregateRoot{Domain: named.key.Domain, Root: named.key.Cover("").Root, AggregateId: named.name})
	}
	slices.SortFunc(want, func(a, b *pb.AggregateRoot) int {
		return strings.Compare(a.Domain+"\x00"+string(a.Root.Value), b.Domain+"\x00"+string(b.Root.Value))
	})
	stream, err := w.client.GetAggregateRoots(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "aggregates", want, must(all(stream))(t))
}

func TestSynchronizeAnswersOneQueryAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	w.append(t, called("customer", "alice"), "c", "a")
	w.append(t, called("customer", "bob"), "c", "b")
	stream, err := w.client.Synchronize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"bob", "alice", "bob", "nobody"} {
		if err := stream.Send(&pb.Query{Domain: "customer", AggregateId: name}); err != nil {
			t.Fatal(err)
		}
		got = append(got, words(must(stream.Recv())(t))...)
	}
	same(t, "answers", []string{"b", "a", "b", ""}, got)
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestSynchronizeEndsWithTheFirstFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	stream, err := w.client.Synchronize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.Query{Domain: "customer"}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	told(t, "no root", codes.InvalidArgument, "root: found nothing, expected 16 bytes, or an aggregate_id instead", err)
}

// leaving serves as the role does and tells when a call has ended.
type leaving struct {
	*query.Server
	ended chan error
}

func (l leaving) GetEvents(wanted *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	err := l.Server.GetEvents(wanted, stream)
	l.ended <- err
	return err
}

func TestReadingStopsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	alice := called("customer", "alice")
	for range 3000 {
		w.append(t, alice, "c", "x")
	}
	conn, ended := transport.NewMemory(), make(chan error, 1)
	pb.RegisterEventQueryServer(conn, leaving{query.New(query.Options{Store: w.reads}), ended})
	ctx, leave := context.WithCancel(t.Context())
	stream, err := pb.NewEventQueryClient(conn).GetEvents(ctx, &pb.Query{Domain: "customer", AggregateId: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	must(stream.Recv())(t)
	leave()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("the call ended with %v", err)
	}
	if reads := len(w.reads.bytes); reads > 3 {
		t.Errorf("%d reads for a client that took one book", reads)
	}
}

func TestReadingStopsWhenTheClientLeavesAndNothingWasFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	alice := called("customer", "alice")
	for range 40 {
		w.append(t, alice, "c", slices.Repeat([]string{"x"}, 50)...)
	}
	ctx, leave := context.WithCancel(t.Context())
	w.reads.onRead = leave
	_, err := query.New(query.Options{Store: w.reads}).GetEventBook(ctx, &pb.Query{Domain: "customer", AggregateId: "alice", CorrelationId: "another"})
	if status.Code(err) != codes.Canceled || len(w.reads.bytes) > 2 {
		t.Errorf("%d reads after the client had left, then %v", len(w.reads.bytes), err)
	}
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, query.Options{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	wanted := &pb.Query{Domain: "customer", AggregateId: "alice"}
	_, one := w.client.GetEventBook(t.Context(), wanted)
	_, many := w.events(t, wanted)
	_, correlated := w.events(t, &pb.Query{CorrelationId: "c"})
	stream, err := w.client.GetAggregateRoots(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	_, roots := all(stream)
	for what, err := range map[string]error{"one": one, "many": many, "correlated": correlated, "roots": roots} {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func FuzzQuery(f *testing.F) {
	w := newWorld(f, query.Options{})
	alice := called("customer", "alice")
	w.append(f, alice, "c1", "a", "b")
	w.append(f, alice, "c2", "c", "d")
	for _, wanted := range []*pb.Query{
		{}, {Domain: "customer", AggregateId: "alice", LowerBound: 1, UpperBound: 2},
		{Domain: "customer", Root: &pb.UUID{Value: alice.key.Root[:]}, AsOfTime: timestamppb.New(began), AsOfSequence: proto.Uint32(2)},
		{CorrelationId: "c1"}, {Domain: "customer", AggregateId: "alice", CorrelationId: "c2", FromSequence: math.MaxUint32},
	} {
		data, err := proto.Marshal(wanted)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wanted := &pb.Query{}
		if proto.Unmarshal(data, wanted) != nil {
			return
		}
		books, err := w.events(t, wanted)
		if err != nil && status.Code(err) != codes.InvalidArgument {
			t.Fatalf("%v: %v", wanted, err)
		}
		from, to := book.Bounds(wanted)
		for _, events := range books {
			if wanted.CorrelationId != "" && events.CorrelationId != wanted.CorrelationId {
				t.Errorf("%v answered with correlation %s", wanted, events.CorrelationId)
			}
			for _, page := range events.Pages {
				if number := page.GetNum(); number < from || number > to {
					t.Errorf("%v answered with number %d", wanted, number)
				}
			}
		}
		whole, err := w.client.GetEventBook(t.Context(), wanted)
		if err != nil && status.Code(err) != codes.InvalidArgument {
			t.Fatalf("%v: %v", wanted, err)
		}
		if streamed := strings.Join(words(books...), ""); err == nil && strings.Join(words(whole), "") != streamed {
			t.Errorf("%v answered with %v as one book and %q as several", wanted, whole, streamed)
		}
	})
}
