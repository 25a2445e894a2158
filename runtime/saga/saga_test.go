package saga_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/transport"
)

// world is a store with a relay and a bus, a saga's service and the aggregates
// that its commands go to.
type world struct {
	*testing.T
	store       *sqlite.Store
	road        *channel.Bus
	targets     *targets
	options     saga.Options
	coordinator *saga.Coordinator
	stop        func()
}

// targets answers commands as a test wants and remembers them.
type targets struct {
	pb.UnimplementedAggregateCoordinatorServer
	answer func(*pb.CommandBook) (*pb.CommandResponse, error)
	sync   func(*pb.SyncCommandBook) error

	mu       sync.Mutex
	commands []*pb.CommandBook
	waited   []*pb.SyncCommandBook
	told     chan struct{}
}

func (t *targets) Handle(_ context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
	t.mu.Lock()
	t.commands = append(t.commands, command)
	t.mu.Unlock()
	select {
	case t.told <- struct{}{}:
	default: // enough of it
	}
	return t.answer(command)
}

func (t *targets) HandleSync(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waited = append(t.waited, request)
	return accepted(request.Command), t.sync(request)
}

func (t *targets) seen() []*pb.CommandBook {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*pb.CommandBook{}, t.commands...)
}

// accepted is the answer to a command that caused an event.
func accepted(command *pb.CommandBook) *pb.CommandResponse {
	return &pb.CommandResponse{Events: &pb.EventBook{Cover: command.Cover, Pages: []*pb.EventPage{runtimetest.Event("x/Done")}}}
}

// react is a saga's rules.
type react func(*pb.EventBook) []*pb.CommandBook

// always answers with copies of the same commands.
func always(commands ...*pb.CommandBook) react {
	return func(*pb.EventBook) []*pb.CommandBook {
		var copies []*pb.CommandBook
		for _, command := range commands {
			copies = append(copies, proto.CloneOf(command))
		}
		return copies
	}
}

func newWorld(t *testing.T, rules react, answer func(*pb.CommandBook) (*pb.CommandResponse, error), edit func(*saga.Options)) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	road, memory := channel.New(), transport.NewMemory()
	w := &world{T: t, store: store, targets: &targets{answer: answer, sync: func(*pb.SyncCommandBook) error { return nil }, told: make(chan struct{}, 1000)}}
	pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: store}))
	pb.RegisterAggregateCoordinatorServer(memory, w.targets)
	service := runtimetest.Saga(t, func(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
		return &pb.SagaResponse{Commands: rules(events)}, nil
	})
	conn, err := transport.Dial(service.Address(), transport.DialOptions{Name: "saga reserve's service"})
	if err != nil {
		t.Fatal(err)
	}
	options := saga.Options{
		Name: "reserve", Service: pb.NewSagaClient(conn), Commands: pb.NewAggregateCoordinatorClient(memory), Timeout: 5 * time.Second,
		Compensation: saga.Compensation{FailureDomain: "failures", Fallback: &pb.RevocationResponse{EmitSystemRevocation: true}},
		Delivery: delivery.Options[*saga.Outcome]{
			Store: store, Bus: road, Query: pb.NewEventQueryClient(memory), Domains: []string{"order"},
			Retryable: rpcerr.Retryable, Absent: transport.Unreachable, FirstDelay: time.Millisecond, MaxDelay: time.Millisecond,
		},
	}
	edit(&options)
	w.road, w.options = road, options
	w.start()
	t.Cleanup(func() {
		w.stop()
		if err := errors.Join(road.Close(), conn.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start makes a coordinator and runs it and a relay, until stop.
func (w *world) start() {
	w.coordinator = saga.New(w.options)
	tail, coordinator, done := relay.New(relay.Options{Log: w.store, Publisher: w.road}), w.coordinator, make(chan error, 2)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	go func() { done <- tail.Run(ctx) }()
	go func() { done <- coordinator.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			w.Error(err)
		}
	})
}

func asItIs(*saga.Options) {}

func accept(command *pb.CommandBook) (*pb.CommandResponse, error) { return accepted(command), nil }

var key = book.Key{Domain: "order", Root: uuid.UUID{15: 1}}

// append stores one command's events and returns them as a book.
func (w *world) append(next uint32, types ...string) *pb.EventBook {
	w.Helper()
	return w.appendTo(key, next, types...)
}

func (w *world) appendTo(key book.Key, next uint32, types ...string) *pb.EventBook {
	w.Helper()
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Name: "o1", Next: next, CorrelationID: "c"}
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

func (w *world) handle(events *pb.EventBook, mode pb.SyncMode) (*pb.SagaResponse, error) {
	return w.coordinator.HandleSync(w.Context(), &pb.SyncEventBook{Events: events, SyncMode: mode})
}

func (w *world) same(what string, want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&pb.SagaCompensationFailed{}, "occurred_at"), cmpopts.EquateEmpty()); diff != "" {
		w.Errorf("%s: %s", what, diff)
	}
}

