package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/angz-dev/angz/emulator/chaos"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// conn is a connection whose other end is a function.
type conn func(ctx context.Context, request, response proto.Message) error

func (c conn) Invoke(ctx context.Context, _ string, request, response any, _ ...grpc.CallOption) error {
	return c(ctx, request.(proto.Message), response.(proto.Message))
}

func (c conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("there are no streams here")
}

// handles is a projector that answers with how many events it was given in all.
type handles struct {
	mu    sync.Mutex
	calls int
}

func (h *handles) conn() conn {
	return func(_ context.Context, _, response proto.Message) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls++
		if projection, ok := response.(*pb.Projection); ok {
			projection.Sequence = uint32(h.calls)
		}
		return nil
	}
}

func (h *handles) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

// always returns options with which one thing is always done.
func always(probability func(*chaos.Options) *float64) chaos.Options {
	options := nothing()
	*probability(&options) = 1
	return options
}

func crashes(o *chaos.Options) *float64    { return &o.Crashes }
func duplicates(o *chaos.Options) *float64 { return &o.Duplicates }

func TestEachKindOfFaultAtACallIsWhatItSays(t *testing.T) {
	t.Parallel()
	for kind, edit := range map[chaos.Kind]func(*chaos.Options){
		chaos.Repeated:  func(o *chaos.Options) { o.Duplicates = 0.3 },
		chaos.Overtaken: func(o *chaos.Options) { o.Reorders = 0.3 },
		chaos.Slowed:    func(o *chaos.Options) { o.Slow = 0.3 },
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options, noted, served := nothing(), &noted{}, &handles{}
				options.Seed, options.OnFault = 42, noted.add
				edit(&options)
				c, began := chaos.New(options), time.Now()
				client := pb.NewProjectorClient(c.Calls("projector/receipt", served.conn()))
				for _, message := range messages(200) {
					if _, err := client.Handle(t.Context(), message.Book); err != nil {
						t.Fatal(err)
					}
				}
				counts := noted.counts()["projector/receipt"]
				hit := counts[kind]
				if len(counts) != 1 || hit < 30 || hit > 90 {
					t.Fatalf("of 200 calls with 0.3: %v", counts)
				}
				want := 200
				if kind == chaos.Repeated {
					want += hit
				}
				if served.count() != want {
					t.Errorf("asked %d times, expected %d", served.count(), want)
				}
				took, longest := time.Since(began), time.Duration(hit)*500*time.Millisecond
				if took > longest || kind != chaos.Repeated && took == 0 {
					t.Errorf("took %s, expected %s at most", took, longest)
				}
			})
		})
	}
}

// Both ways to crash say that the connection broke, and the number of calls that
// the service has seen tells them apart.
func TestACrashHappensBeforeOrAfterTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options, noted, served := always(crashes), &noted{}, &handles{}
		options.Crashes, options.Seed, options.OnFault, options.Rest = 0.3, 7, noted.add, time.Nanosecond
		kills := 0
		options.Restart = func(component, _ string) {
			kills++
			if component != "projector/receipt" {
				t.Errorf("killed %s", component)
			}
		}
		c := chaos.New(options)
		client := pb.NewProjectorClient(c.Calls("projector/receipt", served.conn()))
		failed := 0
		for _, message := range messages(200) {
			for {
				_, err := client.Handle(t.Context(), message.Book)
				if err == nil {
					break
				}
				if !transport.Broken(err) {
					t.Fatal(err)
				}
				failed++
			}
		}
		counts := noted.counts()["projector/receipt"]
		before, after := counts[chaos.CrashedBefore], counts[chaos.CrashedAfter]
		if before < 20 || after < 20 || failed != before+after || kills != failed {
			t.Errorf("%d calls failed, %d kills, %v", failed, kills, counts)
		}
		if served.count() != 200+after {
			t.Errorf("asked %d times, expected %d", served.count(), 200+after)
		}
		if got := c.Summary().Kills; !slices.Equal(got, []chaos.Kills{{Component: "projector/receipt", Times: kills}}) {
			t.Errorf("of %d kills the summary says %v", kills, got)
		}
	})
}

func TestNothingFailsSoOftenThatItBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		most     int
		requests func() []func(grpc.ClientConnInterface) error
	}{
		{"a book at a projector", 2, func() []func(grpc.ClientConnInterface) error {
			return []func(grpc.ClientConnInterface) error{project(events("a", 3, 9))}
		}},
		{"a book and its commands at a saga", 2, func() []func(grpc.ClientConnInterface) error {
			return []func(grpc.ClientConnInterface) error{react(events("a", 3, 9)), send(events("a", 3, 9), 0), send(events("a", 3, 9), 1), send(events("a", 3, 9), 2)}
		}},
		{"a command at a domain", 1, func() []func(grpc.ClientConnInterface) error {
			return []func(grpc.ClientConnInterface) error{decide("a", 3, "Place")}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(50) {
				options, component := always(crashes), map[int]string{1: "domain/order", 2: "saga/fulfil"}[c.most]
				options.Drops, options.Seed = 1, seed
				bad := chaos.New(options).Calls(component, (&handles{}).conn())
				failed := 0
				for range 10 {
					for _, request := range c.requests() {
						if err := request(bad); err != nil {
							failed++
							break // the whole is begun anew
						}
					}
				}
				if failed != c.most {
					t.Fatalf("seed %d: failed %d times, expected %d", seed, failed, c.most)
				}
			}
		})
	}
}

func project(events *pb.EventBook) func(grpc.ClientConnInterface) error {
	return func(conn grpc.ClientConnInterface) error {
		_, err := pb.NewProjectorClient(conn).Handle(context.Background(), events)
		return err
	}
}

func react(events *pb.EventBook) func(grpc.ClientConnInterface) error {
	return func(conn grpc.ClientConnInterface) error {
		_, err := pb.NewSagaClient(conn).Handle(context.Background(), events)
		return err
	}
}

// send sends a command of a saga.
func send(because *pb.EventBook, index uint32) func(grpc.ClientConnInterface) error {
	return func(conn grpc.ClientConnInterface) error {
		command := runtimetest.Command("stock", "p1", 0, "Reserve")
		command.SagaOrigin = &pb.SagaCommandOrigin{
			SagaName: "fulfil", TriggeringAggregate: because.Cover, TriggeringEventSequence: book.Last(because), CommandIndex: index,
		}
		_, err := pb.NewAggregateCoordinatorClient(conn).Handle(context.Background(), command)
		return err
	}
}

// decide has a domain decide about a command, after so many events.
func decide(id string, next uint32, name string) func(grpc.ClientConnInterface) error {
	return func(conn grpc.ClientConnInterface) error {
		request := &pb.ContextualCommand{Command: runtimetest.Command("order", id, next, name)}
		if next > 0 {
			request.Events = events(id, next-1, 1)
		}
		_, err := pb.NewAggregateClient(conn).Handle(context.Background(), request)
		return err
	}
}

func TestASagasCommandIsDoneBeforeItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	options, noted, served := nothing(), &noted{}, &handles{}
	options.Drops, options.OnFault = 1, noted.add
	bad := chaos.New(options).Calls("saga/fulfil", served.conn())
	if err := send(events("a", 3, 9), 1)(bad); !transport.Broken(err) || served.count() != 1 {
		t.Errorf("asked %d times and said %v", served.count(), err)
	}
	key := book.Key{Domain: "order", Root: book.Root("order", "a")}
	want := map[chaos.Fault]int{{
		Kind: chaos.AnswerLost, Component: "saga/fulfil", Domain: key.Domain, Root: key.Root, Sequence: 3, Command: "1 Reserve",
	}: 1}
	if diff := cmp.Diff(want, noted.all()); diff != "" {
		t.Error(diff)
	}
}

