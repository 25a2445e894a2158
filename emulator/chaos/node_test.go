package chaos_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/emulator/chaos"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

const (
	orders   = 6 // aggregates
	commands = 8 // for each
)

// shop is a node under chaos: orders whose every event has a saga reserve stock,
// and a projector of everything.
type shop struct {
	*testing.T
	node     *node.Node
	noted    *noted
	chaos    *chaos.Chaos
	services map[string]*runtimetest.Service // by component
	arrived  *arrivals

	mu     sync.Mutex
	naive  int                            // events that a projector counts which does not look at their numbers
	rows   map[book.Key]map[uint32]string // what one knows that does
	next   map[book.Key]uint32
	killed map[string]int
}

// badly is chaos that is worse than anybody's.
func badly(seed uint64) chaos.Options {
	return chaos.Options{
		Seed: seed, Duplicates: 0.3, Drops: 0.2, Delays: 0.2, Reorders: 0.3, Slow: 0.2, Crashes: 0.2,
		LongestDelay: 20 * time.Millisecond, Rest: time.Nanosecond,
	}
}

func open(t *testing.T, options chaos.Options, kills bool) *shop {
	t.Helper()
	s := &shop{
		T: t, noted: &noted{}, services: map[string]*runtimetest.Service{}, arrived: &arrivals{counts: map[string]int{}},
		rows: map[book.Key]map[uint32]string{}, next: map[book.Key]uint32{}, killed: map[string]int{},
	}
	s.services["domain/order"] = runtimetest.Aggregate(t, decides)
	s.services["domain/stock"] = runtimetest.Aggregate(t, decides)
	s.services["projector/receipt"] = runtimetest.Projector(t, s.project)
	s.services["saga/fulfil"] = runtimetest.Saga(t, reserves)
	options.OnFault = s.noted.add
	if kills {
		options.Restart = s.restart
	}
	s.chaos = chaos.New(options)
	loaded, err := config.Load(config.Options{Dir: runtimetest.Folder(t), Dev: true, Set: map[string]string{
		"storage.type": "memory", "server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	service := func(component, name string) config.Service {
		return config.Service{Name: name, Address: s.services[component].Address()}
	}
	loaded.Domains = []config.Service{service("domain/order", "order"), service("domain/stock", "stock")}
	loaded.Projectors = []config.Service{service("projector/receipt", "receipt")}
	loaded.Sagas = []config.Service{service("saga/fulfil", "fulfil")}
	logger, err := observe.New(observe.Options{Writer: t.Output(), Directives: "error"})
	if err != nil {
		t.Fatal(err)
	}
	s.node, err = node.Open(t.Context(), node.Options{
		Config: loaded, Logger: logger, Patience: time.Minute, Calls: s.chaos.Calls,
		Bus: func(good node.Bus) node.Bus { s.arrived.Bus = good; return s.chaos.Bus(s.arrived) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-s.node.Ready()
	s.await("subscriptions", func() bool { return len(s.arrived.all()) == 2 })
	return s
}

// decides refuses what is named so, and stores one event for each other command.
func decides(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	if book.ShortName(request.Command.Pages[0].Command.TypeUrl) == "Refuse" {
		return nil, status.Error(codes.FailedPrecondition, "no")
	}
	return runtimetest.LeavesNumbersOut(ctx, request)
}

// reserves answers each event of an order with a command.
func reserves(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	if events.Cover.Domain != "order" {
		return &pb.SagaResponse{}, nil
	}
	product := fmt.Sprint("p", book.Last(events)%3)
	return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command("stock", product, 0, "Reserve"))}}, nil
}

// project is two projectors in one: one counts what it is given, one writes each
// event under its number. Neither may see a hole.
func (s *shop) project(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := book.First(events); first > s.next[key] {
		s.Errorf("event %d of %s came before event %d", first, key, s.next[key])
	}
	s.next[key] = max(s.next[key], book.Last(events)+1)
	if s.rows[key] == nil {
		s.rows[key] = map[uint32]string{}
	}
	for _, page := range events.Pages {
		s.naive++
		s.rows[key][page.GetNum()] = book.ShortName(page.Event.TypeUrl)
	}
	return &pb.Projection{}, nil
}

// restart does to a service what a kill and the supervisor do.
func (s *shop) restart(component, _ string) {
	s.mu.Lock()
	s.killed[component]++
	s.mu.Unlock()
	s.services[component].Restart()
	s.node.Hurry(s.services[component].Address())
}

// await waits for a condition.
func (s *shop) await(what string, holds func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited a minute for %s", what)
		}
	}
}

