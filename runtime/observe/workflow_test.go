package observe_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/relay"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/transport"
)

// followers are a relay, a projector and a saga behind a system, each a process.
type followers struct {
	relay, projector, saga *process
	projected              chan string // the types of events that the projector was given
}

// follow starts them. The saga thanks whoever creates something.
func (s *system) follow(t *testing.T) *followers {
	t.Helper()
	f := &followers{
		relay: newProcess(t, "relay", true), projector: newProcess(t, "projector", true), saga: newProcess(t, "saga", true),
		projected: make(chan string, 10),
	}
	road, memory := channel.New(), transport.NewMemory()
	pb.RegisterEventQueryServer(memory, query.New(query.Options{Store: s.store}))
	receipts := runtimetest.Projector(t, func(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
		f.projected <- book.ShortName(events.Pages[0].Event.TypeUrl)
		return &pb.Projection{}, nil
	})
	loyalty := runtimetest.Saga(t, func(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
		if book.ShortName(events.Pages[0].Event.TypeUrl) != "CreateDone" {
			return &pb.SagaResponse{}, nil
		}
		return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command("order", "thanks", 0, "Thank"))}}, nil
	})
	projections := projector.New(projector.Options{
		Name: "receipt", Service: pb.NewProjectorClient(f.projector.connect(receipts.Address(), slog.String(observe.KeyComponent, "receipt"))),
		Delivery: delivery.Options[*pb.Projection]{Store: s.store, Bus: road, Query: pb.NewEventQueryClient(memory), Metrics: f.projector.Metrics()},
	})
	thanks := saga.New(saga.Options{
		Name: "loyalty", Service: pb.NewSagaClient(f.saga.connect(loyalty.Address())), Commands: pb.NewAggregateCoordinatorClient(f.saga.connect(s.door)),
		Delivery: delivery.Options[*saga.Outcome]{Store: s.store, Bus: road, Query: pb.NewEventQueryClient(memory), Metrics: f.saga.Metrics()},
	})
	tail := relay.New(relay.Options{Log: s.store, Publisher: road, Telemetry: f.relay.Telemetry})
	// They are stopped in the order in which a node stops them.
	for _, run := range []func(context.Context) error{tail.Run, projections.Run, thanks.Run} {
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return f
}

// sorted puts the lines of each parent in order: what happens side by side is
// drawn in any.
func sorted(tree string) []string {
	lines, path := []string{}, []string{}
	for line := range strings.Lines(strings.TrimSpace(tree)) {
		line = strings.TrimRight(line, "\n")
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		path = append(path[:depth], strings.TrimSpace(line))
		lines = append(lines, strings.Join(path, " > "))
	}
	slices.Sort(lines)
	return lines
}

func TestAWorkflowIsOneTraceThroughRelayProjectorAndSaga(t *testing.T) {
	t.Parallel()
	s := newSystem(t, true)
	f := s.follow(t)
	if _, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", 0, "Create")); err != nil {
		t.Fatal(err)
	}
	got := []string{<-f.projected, <-f.projected}
	if diff := cmp.Diff([]string{"CreateDone", "ThankDone"}, got); diff != "" {
		t.Fatal(diff)
	}
	const rpc = "angzarr.AggregateCoordinator/Handle"
	command := "client client " + rpc + " > gateway server " + rpc + " > gateway client " + rpc + " > aggregate server " + rpc
	thank := command + " > saga client " + rpc + " > gateway server " + rpc + " > gateway client " + rpc + " > aggregate server " + rpc
	want := sortedAll(pathsOf(command), pathsOf(thank), []string{
		command + " > aggregate client angzarr.Aggregate/Handle", command + " > aggregate internal append",
		command + " > relay internal publish", command + " > projector client angzarr.Projector/Handle", command + " > saga client angzarr.Saga/Handle",
		thank + " > aggregate client angzarr.Aggregate/Handle", thank + " > aggregate internal append",
		thank + " > relay internal publish", thank + " > projector client angzarr.Projector/Handle", thank + " > saga client angzarr.Saga/Handle",
	})
	processes := []*process{s.client, s.gateway, s.aggregate, f.relay, f.projector, f.saga}
	until(t, "all spans have ended", func() bool {
		found := 0
		for _, p := range processes {
			found += len(p.spans.GetSpans())
		}
		return found >= len(want)
	})
	if diff := cmp.Diff(want, sorted(tree(t, processes...))); diff != "" {
		t.Error(diff)
	}
	type labels = map[string]string
	for _, c := range []struct {
		of     *process
		name   string
		labels labels
	}{
		{f.relay, "angz_relay_published_total", nil},
		{f.projector, "angz_component_calls_total", labels{"component": "projector/receipt", "code": "OK"}},
		{f.saga, "angz_component_calls_total", labels{"component": "saga/loyalty", "code": "OK"}},
	} {
		until(t, c.name+" is 2", func() bool { return valueOf(t, c.of.Metrics(), c.name, c.labels) == 2 })
	}
	if got := valueOf(t, f.projector.Metrics(), "angz_component_slices", labels{"component": "projector/receipt"}); got != 1 {
		t.Errorf("%v slices are held", got)
	}
}

// pathsOf returns a path and all that it begins with.
func pathsOf(path string) (all []string) {
	steps := strings.Split(path, " > ")
	for i := range steps {
		all = append(all, strings.Join(steps[:i+1], " > "))
	}
	return all
}

// sortedAll puts lists together, each line once.
func sortedAll(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// until returns when something holds that nobody tells of: a span ends, and a
// count is made, after whoever is in it has been heard of.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("it never came that %s", what)
		}
		runtime.Gosched()
	}
}
