package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/discovery"
)

var (
	errAway   = errors.New("nobody is there")
	errBroken = errors.New("the connection broke")
)

// instance is one instance of a role.
type instance struct {
	address   string
	connected bool
	err       error
	asked     int
}

func (i *instance) Address() string { return i.address }
func (i *instance) Connected() bool { return i.connected }
func (i *instance) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	i.asked++
	return i.err
}
func (i *instance) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	i.asked++
	return nil, i.err
}

func instances(count int) []*instance {
	made := make([]*instance, count)
	for i := range made {
		made[i] = &instance{address: fmt.Sprintf("order-%d:1313", i), connected: true}
	}
	return made
}

func ringOf(of []*instance) *discovery.Ring {
	members := make([]discovery.Member, len(of))
	for i := range of {
		members[i] = of[i]
	}
	return discovery.NewRing(func(err error) bool { return errors.Is(err, errAway) }, members...)
}

func command(n int) *pb.CommandBook {
	root := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n))
	return &pb.CommandBook{Cover: book.Key{Domain: "order", Root: root}.Cover("")}
}

// asked returns how often each instance was asked.
func asked(of []*instance) []int {
	counts := make([]int, len(of))
	for i := range of {
		counts[i] = of[i].asked
	}
	return counts
}

func TestOneAggregateGoesToOneInstance(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]any{
		"a command": command(1), "a command to wait for": &pb.SyncCommandBook{Command: command(1)},
		"events": &pb.EventBook{Cover: command(1).Cover}, "events to wait for": &pb.SyncEventBook{Events: &pb.EventBook{Cover: command(1).Cover}},
		"a query":         &pb.Query{Domain: "order", Root: command(1).Cover.Root},
		"a query by name": &pb.Query{Domain: "order", AggregateId: "o-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := instances(3)
			ring := ringOf(all)
			for range 9 {
				if err := ring.Invoke(t.Context(), "/m", request, nil); err != nil {
					t.Fatal(err)
				}
			}
			if counts := asked(all); slices.Max(counts) != 9 {
				t.Errorf("asked %v, want one instance nine times", counts)
			}
		})
	}
}

func TestAggregatesAreSpreadAndFewMoveWhenAnInstanceGoes(t *testing.T) {
	t.Parallel()
	const commands = 3000
	home := func(count int) (homes [commands]string) {
		all := instances(count)
		ring := ringOf(all)
		for n := range homes {
			before := asked(all)
			if err := ring.Invoke(t.Context(), "/m", command(n), nil); err != nil {
				t.Fatal(err)
			}
			for i, count := range asked(all) {
				if count != before[i] {
					homes[n] = all[i].address
				}
			}
		}
		return homes
	}
	three, two := home(3), home(2)
	counts := map[string]int{}
	for n := range three {
		counts[three[n]]++
		if three[n] != "order-2:1313" && three[n] != two[n] {
			t.Fatalf("aggregate %d moved from %s, which is still there, to %s", n, three[n], two[n])
		}
	}
	for address, count := range counts {
		if count < commands/4 || count > commands/2 {
			t.Errorf("%s has %d of %d aggregates", address, count, commands)
		}
	}
}

func TestCallsAboutNoAggregateTakeTurns(t *testing.T) {
	t.Parallel()
	all := instances(3)
	ring := ringOf(all)
	for range 9 {
		if _, err := ring.NewStream(t.Context(), &grpc.StreamDesc{}, "/m"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{3, 3, 3}, asked(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnotherInstanceHelpsOutOnlyWhenTheCallWasNotSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first     error // of the instance that is asked first
		connected bool  // whether the others are
		want      error
		wantAsked int // all together
	}{
		"it is away":                   {errAway, true, nil, 2},
		"it is away, as are all":       {errAway, false, errAway, 1},
		"it broke":                     {errBroken, true, errBroken, 1},
		"it is there":                  {nil, true, nil, 1},
		"it is there, the others away": {nil, false, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := instances(3)
			ring := ringOf(all)
			if err := ring.Invoke(t.Context(), "/m", command(7), nil); err != nil {
				t.Fatal(err)
			}
			first := slices.IndexFunc(all, func(i *instance) bool { return i.asked > 0 })
			for i := range all {
				all[i].asked, all[i].connected = 0, c.connected || i == first
			}
			all[first].err = c.first
			if err := ring.Invoke(t.Context(), "/m", command(7), nil); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			total := 0
			for _, count := range asked(all) {
				total += count
			}
			if total != c.wantAsked {
				t.Errorf("asked %v, want %d in all", asked(all), c.wantAsked)
			}
		})
	}
}

func TestAnInstanceThatIsNotThereIsAskedLast(t *testing.T) {
	t.Parallel()
	all := instances(2)
	ring := ringOf(all)
	for n := range 20 {
		all[0].connected = n%2 == 0
		all[1].connected = !all[0].connected
		before := asked(all)
		if err := ring.Invoke(t.Context(), "/m", command(n), nil); err != nil {
			t.Fatal(err)
		}
		there := n % 2
		if counts := asked(all); counts[there] != before[there]+1 {
			t.Errorf("command %d went to the instance that is away", n)
		}
	}
}
