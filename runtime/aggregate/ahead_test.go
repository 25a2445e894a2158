package aggregate_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// slowDisk is a store whose outcomes nobody hears of before the disk turns, and
// which loses as many of the first appends as it is told to.
type slowDisk struct {
	*sqlite.Store
	turns chan struct{}
	mu    sync.Mutex
	loses int
}

func (d *slowDisk) AppendAhead(ctx context.Context, request eventstore.Append, follows uuid.UUID) (func() (eventstore.Appended, error), error) {
	d.mu.Lock()
	lost := d.loses > 0
	d.loses--
	d.mu.Unlock()
	if lost {
		return func() (eventstore.Appended, error) {
			<-d.turns
			return eventstore.Appended{}, fmt.Errorf("lost: %w", eventstore.ErrUnavailable)
		}, nil
	}
	outcome, err := d.Store.AppendAhead(ctx, request, follows)
	return func() (eventstore.Appended, error) {
		<-d.turns
		return outcome()
	}, err
}

// ahead is a coordinator over a slow disk, whose service tells of every question.
type ahead struct {
	*aggregate.Coordinator
	disk    *slowDisk
	asked   chan *pb.ContextualCommand
	callers sync.WaitGroup
}

// outcome is what a caller got.
type outcome struct {
	numbers []uint32
	code    codes.Code
	message string
}

func newAhead(t *testing.T, loses int, rules runtimetest.Rules) *ahead {
	t.Helper()
	a := &ahead{disk: &slowDisk{Store: openStore(t), turns: make(chan struct{}), loses: loses}, asked: make(chan *pb.ContextualCommand, 1000)}
	a.Coordinator, _ = newCoordinator(a.disk, func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		a.asked <- r
		return rules(ctx, r)
	})
	t.Cleanup(a.callers.Wait)
	return a
}

// send sends a command and returns once the service has been asked.
func (a *ahead) send(t *testing.T, command *pb.CommandBook) <-chan outcome {
	t.Helper()
	result := a.hand(t, command)
	<-a.asked
	return result
}

func (a *ahead) hand(t *testing.T, command *pb.CommandBook) <-chan outcome {
	result := make(chan outcome, 1)
	a.callers.Go(func() {
		response, err := a.Handle(t.Context(), command)
		said := status.Convert(err)
		result <- outcome{numbers(response.GetEvents().GetPages()), said.Code(), said.Message()}
	})
	return result
}

func wants(t *testing.T, what string, want outcome, result <-chan outcome) {
	t.Helper()
	if diff := cmp.Diff(want, <-result, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// waits checks that nobody has been answered.
func waits(t *testing.T, results ...<-chan outcome) {
	t.Helper()
	for _, result := range results {
		select {
		case got := <-result:
			t.Fatalf("an answer before anything was durable: %+v", got)
		default:
		}
	}
}

// refusesSecond refuses commands called Second, and names what it was decided on.
func refusesSecond(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	if r.Command.Pages[0].Command.TypeUrl == "type.googleapis.com/Second" {
		return nil, status.Errorf(codes.FailedPrecondition, "refused after %d events", len(r.Events.Pages))
	}
	return runtimetest.LeavesNumbersOut(ctx, r)
}

func TestTheNextCommandIsDecidedWhileEventsAreOnTheirWay(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 0, runtimetest.CountsPages)
	first := a.send(t, runtimetest.Command("orders", "o1", 0, "Do"))
	second := a.send(t, runtimetest.Command("orders", "o1", 1, "Do"))
	third := a.send(t, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Do")))
	waits(t, first, second, third)
	close(a.disk.turns)
	wants(t, "first", outcome{numbers: []uint32{0}}, first)
	wants(t, "second", outcome{numbers: []uint32{1}}, second)
	wants(t, "third", outcome{numbers: []uint32{2}}, third)
	wants(t, "afterwards", outcome{numbers: []uint32{3}}, a.send(t, runtimetest.Command("orders", "o1", 3, "Do")))
}

func TestARefusalWaitsForTheEventsThatItRestsOn(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 0, refusesSecond)
	first := a.send(t, runtimetest.Command("orders", "o1", 0, "First"))
	second := a.send(t, runtimetest.Command("orders", "o1", 1, "Second"))
	wrong := a.hand(t, runtimetest.Command("orders", "o1", 7, "Third")) // nobody is asked
	third := a.send(t, runtimetest.Command("orders", "o1", 1, "Third"))
	waits(t, first, second, wrong, third)
	close(a.disk.turns)
	wants(t, "first", outcome{numbers: []uint32{0}}, first)
	wants(t, "second", outcome{code: codes.FailedPrecondition, message: "refused after 1 events"}, second)
	wants(t, "third", outcome{numbers: []uint32{1}}, third)
	if got := <-wrong; got.code != codes.FailedPrecondition {
		t.Errorf("a wrong number got %+v", got)
	}
}

func TestWhatRestsOnLostEventsIsDecidedAgain(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 1, refusesSecond)
	lost := a.send(t, runtimetest.Command("orders", "o1", 0, "First"))
	refused := a.send(t, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Second")))
	numbered := a.send(t, runtimetest.Command("orders", "o1", 1, "Third"))
	waits(t, lost, refused, numbered)
	close(a.disk.turns)
	if got := <-lost; got.code != codes.Unavailable {
		t.Errorf("the lost one got %+v", got)
	}
	wants(t, "refused", outcome{code: codes.FailedPrecondition, message: "refused after 0 events"}, refused)
	wants(t, "numbered", outcome{code: codes.FailedPrecondition, message: "Sequence mismatch: command expects 1, aggregate at 0"}, numbered)
	wants(t, "afterwards", outcome{numbers: []uint32{0}}, a.hand(t, runtimetest.Command("orders", "o1", 0, "First")))
}

func TestEveryCommandAfterALostOneFindsItsNumber(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 1, runtimetest.CountsPages)
	lost := a.send(t, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Do")))
	var others []<-chan outcome
	for range 20 {
		others = append(others, a.send(t, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Do"))))
	}
	close(a.disk.turns)
	if got := <-lost; got.code != codes.Unavailable {
		t.Errorf("the lost one got %+v", got)
	}
	seen := map[uint32]bool{}
	for _, other := range others {
		got := <-other
		if len(got.numbers) != 1 || seen[got.numbers[0]] || got.numbers[0] >= 20 {
			t.Fatalf("got %+v", got)
		}
		seen[got.numbers[0]] = true
	}
}

func TestARepetitionWaitsForTheFirstOne(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 0, runtimetest.LeavesNumbersOut)
	command := runtimetest.Command("orders", "o1", 0, "Do")
	command.IdempotencyKey = "once"
	first := a.send(t, command)
	again := a.hand(t, command)
	close(a.disk.turns)
	wants(t, "first", outcome{numbers: []uint32{0}}, first)
	wants(t, "again", outcome{numbers: []uint32{0}}, again)
	if len(a.asked) != 0 {
		t.Error("the service was asked twice")
	}
}

func TestNobodyDecidesAheadWhereOthersWrite(t *testing.T) {
	t.Parallel()
	a := newAhead(t, 0, runtimetest.CountsPages)
	first := a.send(t, runtimetest.Command("orders", "o1", 0, "Do"))
	a.OthersWrite()
	second := a.hand(t, runtimetest.Command("orders", "o1", 1, "Do"))
	waits(t, first, second)
	if len(a.asked) != 0 {
		t.Error("the service was asked on events that are not stored")
	}
	close(a.disk.turns)
	wants(t, "first", outcome{numbers: []uint32{0}}, first)
	wants(t, "second", outcome{numbers: []uint32{1}}, second)
}
