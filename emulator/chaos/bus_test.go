package chaos_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/angz-dev/angz/emulator/chaos"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/bus/channel"
)

const never = -1

// nothing is the options with which nothing is done.
func nothing() chaos.Options {
	return chaos.Options{Duplicates: never, Drops: never, Delays: never, Reorders: never, Slow: never, Crashes: never}
}

// noted collects the faults of a run.
type noted struct {
	mu     sync.Mutex
	faults []chaos.Fault
}

func (n *noted) add(fault chaos.Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, fault)
}

// all returns the faults without their order.
func (n *noted) all() map[chaos.Fault]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[chaos.Fault]int{}
	for _, fault := range n.faults {
		all[fault]++
	}
	return all
}

// counts returns how many faults of each kind a component had.
func (n *noted) counts() map[string]map[chaos.Kind]int {
	counts := map[string]map[chaos.Kind]int{}
	for fault, times := range n.all() {
		if counts[fault.Component] == nil {
			counts[fault.Component] = map[chaos.Kind]int{}
		}
		counts[fault.Component][fault.Kind] += times
	}
	return counts
}

// events returns a book with one event of an aggregate.
func events(id string, sequence uint32, position uint64) *pb.EventBook {
	key := book.Key{Domain: "order", Root: book.Root("order", id)}
	return &pb.EventBook{
		Cover: key.Cover(id), Position: position, CorrelationId: "c1",
		Pages: []*pb.EventPage{{Sequence: &pb.EventPage_Num{Num: sequence}}},
	}
}

// messages returns the events of four aggregates in turns, as the relay publishes
// them.
func messages(count int) []bus.Message {
	var made []bus.Message
	for i := range count {
		made = append(made, bus.Message{Previous: uint64(i), Book: events(string(rune('a'+i%4)), uint32(i/4), uint64(i+1))})
	}
	return made
}

// received publishes messages and returns the positions of those that arrive,
// until nothing has come for a minute. It is to be called in a bubble.
func received(t *testing.T, c *chaos.Chaos, name string, messages []bus.Message) []uint64 {
	t.Helper()
	b := c.Bus(channel.New())
	subscription, err := b.Subscribe(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	if err := b.Publish(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	var positions []uint64
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		message, err := subscription.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return positions
		}
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, message.Book.Position)
	}
}

func TestWithoutFaultsTheBusIsAsGoodAsItWas(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(*testing.T) bustest.Bus {
		good := channel.New()
		return closable{chaos.New(nothing()).Bus(good), good}
	})
}

type closable struct {
	chaos.Bus
	io.Closer
}

func TestEachKindOfFaultOnTheBusIsWhatItSays(t *testing.T) {
	t.Parallel()
	sent := messages(200)
	for kind, edit := range map[chaos.Kind]func(*chaos.Options){
		chaos.Dropped:   func(o *chaos.Options) { o.Drops = 0.3 },
		chaos.Doubled:   func(o *chaos.Options) { o.Duplicates = 0.3 },
		chaos.Delayed:   func(o *chaos.Options) { o.Delays = 0.3 },
		chaos.Reordered: func(o *chaos.Options) { o.Reorders = 0.3 },
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options, noted := nothing(), &noted{}
				options.Seed, options.OnFault = 42, noted.add
				edit(&options)
				c, began := chaos.New(options), time.Now()
				got := received(t, c, "projector/receipt", sent)
				took := time.Since(began) - time.Minute
				counts := noted.counts()["projector/receipt"]
				hit := counts[kind]
				if len(counts) != 1 || hit < 30 || hit > 90 {
					t.Fatalf("of 200 messages with 0.3: %v", counts)
				}
				want := map[chaos.Kind]outcome{
					chaos.Dropped:   {received: len(sent) - hit, different: len(sent) - hit, ordered: true},
					chaos.Doubled:   {received: len(sent) + hit, different: len(sent)},
					chaos.Delayed:   {received: len(sent), different: len(sent), ordered: true},
					chaos.Reordered: {received: len(sent), different: len(sent)},
				}[kind]
				different := slices.Compact(slices.Sorted(slices.Values(got)))
				if diff := cmp.Diff(want, outcome{len(got), len(different), slices.IsSorted(got)}, cmp.AllowUnexported(outcome{})); diff != "" {
					t.Error(diff)
				}
				if longest := time.Duration(hit) * 500 * time.Millisecond; took > longest || kind == chaos.Delayed && took == 0 {
					t.Errorf("took %s, expected %s at most", took, longest)
				}
				if summary := c.Summary(); summary.Faults != hit || len(summary.Counts) != 1 || summary.Counts[0].Times != hit {
					t.Errorf("of %d faults the summary says %+v", hit, summary)
				}
			})
		})
	}
}

