package stream_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/stream"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is a running stream role with a connection to it.
type world struct {
	t      *testing.T
	server *stream.Server
	conn   *grpc.ClientConn
	stop   context.CancelFunc // ends Run
	ran    chan error
}

// start runs the role inside the test's bubble and takes it down at the end.
func start(t *testing.T, options stream.Options) *world {
	t.Helper()
	w := &world{t: t, server: stream.New(options), ran: make(chan error, 1)}
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	w.server.Register(server)
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(listener) })
	var err error
	w.conn, err = grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	work.Go(func() { w.ran <- w.server.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = w.conn.Close()
		server.Stop()
		work.Wait()
	})
	return w
}

// subscribe returns when the subscription counts.
func (w *world) subscribe(ctx context.Context, correlation string) grpc.ServerStreamingClient[pb.EventBook] {
	w.t.Helper()
	books, err := pb.NewEventStreamClient(w.conn).Subscribe(ctx, &pb.EventStreamFilter{CorrelationId: correlation})
	if err != nil {
		w.t.Fatal(err)
	}
	if header, err := books.Header(); err != nil || header == nil {
		w.t.Fatalf("header: %v, %v", header, err)
	}
	return books
}

func (w *world) receive(books grpc.ServerStreamingClient[pb.EventBook]) *pb.EventBook {
	w.t.Helper()
	events, err := books.Recv()
	if err != nil {
		w.t.Fatalf("receive: %v", err)
	}
	return events
}

// ends reads a stream to its end and returns the status.
func ends(books grpc.ServerStreamingClient[pb.EventBook]) *status.Status {
	for {
		if _, err := books.Recv(); err != nil {
			return status.Convert(err)
		}
	}
}

func eventBook(position uint64, correlation string) *pb.EventBook {
	return &pb.EventBook{
		Cover: book.Key{Domain: "order"}.Cover("o-1"),
		Pages: []*pb.EventPage{{
			Sequence: &pb.EventPage_Num{Num: uint32(position - 1)},
			Event:    &anypb.Any{TypeUrl: "type.googleapis.com/examples.Created", Value: []byte{1, 2, 3}},
		}},
		CorrelationId: correlation,
		Position:      position,
	}
}

func same(t *testing.T, want, got *pb.EventBook) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("book (-want +got):\n%s", diff)
	}
}

func TestSubscribeWithoutCorrelationIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, stream.Options{})
		books, err := pb.NewEventStreamClient(w.conn).Subscribe(t.Context(), &pb.EventStreamFilter{})
		if err != nil {
			t.Fatal(err)
		}
		got := ends(books)
		if got.Code() != codes.InvalidArgument || !strings.HasPrefix(got.Message(), "correlation_id is required") {
			t.Errorf("got %v", got)
		}
	})
}

func TestSubscribersGetTheBooksOfTheirCorrelationFromNowOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		channels := channel.New()
		w := start(t, stream.Options{Bus: channels, Log: &shelf{}})
		first := w.subscribe(t.Context(), "first")
		publish(t, channels, eventBook(1, "second"), eventBook(2, "first"))
		second, again := w.subscribe(t.Context(), "second"), w.subscribe(t.Context(), "second")
		publish(t, channels, eventBook(3, "second"), eventBook(4, "other"), eventBook(5, ""), eventBook(6, "first"))

		same(t, eventBook(2, "first"), w.receive(first))
		same(t, eventBook(6, "first"), w.receive(first))
		same(t, eventBook(3, "second"), w.receive(second))
		same(t, eventBook(3, "second"), w.receive(again))
	})
}

func TestBooksHandedOverByACoordinatorReachSubscribers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, stream.Options{})
		books := w.subscribe(t.Context(), "first")
		answer, err := pb.NewProjectorClient(w.conn).Handle(t.Context(), eventBook(1, "first"))
		if err != nil || !cmp.Equal(&pb.Projection{}, answer, protocmp.Transform()) {
			t.Fatalf("handle: %v, %v", answer, err)
		}
		same(t, eventBook(1, "first"), w.receive(books))
	})
}

func TestSubscriptionInsideTheProcessCountsWhenItsHeaderArrives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory, server := transport.NewMemory(), stream.New(stream.Options{})
		server.Register(memory)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = server.Run(ctx) })
		books, err := pb.NewEventStreamClient(memory).Subscribe(t.Context(), &pb.EventStreamFilter{CorrelationId: "first"})
		if err != nil {
			t.Fatal(err)
		}
		if header, err := books.Header(); err != nil || len(header) == 0 {
			t.Fatalf("header: %v, %v", header, err)
		}
		if _, err := server.Handle(t.Context(), eventBook(1, "first")); err != nil {
			t.Fatal(err)
		}
		got, err := books.Recv()
		if err != nil {
			t.Fatal(err)
		}
		same(t, eventBook(1, "first"), got)
		stop()
		if got := ends(books); got.Code() != codes.Unavailable {
			t.Errorf("got %v", got)
		}
		running.Wait()
	})
}