// place sends every order its commands, each after the one before.
func (s *shop) place(mode pb.SyncMode) {
	s.Helper()
	client := pb.NewCommandGatewayClient(s.node.Gateway())
	var group sync.WaitGroup
	for order := range orders {
		group.Go(func() {
			for number := range uint32(commands) {
				response, err := client.ExecuteSync(s.Context(), &pb.SyncCommandBook{
					Command: runtimetest.Command("order", fmt.Sprint("o", order), number, "Place"), SyncMode: mode,
				})
				if err != nil || len(response.Events.Pages) != 1 || response.Events.Pages[0].GetNum() != number {
					s.Errorf("command %d of order %d: %v, %v", number, order, response, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// settle waits until nothing is under way and nothing waits on the bus.
func (s *shop) settle() {
	s.Helper()
	s.await("the components to have done everything", func() bool {
		positions, err := s.node.Store().Positions(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		head, there := s.node.Store().Head(), 0
		for _, position := range positions {
			if position.Position == head {
				there++
			}
		}
		return there == 2 && head == 2*orders*commands
	})
	s.await("the bus to be empty", func() bool {
		for _, count := range s.arrived.all() {
			if count != 2*orders*commands {
				return false
			}
		}
		return true
	})
}

// log returns everything that is stored.
func (s *shop) log() []eventstore.Event {
	s.Helper()
	events, err := s.node.Store().ReadLog(s.Context(), 0, 10_000)
	if err != nil {
		s.Fatal(err)
	}
	return events
}

// check compares what chaos has left with what there would be without it.
func (s *shop) check() {
	s.Helper()
	stored, causes := map[book.Key]map[uint32]string{}, map[string]int{}
	for _, event := range s.log() {
		if stored[event.Key] == nil {
			stored[event.Key] = map[uint32]string{}
		}
		stored[event.Key][event.Sequence] = book.ShortName(event.TypeURL)
		if event.Key.Domain == "stock" {
			causes[event.Causation]++
		}
	}
	for order := range orders {
		key := book.Key{Domain: "order", Root: book.Root("order", fmt.Sprint("o", order))}
		if len(stored[key]) != commands {
			s.Errorf("order %d has %d events, expected %d", order, len(stored[key]), commands)
		}
		for number := range commands {
			if cause := fmt.Sprintf("fulfil %s/%d", key, number); causes[cause] != 1 {
				s.Errorf("%s took effect %d times", cause, causes[cause])
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(stored, s.rows); diff != "" {
		s.Errorf("the projection differs from the log: %s", diff)
	}
	letters, err := s.node.Store().Parked(s.Context(), eventstore.ParkedQuery{Limit: 10})
	if err != nil || len(letters) > 0 {
		s.Errorf("dead letters %v, %v", letters, err)
	}
	s.checkSummary()
}

// checkSummary compares the summary with what was told and seen.
func (s *shop) checkSummary() {
	s.Helper()
	summary, counts := s.chaos.Summary(), s.noted.counts()
	said := map[string]map[chaos.Kind]int{}
	faults := 0
	for _, count := range summary.Counts {
		if said[count.Component] == nil {
			said[count.Component] = map[chaos.Kind]int{}
		}
		said[count.Component][count.Kind] = count.Times
		faults += count.Times
	}
	if diff := cmp.Diff(counts, said); diff != "" || faults != summary.Faults {
		s.Errorf("the summary says %d faults: %s", summary.Faults, diff)
	}
	kills := map[string]int{}
	for _, each := range summary.Kills {
		kills[each.Component] = each.Times
	}
	if !maps.Equal(kills, s.killed) {
		s.Errorf("killed %v, and the summary says %v", s.killed, kills)
	}
	for _, component := range slices.Sorted(maps.Keys(s.services)) {
		if counts[component][chaos.Repeated] == 0 || counts[component][chaos.CrashedAfter] == 0 {
			s.Errorf("%s was spared: %v", component, counts[component])
		}
	}
}

// arrivals is a bus that counts what each subscriber takes.
type arrivals struct {
	node.Bus
	mu     sync.Mutex
	counts map[string]int
}

func (a *arrivals) all() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.counts)
}

func (a *arrivals) add(name string, count int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[name] += count
}

func (a *arrivals) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	subscription, err := a.Bus.Subscribe(ctx, name)
	if err != nil || name == "" {
		return subscription, err
	}
	a.add(name, 0)
	return arriving{subscription, a, name}, nil
}

type arriving struct {
	bus.Subscription
	arrivals *arrivals
	name     string
}

func (s arriving) Next(ctx context.Context) (bus.Message, error) {
	message, err := s.Subscription.Next(ctx)
	if err == nil {
		s.arrivals.add(s.name, 1)
	}
	return message, err
}

// The main promise: whatever chaos does, everything is as it would be without it,
// but for who counts what comes.
func TestEverythingIsRepairedAndTheSameSeedDoesTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			killed, one, two := faultsOf(t, seed, true), faultsOf(t, seed, false), faultsOf(t, seed, false)
			if diff := cmp.Diff(one, two); diff != "" {
				t.Errorf("the second run differs: %s", diff)
			}
			if diff := cmp.Diff(killed, one); diff != "" {
				t.Errorf("with processes that are really killed: %s", diff)
			}
		})
	}
}

// faultsOf returns what is done to a shop with a seed, when the shop has borne it.
func faultsOf(t *testing.T, seed uint64, kills bool) map[chaos.Fault]int {
	t.Helper()
	s := open(t, badly(seed), kills)
	s.place(pb.SyncMode_SYNC_MODE_NONE)
	s.settle()
	s.check()
	s.checkNaive()
	return s.noted.all()
}

// checkNaive says that the projector that counts what comes has been found out,
// by as much as chaos says.
func (s *shop) checkNaive() {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.noted.counts()["projector/receipt"]
	extra := counts[chaos.Repeated] + counts[chaos.CrashedAfter]
	if want := 2*orders*commands + extra; s.naive != want || extra == 0 {
		s.Errorf("counted %d events of %d; %d were to come once more", s.naive, 2*orders*commands, extra)
	}
}

func TestCallersWhoWaitAreAnswered(t *testing.T) {
	t.Parallel()
	for _, mode := range []pb.SyncMode{pb.SyncMode_SYNC_MODE_SIMPLE, pb.SyncMode_SYNC_MODE_CASCADE} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := open(t, badly(5), true)
			s.place(mode)
			s.settle()
			s.check()
		})
	}
}

func TestARefusalReachesTheClientWhateverDies(t *testing.T) {
	t.Parallel()
	s := open(t, badly(6), true)
	client := pb.NewCommandGatewayClient(s.node.Gateway())
	for order := range 20 {
		_, err := client.ExecuteSync(t.Context(), &pb.SyncCommandBook{Command: runtimetest.Command("order", fmt.Sprint("r", order), 0, "Refuse")})
		if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "no" {
			t.Errorf("order %d: %v", order, err)
		}
	}
	if got := s.log(); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
}

func TestAnotherSeedDoesSomethingElse(t *testing.T) {
	t.Parallel()
	var faults []map[chaos.Fault]int
	for seed := range uint64(2) {
		s := open(t, badly(seed), true)
		s.place(pb.SyncMode_SYNC_MODE_NONE)
		s.settle()
		faults = append(faults, s.noted.all())
	}
	if cmp.Equal(faults[0], faults[1]) {
		t.Error("both seeds did the same")
	}
}

func TestWithoutChaosNobodyIsAskedTwice(t *testing.T) {
	t.Parallel()
	s := open(t, nothing(), true)
	s.place(pb.SyncMode_SYNC_MODE_NONE)
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.naive != 2*orders*commands || s.chaos.Summary().Faults != 0 {
		t.Errorf("counted %d events of %d, %+v", s.naive, 2*orders*commands, s.chaos.Summary())
	}
}
