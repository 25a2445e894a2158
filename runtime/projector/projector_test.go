package projector_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is a store with a relay, a bus and a query role; coordinators come and
// go on it.
type world struct {
	*testing.T
	store *sqlite.Store
	bus   *channel.Bus
	query pb.EventQueryClient
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	road, memory := channel.New(), transport.NewMemory()
	pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: store}))
	tail := relay.New(relay.Options{Log: store, Publisher: road})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- tail.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, road.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &world{t, store, road, pb.NewEventQueryClient(memory)}
}

var key = book.Key{Domain: "order", Root: uuid.UUID{15: 1}}

// append stores one command's events and returns them as a book.
func (w *world) append(next uint32, correlation string, types ...string) *pb.EventBook {
	w.Helper()
	return w.appendEvents(key, next, correlation, types...)
}

func (w *world) appendEvents(key book.Key, next uint32, correlation string, types ...string) *pb.EventBook {
	w.Helper()
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Next: next, CorrelationID: correlation}
	for _, name := range types {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: name, CreatedAt: time.Unix(1, 0)})
	}
	if _, err := w.store.Append(w.Context(), request); err != nil {
		w.Fatal(err)
	}
	stored, err := w.store.ByCommand(w.Context(), request.CommandID)
	if err != nil {
		w.Fatal(err)
	}
	return eventstore.Book(stored)
}

// receipts is a projector's service that keeps what it was given.
type receipts struct {
	answer func(context.Context, *pb.EventBook) (*pb.Projection, error)

	mu    sync.Mutex
	given []*pb.EventBook
	told  chan struct{}
}

func newReceipts(answer func(context.Context, *pb.EventBook) (*pb.Projection, error)) *receipts {
	return &receipts{answer: answer, told: make(chan struct{}, 100)}
}

func (r *receipts) project(ctx context.Context, events *pb.EventBook) (*pb.Projection, error) {
	r.mu.Lock()
	r.given = append(r.given, events)
	r.mu.Unlock()
	r.told <- struct{}{}
	return r.answer(ctx, events)
}

func (r *receipts) seen() []*pb.EventBook {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*pb.EventBook{}, r.given...)
}

func paid(context.Context, *pb.EventBook) (*pb.Projection, error) {
	return &pb.Projection{Projection: &anypb.Any{TypeUrl: "x/Receipt", Value: []byte("paid")}}, nil
}

// run starts a coordinator and returns how to stop it in order.
func (w *world) run(service *receipts, edit func(*projector.Options)) (*projector.Coordinator, func()) {
	w.Helper()
	served := runtimetest.Projector(w.T, service.project)
	conn, err := transport.Dial(served.Address(), transport.DialOptions{Name: "projector receipt's service"})
	if err != nil {
		w.Fatal(err)
	}
	options := projector.Options{Name: "receipt", Service: pb.NewProjectorClient(conn), Delivery: delivery.Options[*pb.Projection]{
		Store: w.store, Bus: w.bus, Query: w.query, Retryable: rpcerr.Retryable, FirstDelay: time.Millisecond, MaxDelay: time.Millisecond, Attempts: 2,
	}}
	edit(&options)
	coordinator, done := projector.New(options), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	go func() { done <- coordinator.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, conn.Close()); err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(stop)
	return coordinator, stop
}

func asItIs(*projector.Options) {}

func (w *world) same(want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.Error(diff)
	}
}

func TestHandleSyncAnswersWithTheProjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	service := newReceipts(paid)
	coordinator, _ := w.run(service, asItIs)
	first, second := w.append(0, "c1", "x/Placed", "x/Paid"), w.append(2, "c2", "x/Sent")
	for _, c := range []struct {
		events *pb.EventBook
		last   uint32
	}{{second, 2}, {first, 2}, {second, 2}} {
		got, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: c.events})
		if err != nil {
			t.Fatal(err)
		}
		w.same(&pb.Projection{Cover: key.Cover(""), Projector: "receipt", Sequence: c.last, Projection: &anypb.Any{TypeUrl: "x/Receipt", Value: []byte("paid")}}, got)
	}
	if _, err := coordinator.Handle(t.Context(), first); err != nil {
		t.Error(err)
	}
	// Each event was given once, however often it was handed over.
	total := 0
	for _, events := range service.seen() {
		total += len(events.Pages)
	}
	if total != 3 {
		t.Errorf("the service was given %v", service.seen())
	}
}

func TestWhatTheServiceLeavesOutIsCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := book.Key{Domain: "receipts", Root: uuid.UUID{15: 9}}.Cover("r9")
	answers := []*pb.Projection{{}, {Cover: elsewhere, Projector: "other", Sequence: 77}}
	coordinator, _ := w.run(newReceipts(func(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
		return answers[book.First(events)], nil
	}), asItIs)
	for n, want := range []*pb.Projection{{Cover: key.Cover(""), Projector: "receipt"}, {Cover: elsewhere, Projector: "receipt", Sequence: 1}} {
		got, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: w.append(uint32(n), "c", "x/Placed")})
		if err != nil {
			t.Fatal(err)
		}
		w.same(want, got)
	}
}

func TestOnlyNewEventsAreGivenUnlessTheWholeHistoryIsWanted(t *testing.T) {
	t.Parallel()
	for name, full := range map[string]bool{"new": false, "full": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			service := newReceipts(paid)
			w.run(service, func(o *projector.Options) { o.FullHistory = full })
			var want []*pb.EventBook
			whole := &pb.EventBook{}
			for n, types := range [][]string{{"x/A"}, {"x/B"}, {"x/C", "x/D"}} {
				events := w.append(uint32(n), string(rune('a'+n)), types...)
				whole = &pb.EventBook{Cover: events.Cover, CorrelationId: events.CorrelationId, Position: events.Position, Pages: append(whole.Pages[:n:n], events.Pages...)}
				<-service.told
				if full {
					events = whole
				}
				want = append(want, events)
			}
			w.same(want, service.seen())
		})
	}
}

func TestAResultOfLongAgoIsForgottenButNotMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	service := newReceipts(paid)
	coordinator, stop := w.run(service, asItIs)
	events := w.append(0, "c", "x/Placed")
	if _, err := coordinator.Handle(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	<-service.told
	// Another event from the log shows that the first one's position is known.
	w.append(1, "c", "x/Paid")
	<-service.told
	stop()
	again := newReceipts(paid)
	coordinator, _ = w.run(again, asItIs)
	got, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: events})
	if err != nil {
		t.Fatal(err)
	}
	w.same(&pb.Projection{Cover: key.Cover(""), Projector: "receipt"}, got)
	if calls := again.seen(); len(calls) != 0 {
		t.Errorf("the service was called with %v", calls)
	}
}

func TestErrorsReachTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refusal := status.New(codes.DataLoss, "the receipts have burnt")
	coordinator, _ := w.run(newReceipts(func(context.Context, *pb.EventBook) (*pb.Projection, error) { return nil, refusal.Err() }), asItIs)
	for _, events := range []*pb.EventBook{nil, {}, {Cover: key.Cover("")}, {Cover: key.Cover(""), Pages: []*pb.EventPage{{}}}} {
		if _, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: events}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", events, err)
		}
		if _, err := coordinator.Handle(t.Context(), events); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", events, err)
		}
	}
	// Not in the log, so that only this caller brings it.
	events := &pb.EventBook{Cover: key.Cover(""), Pages: []*pb.EventPage{{Sequence: &pb.EventPage_Num{}, Event: &anypb.Any{TypeUrl: "x/Placed"}}}}
	_, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: events})
	w.same(refusal.Proto(), status.Convert(err).Proto())
}

func TestAServiceThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	coordinator, _ := w.run(newReceipts(func(ctx context.Context, _ *pb.EventBook) (*pb.Projection, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(o *projector.Options) { o.Timeout = 20 * time.Millisecond })
	_, err := coordinator.HandleSync(t.Context(), &pb.SyncEventBook{Events: w.append(0, "c", "x/Placed")})
	if status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}

func TestDomainsThatAreNotWantedAreLeftOut(t *testing.T) {
	t.Parallel()
	all := projector.New(projector.Options{Name: "a"})
	some := projector.New(projector.Options{Name: "b", Delivery: delivery.Options[*pb.Projection]{Domains: []string{"order", "_projection.x.order"}}})
	for domain, want := range map[string][2]bool{"order": {true, true}, "stock": {true, false}, "_projection.x.order": {false, true}} {
		if got := [2]bool{all.Wants(domain), some.Wants(domain)}; got != want {
			t.Errorf("%s: %v", domain, got)
		}
	}
}