func TestSubscriberThatDoesNotReadIsDroppedAndTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, stream.Options{Buffer: 4})
		slow, quick := w.subscribe(t.Context(), "first"), w.subscribe(t.Context(), "first")
		for position := uint64(1); position <= 100; position++ {
			events := eventBook(position, "first")
			events.Pages[0].Event.Value = make([]byte, 64<<10) // fills what lies between server and client
			if _, err := w.server.Handle(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			if got := w.receive(quick); got.Position != position {
				t.Fatalf("the quick one got position %d, expected %d", got.Position, position)
			}
		}
		got := ends(slow)
		if got.Code() != codes.ResourceExhausted || !strings.Contains(got.Message(), "dropped") {
			t.Errorf("got %v", got)
		}
		synctest.Wait()
		if w.server.Watched() != 1 {
			t.Errorf("%d correlations are watched, expected that of the quick one", w.server.Watched())
		}
	})
}

func TestSubscriberThatLeavesIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, stream.Options{})
		ctx, leave := context.WithCancel(t.Context())
		w.subscribe(ctx, "first")
		staying := w.subscribe(t.Context(), "second")
		if w.server.Watched() != 2 {
			t.Fatalf("%d correlations are watched, expected 2", w.server.Watched())
		}
		left := time.Now()
		leave()
		synctest.Wait()
		if w.server.Watched() != 1 || time.Since(left) > 0 {
			t.Errorf("%d correlations are watched after %s, expected 1", w.server.Watched(), time.Since(left))
		}
		if _, err := w.server.Handle(t.Context(), eventBook(1, "second")); err != nil {
			t.Fatal(err)
		}
		same(t, eventBook(1, "second"), w.receive(staying))
	})
}

func TestStoppingEndsSubscriptionsWithUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, stream.Options{Bus: channel.New(), Log: &shelf{}})
		books := w.subscribe(t.Context(), "first")
		w.stop()
		if err := <-w.ran; err != nil {
			t.Errorf("run: %v", err)
		}
		if got := ends(books); got.Code() != codes.Unavailable {
			t.Errorf("got %v", got)
		}
		late, err := pb.NewEventStreamClient(w.conn).Subscribe(t.Context(), &pb.EventStreamFilter{CorrelationId: "late"})
		if err != nil {
			t.Fatal(err)
		}
		if got := ends(late); got.Code() != codes.Unavailable {
			t.Errorf("a subscription after the stop got %v", got)
		}
	})
}

func TestRunFailsWhenTheBusCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		channels := channel.New()
		w := start(t, stream.Options{Bus: channels, Log: &shelf{}})
		books := w.subscribe(t.Context(), "first")
		if err := channels.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-w.ran; err == nil {
			t.Error("run ended without an error")
		}
		if got := ends(books); got.Code() != codes.Unavailable {
			t.Errorf("got %v", got)
		}
	})
}

// shelf is a log that is appended to by the test.
type shelf struct {
	mu     sync.Mutex
	events []eventstore.Event
	fail   int // so many reads fail
}

func (s *shelf) Head() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.events))
}

func (s *shelf) ReadLog(_ context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return nil, eventstore.ErrUnavailable
	}
	return s.events[after:min(uint64(len(s.events)), after+uint64(limit))], nil
}

// append stores one event and returns the message that a relay makes of it.
func (s *shelf) append(correlation string) bus.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	position := uint64(len(s.events) + 1)
	command := [16]byte{0: byte(position), 1: byte(position >> 8)}
	s.events = append(s.events, eventstore.Event{
		Position: position, Sequence: uint32(position - 1), Key: book.Key{Domain: "order"}, CommandID: command,
		TypeURL: "examples.Created", CorrelationID: correlation, Count: 1,
	})
	return bus.Message{Previous: position - 1, Book: eventstore.Book(s.events[position-1:])}
}

func TestPresentSubscriberMissesNothingOnAFaultyBus(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				faults := bustest.Faults{Seed: seed, Drop: 0.3, Double: 0.2, Delay: 0.3, LoseNewest: seed%2 == 0}
				missNothing(t, faults, &shelf{})
			})
		})
	}
}

func TestUnreadableLogDelaysSubscribersOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		missNothing(t, bustest.Faults{Drop: 0.5}, &shelf{fail: 7})
	})
}

// missNothing publishes books of two correlations, with a past that nobody
// wants, and expects one of them whole, once and in order.
func missNothing(t *testing.T, faults bustest.Faults, log *shelf) {
	channels := channel.New()
	for range 10 {
		log.append("wanted") // before anybody subscribed
	}
	w := start(t, stream.Options{Bus: bustest.NewFaulty(channels, channels, faults), Log: log})
	books := w.subscribe(t.Context(), "wanted")
	const last = 3000
	for position := uint64(11); position <= last; position++ {
		correlation := "other"
		if position%3 == 0 {
			correlation = "wanted"
		}
		if err := channels.Publish(t.Context(), []bus.Message{log.append(correlation)}); err != nil {
			t.Fatal(err)
		}
	}
	for position := uint64(12); position <= last; position += 3 {
		if got := w.receive(books); got.Position != position {
			t.Fatalf("got position %d, expected %d", got.Position, position)
		}
	}
}

func publish(t *testing.T, channels *channel.Bus, books ...*pb.EventBook) {
	t.Helper()
	for _, events := range books {
		if err := channels.Publish(t.Context(), []bus.Message{{Previous: events.Position - 1, Book: events}}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

func BenchmarkBookThatNobodyWaitsFor(b *testing.B) {
	server := stream.New(stream.Options{})
	events := eventBook(1, "nobody")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := server.Handle(ctx, events); err != nil {
			b.Fatal(err)
		}
	}
}