func TestDifferentCommandsAtOneNumberAreDifferent(t *testing.T) {
	t.Parallel()
	options, noted := always(duplicates), &noted{}
	options.OnFault = noted.add
	bad := chaos.New(options).Calls("domain/order", (&handles{}).conn())
	for _, call := range []func(grpc.ClientConnInterface) error{decide("a", 0, "Place"), decide("a", 0, "Cancel"), decide("a", 1, "Cancel")} {
		if err := call(bad); err != nil {
			t.Fatal(err)
		}
	}
	for fault := range noted.all() {
		if fault.Attempt != 0 {
			t.Errorf("%+v", fault)
		}
	}
	if got := len(noted.all()); got != 3 {
		t.Errorf("%d faults", got)
	}
}

func TestANumberIsReadFromASnapshotToo(t *testing.T) {
	t.Parallel()
	options, noted := always(duplicates), &noted{}
	options.OnFault = noted.add
	client := pb.NewAggregateClient(chaos.New(options).Calls("domain/order", (&handles{}).conn()))
	request := &pb.ContextualCommand{
		Command: runtimetest.Command("order", "a", 8, "Place"), Events: &pb.EventBook{Snapshot: &pb.Snapshot{Sequence: 7}},
	}
	if _, err := client.Handle(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	for fault := range noted.all() {
		if fault.Sequence != 8 {
			t.Errorf("%+v", fault)
		}
	}
}

func TestWhatIsNoCallOfAComponentPasses(t *testing.T) {
	t.Parallel()
	options := always(crashes)
	options.Drops, options.Duplicates = 1, 1
	served := &handles{}
	c := chaos.New(options)
	bad := c.Calls("projector/receipt", served.conn())
	for _, request := range []proto.Message{&emptypb.Empty{}, &pb.EventBook{}, &pb.EventBook{Pages: events("a", 0, 1).Pages}, &pb.CommandBook{}, &pb.ContextualCommand{}} {
		if err := bad.Invoke(t.Context(), "/any", request, &emptypb.Empty{}); err != nil {
			t.Error(err)
		}
	}
	if served.count() != 5 || c.Summary().Faults != 0 {
		t.Errorf("asked %d times, %+v", served.count(), c.Summary())
	}
}

func TestAnErrorOfTheServiceIsItsOwn(t *testing.T) {
	t.Parallel()
	options := always(crashes)
	options.Crashes, options.Duplicates, options.Slow = never, 1, 1
	want, calls := status.Error(codes.InvalidArgument, "no such product"), 0
	c := chaos.New(options)
	client := pb.NewProjectorClient(c.Calls("projector/receipt", conn(func(context.Context, proto.Message, proto.Message) error {
		calls++
		return want
	})))
	if _, err := client.Handle(t.Context(), events("a", 0, 1)); !errors.Is(err, want) || calls != 1 || c.Summary().Faults != 0 {
		t.Errorf("asked %d times and said %v, %+v", calls, err, c.Summary())
	}
}

func TestADelayLeavesTimeForTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := nothing()
		options.Reorders, options.Slow, options.LongestDelay = 1, 1, time.Hour
		client := pb.NewProjectorClient(chaos.New(options).Calls("projector/receipt", (&handles{}).conn()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := client.Handle(ctx, events("a", 0, 1)); err != nil || ctx.Err() != nil {
			t.Error(err, ctx.Err())
		}
	})
}

// Other aggregates' events overtake those that wait, and the wait ends with them.
func TestEventsThatWaitAreOvertaken(t *testing.T) {
	t.Parallel()
	overtaken := 0
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			options := nothing()
			options.Seed, options.Reorders, options.LongestDelay = seed, 0.3, time.Hour
			var mu sync.Mutex
			var order []string
			client := pb.NewProjectorClient(chaos.New(options).Calls("projector/receipt", conn(func(_ context.Context, request, _ proto.Message) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, request.(*pb.EventBook).Cover.AggregateId)
				return nil
			})))
			var group sync.WaitGroup
			for i := range 10 {
				group.Go(func() {
					if _, err := client.Handle(t.Context(), events(fmt.Sprint(i), 0, 1)); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
			// Nobody has waited for the clock yet, which moves only now.
			mu.Lock()
			if !slices.IsSorted(order) {
				overtaken++
			}
			mu.Unlock()
			group.Wait()
			if len(order) != 10 {
				t.Errorf("seed %d: %v", seed, order)
			}
		})
	}
	if overtaken < 50 {
		t.Errorf("with %d seeds of 100 something was overtaken", overtaken)
	}
}