type outcome struct {
	received, different int
	ordered             bool
}

func TestNoChaosIsNone(t *testing.T) {
	t.Parallel()
	var c *chaos.Chaos
	good, conn := channel.New(), (&handles{}).conn()
	if c.Bus(good) != chaos.Bus(good) {
		t.Error("the bus is another one")
	}
	if err := project(events("a", 0, 1))(c.Calls("projector/receipt", conn)); err != nil {
		t.Error(err)
	}
}

func TestWhoOnlyWatchesIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := chaos.New(chaos.Options{Drops: 1})
		if got := received(t, c, "", messages(100)); len(got) != 100 || c.Summary().Faults != 0 {
			t.Errorf("received %d of 100, %+v", len(got), c.Summary())
		}
	})
}

func TestAMessageThatCannotBeReadPassesAsItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		strange := []bus.Message{{Book: &pb.EventBook{Position: 1}}, {Book: &pb.EventBook{Cover: &pb.Cover{Domain: "order"}, Position: 2}}, {Book: &pb.EventBook{Cover: events("a", 0, 0).Cover, Position: 3}}}
		if got := received(t, chaos.New(chaos.Options{Drops: 1}), "saga/fulfil", strange); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Errorf("received %v", got)
		}
	})
}

func TestTheSameMessageIsDroppedThreeTimesAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := nothing()
		options.Drops = 1
		one := messages(1)
		if got := received(t, chaos.New(options), "saga/fulfil", slices.Concat(one, one, one, one, one)); len(got) != 2 {
			t.Errorf("of five times the same %d arrived", len(got))
		}
	})
}

// A Next that is given up loses no message.
func TestADelayedMessageOutlivesACallThatIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := nothing()
		options.Delays = 1
		b := chaos.New(options).Bus(channel.New())
		subscription, err := b.Subscribe(t.Context(), "projector/receipt")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), messages(1)); err != nil {
			t.Fatal(err)
		}
		for given := range 10_000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := subscription.Next(ctx)
			cancel()
			if err == nil && given > 0 {
				return
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		t.Fatal("it never came")
	})
}

// What is done to a message does not depend on what comes before it, nor on when
// it comes, nor on who else receives it.
func TestTheSameSeedTreatsTheSameMessagesInTheSameWay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(check *rapid.T) {
		seed := rapid.Uint64().Draw(check, "seed")
		sent := messages(rapid.IntRange(0, 60).Draw(check, "count"))
		order := rapid.Permutation(sent).Draw(check, "order")
		run := func(messages []bus.Message, names ...string) map[chaos.Fault]int {
			noted := &noted{}
			synctest.Test(t, func(t *testing.T) {
				c := chaos.New(chaos.Options{Seed: seed, OnFault: noted.add})
				for _, name := range names {
					received(t, c, name, messages)
				}
			})
			return noted.all()
		}
		one := run(sent, "projector/a", "saga/b")
		if diff := cmp.Diff(one, run(order, "saga/b", "projector/a")); diff != "" {
			check.Error(diff)
		}
	})
}