// parked lists the dead letters of a subscription, once everything is recorded.
func (w *world) parked(subscription string) (reasons []string) {
	w.Helper()
	w.stop()
	parked, err := w.store.Parked(w.Context(), eventstore.ParkedQuery{Subscription: subscription, States: []eventstore.State{eventstore.StateParked}, Limit: 10})
	if err != nil {
		w.Fatal(err)
	}
	for _, letter := range parked {
		reasons = append(reasons, letter.Reason)
	}
	return reasons
}

func command(id string) *pb.CommandBook {
	return runtimetest.AnyNumber(runtimetest.Command("stock", id, 0, "Reserve"))
}

// sent is a command as it is expected to leave the saga.
func sent(wanted *pb.CommandBook, sequence, index uint32) *pb.CommandBook {
	filled := proto.CloneOf(wanted)
	filled.SagaOrigin = &pb.SagaCommandOrigin{SagaName: "reserve", TriggeringAggregate: key.Cover("o1"), TriggeringEventSequence: sequence, CommandIndex: index}
	if filled.CorrelationId == "" {
		filled.CorrelationId = "c"
	}
	return filled
}

func TestCommandsAreFilledIn(t *testing.T) {
	t.Parallel()
	whole := command("p2")
	whole.Fact, whole.AutoResequence, whole.CorrelationId, whole.IdempotencyKey = true, false, "mine", "k"
	whole.SagaOrigin = &pb.SagaCommandOrigin{SagaName: "forged"}
	w := newWorld(t, always(command("p1"), whole), accept, asItIs)
	response, err := w.handle(w.append(0, "x/Placed", "x/Paid"), pb.SyncMode_SYNC_MODE_SIMPLE)
	if err != nil {
		t.Fatal(err)
	}
	want := []*pb.CommandBook{sent(command("p1"), 1, 0), sent(whole, 1, 1)}
	w.same("sent", want, w.targets.seen())
	w.same("answered", want, response.Commands)
}

func TestAnEventFromTheBusMakesTheSagaActOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, always(command("p1")), accept, asItIs)
	events := w.append(0, "x/Placed")
	<-w.targets.told
	if _, err := w.coordinator.Handle(t.Context(), events); err != nil {
		t.Error(err)
	}
	w.same("sent", []*pb.CommandBook{sent(command("p1"), 0, 0)}, w.targets.seen())
	if !w.coordinator.Wants("order") || w.coordinator.Wants("stock") {
		t.Error("it wants other domains than it was told")
	}
}

func TestARedeliveredEventSendsTheSameCommands(t *testing.T) {
	t.Parallel()
	ids := map[uuid.UUID]bool{}
	var last *pb.CommandBook
	for range 2 {
		w := newWorld(t, always(command("p1"), command("p1")), accept, asItIs)
		if _, err := w.coordinator.Handle(t.Context(), w.append(0, "x/Placed")); err != nil {
			t.Fatal(err)
		}
		for _, last = range w.targets.seen() {
			id, repeatable := book.CommandID(book.Key{Domain: "stock"}, last)
			if !repeatable {
				t.Error("a repeated command would have a second effect")
			}
			ids[id] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d ids for two commands, each sent twice", len(ids))
	}
}

func TestWhatMayPassIsRepeatedAndNotCompensated(t *testing.T) {
	t.Parallel()
	for _, passing := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.ResourceExhausted} {
		t.Run(passing.String(), func(t *testing.T) {
			t.Parallel()
			times := 0
			w := newWorld(t, always(command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
				if times++; times < 4 {
					return nil, status.Error(passing, "not now")
				}
				return accepted(c), nil
			}, asItIs)
			if _, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
				t.Error(err)
			}
			want := sent(command("p1"), 0, 0)
			w.same("sent", []*pb.CommandBook{want, want, want, want}, w.targets.seen())
		})
	}
}