// A kill hits the call that it is meant for and no other.
func TestAKillWaitsForTheOtherCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := always(crashes)
		underWay, killed := 0, 0
		options.Seed = seedOf(t, chaos.CrashedBefore, "b")
		options.Restart = func(string, string) {
			if killed++; underWay > 0 {
				t.Errorf("killed with %d calls under way", underWay)
			}
		}
		options.Crashes = 0.5
		bad := chaos.New(options).Calls("projector/receipt", conn(func(_ context.Context, request, _ proto.Message) error {
			underWay++
			time.Sleep(300 * time.Millisecond)
			underWay--
			return nil
		}))
		var group sync.WaitGroup
		group.Go(func() { _ = project(events("a", 0, 1))(bad) })
		synctest.Wait()
		if err := project(events("b", 0, 2))(bad); !transport.Broken(err) || killed == 0 {
			t.Errorf("%d killed, %v", killed, err)
		}
		group.Wait()
	})
}

// seedOf returns a seed with which a call about the first event of an aggregate
// is hit, and one about "a" is not.
func seedOf(t *testing.T, kind chaos.Kind, id string) uint64 {
	t.Helper()
	for seed := range uint64(1000) {
		options, noted := nothing(), &noted{}
		options.Seed, options.Crashes, options.OnFault = seed, 0.5, noted.add
		bad := chaos.New(options).Calls("projector/receipt", (&handles{}).conn())
		hitsA := project(events("a", 0, 1))(bad) != nil
		hits := project(events(id, 0, 1))(bad) != nil && noted.counts()["projector/receipt"][kind] == 1
		if hits && !hitsA {
			return seed
		}
	}
	t.Fatal("no seed does that")
	return 0
}

func TestAKillDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := always(crashes)
		options.Seed, options.Crashes = seedOf(t, chaos.CrashedBefore, "b"), 0.5
		options.Restart = func(string, string) { t.Error("killed with a call under way") }
		hangs := make(chan struct{})
		bad := chaos.New(options).Calls("projector/receipt", conn(func(context.Context, proto.Message, proto.Message) error {
			<-hangs
			return nil
		}))
		var group sync.WaitGroup
		group.Go(func() { _ = project(events("a", 0, 1))(bad) })
		synctest.Wait()
		began := time.Now()
		if err := project(events("b", 0, 2))(bad); !transport.Broken(err) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		close(hangs)
		group.Wait()
	})
}

func TestAServiceThatWasKilledIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options, kills := always(crashes), 0
		options.Restart = func(string, string) { kills++ }
		bad := chaos.New(options).Calls("projector/receipt", (&handles{}).conn())
		for i := range 10 {
			if err := project(events(fmt.Sprint(i), 0, 1))(bad); !transport.Broken(err) {
				t.Fatal(err)
			}
		}
		if kills != 1 {
			t.Errorf("killed %d times at once", kills)
		}
		time.Sleep(15 * time.Second)
		if _ = project(events("later", 0, 1))(bad); kills != 2 {
			t.Errorf("killed %d times in 15 s", kills)
		}
	})
}

// A call on a connection that is as good as dead is not an attempt more.
func TestACallThatMeetsAKilledProcessIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options, dying, calls := always(crashes), 0, 0
		options.Seed, options.Crashes = seedOf(t, chaos.CrashedBefore, "b"), 0.5
		options.Restart = func(string, string) { dying = 2 }
		bad := chaos.New(options).Calls("projector/receipt", conn(func(context.Context, proto.Message, proto.Message) error {
			if calls++; dying > 0 {
				dying--
				return transport.NewBroken("EOF")
			}
			return nil
		}))
		if err := project(events("b", 0, 2))(bad); !transport.Broken(err) {
			t.Fatal(err)
		}
		if err := project(events("a", 0, 1))(bad); err != nil || calls != 3 {
			t.Errorf("asked %d times, %v", calls, err)
		}
		time.Sleep(5 * time.Second)
		dying = 1
		if err := project(events("a", 0, 1))(bad); !transport.Broken(err) {
			t.Errorf("what broke long after is not told: %v", err)
		}
	})
}

func TestWhoAnswersDifferentlyIsSuspected(t *testing.T) {
	t.Parallel()
	steady := conn(func(_ context.Context, _, response proto.Message) error { return nil })
	calls := 0
	once := func(second error) conn {
		return func(context.Context, proto.Message, proto.Message) error {
			if calls++; calls%2 == 0 {
				return second
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		component string
		conn      conn
		call      func(grpc.ClientConnInterface) error
		problem   string
		suspected bool
	}{
		"the same":                  {"projector/p", steady, project(events("a", 1, 1)), "", false},
		"another projection":        {"projector/p", (&handles{}).conn(), project(events("a", 1, 1)), "", true},
		"a refusal":                 {"projector/p", once(status.Error(codes.AlreadyExists, "UNIQUE constraint failed")), project(events("a", 1, 1)), "UNIQUE constraint failed", true},
		"an error of the moment":    {"projector/p", once(status.Error(codes.Unavailable, "no memory")), project(events("a", 1, 1)), "", false},
		"other commands of a saga":  {"saga/s", counting(), react(events("a", 1, 1)), "", true},
		"other events of a command": {"domain/order", decisions(), decide("a", 0, "Place"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			calls = 0
			bad := chaos.New(always(duplicates))
			_ = c.call(bad.Calls(c.component, c.conn))
			got := bad.Summary().Suspects
			if !c.suspected {
				if len(got) > 0 {
					t.Errorf("suspects %v", got)
				}
				return
			}
			key := book.Key{Domain: "order", Root: book.Root("order", "a")}
			want := []chaos.Suspect{{Component: c.component, Domain: "order", Root: key.Root, Sequence: 1, Problem: c.problem, Times: 1}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// counting is a saga that counts.
func counting() conn {
	sent := 0
	return func(_ context.Context, _, response proto.Message) error {
		sent++
		response.(*pb.SagaResponse).Commands = []*pb.CommandBook{runtimetest.Command("stock", fmt.Sprint(sent), 0, "Reserve")}
		return nil
	}
}

// decisions is a domain whose events have times, as is its right.
func decisions() conn {
	now := int64(0)
	return func(_ context.Context, _, response proto.Message) error {
		now++
		page := runtimetest.Event("Placed")
		page.CreatedAt = &timestamppb.Timestamp{Seconds: now}
		response.(*pb.BusinessResponse).Result = &pb.BusinessResponse_Events{Events: &pb.EventBook{Pages: []*pb.EventPage{page}}}
		return nil
	}
}

func TestTheSummaryReadsAsPeopleRead(t *testing.T) {
	t.Parallel()
	options := always(duplicates)
	options.Seed, options.Drops, options.Restart = 42, 1, func(string, string) {}
	c := chaos.New(options)
	counts := c.Calls("projector/receipt", (&handles{}).conn())
	for sequence := range uint32(2) {
		if err := project(events("a", sequence, 1))(counts); err != nil {
			t.Fatal(err)
		}
	}
	_ = send(events("a", 3, 9), 1)(c.Calls("saga/fulfil", (&handles{}).conn()))
	root := book.Root("order", "a").String()
	want := `chaos with seed 42: 3 faults
  projector/receipt  2 asked twice
  saga/fulfil        1 answer lost
  look at projector/receipt: it was given the events of order/` + root + ` up to 0 twice in a row and answered differently the second time (2 times in all)
the same again: angz dev --chaos --chaos-seed 42
`
	if diff := cmp.Diff(want, c.Summary().String()); diff != "" {
		t.Error(diff)
	}
	if got, want := chaos.New(options).Summary().String(), "chaos with seed 42: 0 faults\nthe same again: angz dev --chaos --chaos-seed 42\n"; got != want {
		t.Errorf("%q", got)
	}
}