// rejected is why the stock refuses in these tests.
const rejected = "Sequence mismatch: command expects 0, aggregate at 2"

func revoke(t *testing.T, refused *pb.CommandBook) *pb.CommandBook {
	t.Helper()
	payload, err := anypb.New(&pb.RevokeEventCommand{SagaName: "reserve", RejectionReason: rejected, RejectedCommand: refused})
	if err != nil {
		t.Fatal(err)
	}
	return &pb.CommandBook{Cover: key.Cover("o1"), Pages: []*pb.CommandPage{{Command: payload}}, CorrelationId: "c", AutoResequence: true, Fact: true}
}

func failure(t *testing.T, refused *pb.CommandBook, reason string) *pb.CommandBook {
	t.Helper()
	payload, err := anypb.New(&pb.SagaCompensationFailed{
		TriggeringAggregate: key.Cover("o1"), SagaName: "reserve", RejectionReason: rejected, CompensationFailureReason: reason, RejectedCommand: refused,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pb.CommandBook{Pages: []*pb.CommandPage{{Command: payload}}, CorrelationId: "c", AutoResequence: true, Fact: true}
}

// normal takes out what differs from run to run or is checked elsewhere.
func (w *world) normal(commands []*pb.CommandBook) (compared []*pb.CommandBook) {
	w.Helper()
	for _, command := range commands {
		command = proto.CloneOf(command)
		if command.Cover.Domain == "failures" {
			command.Cover = nil
		}
		if failed := new(pb.SagaCompensationFailed); command.Pages[0].Command.MessageIs(failed) {
			if err := command.Pages[0].Command.UnmarshalTo(failed); err != nil || failed.OccurredAt == nil {
				w.Errorf("%v, %v", failed, err)
			}
			failed.OccurredAt = nil
			packed, err := anypb.New(failed)
			if err != nil {
				w.Fatal(err)
			}
			command.Pages[0].Command = packed
		}
		command.IdempotencyKey = ""
		compared = append(compared, command)
	}
	return compared
}

func TestCompensation(t *testing.T) {
	t.Parallel()
	nothing := "the aggregate answered with nothing"
	revocation := func(edit func(*pb.RevocationResponse)) error {
		r := &pb.RevocationResponse{Reason: "too late"}
		edit(r)
		return rpcerr.Revoked(r)
	}
	for _, c := range []struct {
		name     string
		events   bool
		err      error // of the aggregate that is asked to compensate
		fallback *pb.RevocationResponse
		recorded string // why compensation failed, when that is stored
		escalate string
		letter   string
		abort    bool
	}{
		{name: "events", events: true},
		{name: "system revocation", err: revocation(func(r *pb.RevocationResponse) { r.EmitSystemRevocation = true }), recorded: "too late"},
		{name: "dead letter", err: revocation(func(r *pb.RevocationResponse) { r.SendToDeadLetterQueue = true }), letter: "too late"},
		{name: "escalation", err: revocation(func(r *pb.RevocationResponse) { r.Escalate = true }), escalate: "too late"},
		{name: "abort", err: revocation(func(r *pb.RevocationResponse) { r.Abort = true }), abort: true},
		{name: "all of them", recorded: "too late", escalate: "too late", letter: "too late", abort: true, err: revocation(func(r *pb.RevocationResponse) {
			r.EmitSystemRevocation, r.SendToDeadLetterQueue, r.Escalate, r.Abort = true, true, true, true
		})},
		{name: "none of them", err: revocation(func(*pb.RevocationResponse) {})},
		{name: "an error", err: status.Error(codes.Internal, "broken"), recorded: "broken", fallback: &pb.RevocationResponse{EmitSystemRevocation: true}},
		{name: "nothing", recorded: nothing, fallback: &pb.RevocationResponse{EmitSystemRevocation: true}},
		{name: "nothing, with another fallback", letter: nothing, escalate: nothing, fallback: &pb.RevocationResponse{SendToDeadLetterQueue: true, Escalate: true}},
		{name: "nothing, without a fallback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			escalated := make(chan *pb.SagaCompensationFailed, 10)
			w := newWorld(t, always(command("p1")), func(book *pb.CommandBook) (*pb.CommandResponse, error) {
				switch {
				case book.Cover.Domain == "stock":
					return nil, status.Error(codes.FailedPrecondition, rejected)
				case book.Cover.Domain == "failures" || c.events:
					return accepted(book), nil
				}
				return &pb.CommandResponse{}, c.err
			}, func(o *saga.Options) {
				o.Compensation.Fallback = c.fallback
				o.Compensation.Escalate = func(_ context.Context, failed *pb.SagaCompensationFailed) error {
					escalated <- failed
					return nil
				}
			})
			response, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE)
			refused := sent(command("p1"), 0, 0)
			if c.abort {
				if said := status.Convert(err); said.Code() != codes.Aborted || said.Message() != "saga reserve: command rejected: "+rejected+"; not compensated: too late" {
					t.Errorf("told %v", err)
				}
			} else if err != nil {
				t.Error(err)
			} else {
				w.same("answered", []*pb.CommandBook{refused}, response.Commands)
			}
			want := []*pb.CommandBook{refused, revoke(t, refused)}
			if c.recorded != "" {
				want = append(want, failure(t, refused, c.recorded))
			}
			w.same("sent", want, w.normal(w.targets.seen()))
			close(escalated)
			if failed := <-escalated; failed.GetCompensationFailureReason() != c.escalate {
				t.Errorf("escalated %v", failed)
			}
			var letters []string
			if c.letter != "" {
				letters = []string{"command rejected: " + rejected + "; not compensated: " + c.letter}
			}
			w.same("parked", letters, w.parked("saga/reserve/compensation"))
			w.same("blocked", []string(nil), w.parked("saga/reserve"))
		})
	}
}

func TestCompensationIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for range 2 {
		w := newWorld(t, always(command("p1"), command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
			switch c.Cover.Domain {
			case "stock":
				return nil, status.Error(codes.FailedPrecondition, rejected)
			case "failures":
				return accepted(c), nil
			}
			return &pb.CommandResponse{}, nil
		}, asItIs)
		if _, err := w.coordinator.Handle(t.Context(), w.append(0, "x/Placed")); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.targets.seen() {
			if c.Cover.Domain == "stock" {
				continue
			}
			if c.IdempotencyKey == "" {
				t.Errorf("%v may have a second effect", c)
			}
			seen[fmt.Sprint(c.Cover.Domain, c.IdempotencyKey, uuid.UUID(c.Cover.Root.Value))]++
		}
	}
	// Two rejected commands, a revocation and a failure each, both times.
	for id, count := range seen {
		if count != 2 || len(seen) != 4 {
			t.Errorf("%s: %d times, %d ids", id, count, len(seen))
		}
	}
}

func TestSeveralDeadLettersOfOneEventAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, always(command("p1"), command("p2"), command("p3")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		if c.Cover.Domain == "order" {
			return &pb.CommandResponse{}, nil
		}
		if c.Cover.AggregateId == "p2" {
			return accepted(c), nil
		}
		return nil, status.Error(codes.NotFound, "no "+c.Cover.AggregateId)
	}, func(o *saga.Options) { o.Compensation.Fallback = &pb.RevocationResponse{SendToDeadLetterQueue: true} })
	if _, err := w.coordinator.Handle(t.Context(), w.append(0, "x/Placed")); err != nil {
		t.Error(err)
	}
	const rest = "; not compensated: the aggregate answered with nothing"
	w.same("parked", []string{"command rejected: no p1" + rest + "\ncommand rejected: no p3" + rest}, w.parked("saga/reserve/compensation"))
}

func TestCompensationWaitsForWhoIsAway(t *testing.T) {
	t.Parallel()
	away := map[string]int{"order": 2, "failures": 2}
	w := newWorld(t, always(command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		if c.Cover.Domain == "stock" {
			return nil, status.Error(codes.FailedPrecondition, rejected)
		}
		if away[c.Cover.Domain]--; away[c.Cover.Domain] >= 0 {
			return nil, status.Error(codes.Unavailable, "away")
		}
		if c.Cover.Domain == "failures" {
			return accepted(c), nil
		}
		return &pb.CommandResponse{}, nil
	}, asItIs)
	if _, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
		t.Error(err)
	}
	refused, failed := 0, 0
	for _, c := range w.targets.seen() {
		switch c.Cover.Domain {
		case "stock":
			refused++
		case "failures":
			failed++
		}
	}
	if refused != 1 || failed != 3 {
		t.Errorf("asked the stock %d times, recorded the failure %d times", refused, failed)
	}
}

func TestAnEscalationWithoutWebhookIsLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	w := newWorld(t, always(command("p1")), func(*pb.CommandBook) (*pb.CommandResponse, error) {
		return nil, status.Error(codes.FailedPrecondition, "no")
	}, func(o *saga.Options) {
		o.Compensation.Fallback = &pb.RevocationResponse{Escalate: true}
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	if _, err := w.coordinator.Handle(t.Context(), w.append(0, "x/Placed")); err != nil {
		t.Error(err)
	}
	w.stop()
	if !strings.Contains(logged.String(), "a rejected command needs a person: set saga_compensation.escalation_webhook_url") {
		t.Error(logged.String())
	}
}

func TestCascadeWaitsForWhatTheCommandsCause(t *testing.T) {
	t.Parallel()
	quiet := command("quiet")
	w := newWorld(t, always(command("p1"), quiet, command("p2")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		switch {
		case c.Cover.AggregateId == "quiet":
			return &pb.CommandResponse{}, nil
		case c.Cover.AggregateId == "p2":
			return nil, status.Error(codes.FailedPrecondition, rejected)
		}
		return accepted(c), nil
	}, asItIs)
	events := w.append(0, "x/Placed")
	for _, mode := range []pb.SyncMode{pb.SyncMode_SYNC_MODE_NONE, pb.SyncMode_SYNC_MODE_SIMPLE} {
		if _, err := w.handle(events, mode); err != nil || len(w.targets.waited) != 0 {
			t.Errorf("%v: %v, waited for %v", mode, err, w.targets.waited)
		}
	}
	if _, err := w.handle(events, pb.SyncMode_SYNC_MODE_CASCADE); err != nil {
		t.Error(err)
	}
	// What caused nothing needs no waiting; the compensation of the refused one
	// does.
	var waited []*pb.CommandBook
	for _, request := range w.targets.waited {
		if request.SyncMode != pb.SyncMode_SYNC_MODE_CASCADE {
			t.Errorf("waited in mode %v", request.SyncMode)
		}
		waited = append(waited, request.Command)
	}
	w.same("waited for", []*pb.CommandBook{sent(command("p1"), 0, 0), revoke(t, sent(command("p2"), 0, 2))}, w.normal(waited))
	w.targets.sync = func(*pb.SyncCommandBook) error { return status.Error(codes.DeadlineExceeded, "the stock is slow") }
	_, err := w.handle(events, pb.SyncMode_SYNC_MODE_CASCADE)
	if said := status.Convert(err); said.Code() != codes.DeadlineExceeded || said.Message() != "the stock is slow" {
		t.Errorf("got %v", err)
	}
}

func TestABookThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, always(), accept, asItIs)
	for _, events := range []*pb.EventBook{nil, {}, {Cover: key.Cover("")}} {
		_, sync := w.handle(events, pb.SyncMode_SYNC_MODE_SIMPLE)
		_, async := w.coordinator.Handle(t.Context(), events)
		if status.Code(sync) != codes.InvalidArgument || status.Code(async) != codes.InvalidArgument {
			t.Errorf("%v: %v and %v", events, sync, async)
		}
	}
}
