package aggregate_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// service calls rules without a connection between.
type service struct {
	rules runtimetest.Rules
	mu    sync.Mutex
	asked []*pb.ContextualCommand
}

func (s *service) Handle(ctx context.Context, request *pb.ContextualCommand, _ ...grpc.CallOption) (*pb.BusinessResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, request)
	s.mu.Unlock()
	return s.rules(ctx, request)
}

// last returns the newest question.
func (s *service) last() *pb.ContextualCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1]
}

func openStore(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{CorrelationIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func newCoordinator(store aggregate.Store, rules runtimetest.Rules, edit ...func(*aggregate.Options)) (*aggregate.Coordinator, *service) {
	asked := &service{rules: rules}
	options := aggregate.Options{
		Domains: []aggregate.Domain{{Name: "orders", Service: asked, Label: "domain orders's service"}},
		Store:   store, ReadSnapshots: true, WriteSnapshots: true,
	}
	for _, change := range edit {
		change(&options)
	}
	return aggregate.New(options), asked
}

func do(t *testing.T, c *aggregate.Coordinator, command *pb.CommandBook) *pb.EventBook {
	t.Helper()
	response, err := c.Handle(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	return response.Events
}

func numbers(pages []*pb.EventPage) (found []uint32) {
	for _, page := range pages {
		found = append(found, page.GetNum())
	}
	return found
}

// behind appends one event as another process would.
func behind(ctx context.Context, store eventstore.Writer, key book.Key, next uint32) error {
	_, err := store.Append(ctx, eventstore.Append{
		CommandID: uuid.New(), Key: key, Next: next, CorrelationID: "behind",
		Events: []eventstore.NewEvent{{TypeURL: "Behind", CreatedAt: time.Unix(1, 0)}},
	})
	return err
}

var o1 = book.Key{Domain: "orders", Root: book.Root("orders", "o1")}

func TestStateStaysInMemoryAndIsSentWhole(t *testing.T) {
	t.Parallel()
	store := &counting{Store: openStore(t)}
	c, service := newCoordinator(store, runtimetest.CountsPages)
	for n := range uint32(5) {
		do(t, c, runtimetest.Command("orders", "o1", n, "Do"))
	}
	if diff := cmp.Diff([]uint32{0, 1, 2, 3}, numbers(service.last().Events.Pages)); diff != "" {
		t.Error(diff)
	}
	if got := service.last().Events.Cover.AggregateId; got != "o1" {
		t.Errorf("the service was told the name %q", got)
	}
	if store.reads != 1 {
		t.Errorf("the store was read %d times for 5 commands on one aggregate", store.reads)
	}
}

// counting counts how often aggregates are loaded.
type counting struct {
	*sqlite.Store
	mu    sync.Mutex
	reads int
}

func (c *counting) Load(ctx context.Context, key book.Key, snapshots bool) (eventstore.Info, []eventstore.Event, error) {
	c.mu.Lock()
	c.reads++
	c.mu.Unlock()
	return c.Store.Load(ctx, key, snapshots)
}

func TestASnapshotShortensTheHistoryOfTheServiceThatMadeIt(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	c, service := newCoordinator(store, runtimetest.NumbersFromSnapshot)
	for n := range uint32(3) {
		do(t, c, runtimetest.Command("orders", "o1", n, "Do"))
	}
	if history := service.last().Events; history.Snapshot.GetSequence() != 1 || len(history.Pages) != 0 {
		t.Errorf("from memory: %v", history)
	}
	c, service = newCoordinator(store, runtimetest.NumbersFromSnapshot)
	do(t, c, runtimetest.Command("orders", "o1", 3, "Do"))
	if history := service.last().Events; history.Snapshot.GetSequence() != 2 || len(history.Pages) != 0 {
		t.Errorf("from the store: %v", history)
	}
	c, service = newCoordinator(store, runtimetest.LeavesNumbersOut, func(o *aggregate.Options) { o.ReadSnapshots = false })
	do(t, c, runtimetest.Command("orders", "o1", 4, "Do"))
	if history := service.last().Events; history.Snapshot != nil || len(history.Pages) != 4 {
		t.Errorf("with snapshots off: %v", history)
	}
}

func TestASnapshotWithoutEventsIsKept(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	c, _ := newCoordinator(store, func(_ context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		answer := runtimetest.Answer(r)
		if r.Command.Pages[0].Sequence == 0 {
			answer = runtimetest.Answer(r, runtimetest.Event("Done"))
		}
		answer.GetEvents().SnapshotState = &anypb.Any{TypeUrl: "State"}
		return answer, nil
	}, func(o *aggregate.Options) { o.WriteSnapshots = true })
	do(t, c, runtimetest.Command("orders", "o1", 0, "Do"))
	if events := do(t, c, runtimetest.Command("orders", "o1", 1, "Do")); events != nil {
		t.Errorf("got events %v", events)
	}
	info, err := store.Aggregate(t.Context(), o1)
	if err != nil || info.Snapshot == nil || info.Snapshot.Sequence != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestARepeatedKeyAnswersWithTheFirstAnswer(t *testing.T) {
	t.Parallel()
	c, service := newCoordinator(openStore(t), runtimetest.LeavesNumbersOut)
	command := runtimetest.Command("orders", "o1", 0, "Do")
	command.IdempotencyKey = "once"
	first := do(t, c, command)
	do(t, c, runtimetest.Command("orders", "o1", 1, "Other"))
	again := do(t, c, command)
	if first.Position != again.Position || again.Pages[0].GetNum() != 0 || len(again.Pages) != 1 {
		t.Errorf("first %v, again %v", first, again)
	}
	if len(service.asked) != 2 {
		t.Errorf("the service was asked %d times", len(service.asked))
	}
}

func TestALostRaceIsDecidedAgainOrAborted(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	var once sync.Once
	racing := func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		var err error
		once.Do(func() { err = behind(ctx, store, o1, uint32(len(r.Events.Pages))) })
		if err != nil {
			return nil, err
		}
		return runtimetest.LeavesNumbersOut(ctx, r)
	}
	c, service := newCoordinator(store, racing)
	if got := numbers(do(t, c, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Do"))).Pages); got[0] != 1 || len(service.asked) != 2 {
		t.Errorf("numbers %v after %d questions", got, len(service.asked))
	}
	once = sync.Once{}
	_, err := c.Handle(t.Context(), runtimetest.Command("orders", "o1", 2, "Do"))
	if status.Code(err) != codes.Aborted {
		t.Errorf("without auto_resequence: %v", err)
	}
}

func TestAnOldStateRefusesNothingWhereOthersWrite(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	// The rule needs a second event, which another process writes.
	needsTwo := func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		if r.Command.Pages[0].Command.TypeUrl == "type.googleapis.com/Second" && len(r.Events.Pages) < 2 {
			return nil, status.Error(codes.FailedPrecondition, "too early")
		}
		return runtimetest.LeavesNumbersOut(ctx, r)
	}
	c, _ := newCoordinator(store, needsTwo, func(o *aggregate.Options) { o.Shared = true })
	do(t, c, runtimetest.Command("orders", "o1", 0, "First"))
	if _, err := c.Handle(t.Context(), runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Second"))); status.Convert(err).Message() != "too early" {
		t.Fatalf("got %v", err)
	}
	if err := behind(t.Context(), store, o1, 1); err != nil {
		t.Fatal(err)
	}
	if got := do(t, c, runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Second"))); got.Pages[0].GetNum() != 2 {
		t.Errorf("got %v", got)
	}
	if err := behind(t.Context(), store, o1, 3); err != nil {
		t.Fatal(err)
	}
	// The command's own number is right, the cached one is old.
	if got := do(t, c, runtimetest.Command("orders", "o1", 4, "Third")); got.Pages[0].GetNum() != 4 {
		t.Errorf("got %v", got)
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	c, _ := newCoordinator(openStore(t), func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		entered <- struct{}{}
		<-release
		return runtimetest.LeavesNumbersOut(ctx, r)
	}, func(o *aggregate.Options) { o.Waiting = 1 })
	var all sync.WaitGroup
	results := make(chan error, 3)
	command := func() *pb.CommandBook { return runtimetest.AnyNumber(runtimetest.Command("orders", "o1", 0, "Do")) }
	send := func() {
		_, err := c.Handle(t.Context(), command())
		results <- err
	}
	all.Go(send)
	<-entered
	all.Go(send)
	all.Go(send)
	if err := <-results; status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the third of two got %v", err)
	}
	close(release)
	<-entered
	all.Wait()
}

func TestACallerThatLeavesTheQueueTakesNoTurn(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	c, service := newCoordinator(openStore(t), func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		entered <- struct{}{}
		<-release
		return runtimetest.LeavesNumbersOut(ctx, r)
	})
	var first sync.WaitGroup
	first.Go(func() { do(t, c, runtimetest.Command("orders", "o1", 0, "Do")) })
	<-entered
	leaving, leave := context.WithTimeout(t.Context(), time.Millisecond)
	defer leave()
	if _, err := c.Handle(leaving, runtimetest.Command("orders", "o1", 1, "Do")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	close(release)
	first.Wait()
	if len(service.asked) != 1 {
		t.Errorf("the service was asked %d times", len(service.asked))
	}
}

func TestTimesOfTheServiceAreKept(t *testing.T) {
	t.Parallel()
	c, _ := newCoordinator(openStore(t), func(_ context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		page := runtimetest.Event("Done")
		page.CreatedAt = timestamppb.New(time.Unix(1000, 5))
		return runtimetest.Answer(r, page, runtimetest.Event("Done")), nil
	})
	pages := do(t, c, runtimetest.Command("orders", "o1", 0, "Do")).Pages
	if got := pages[0].CreatedAt.AsTime(); !got.Equal(time.Unix(1000, 5)) {
		t.Errorf("the service's time became %v", got)
	}
	if got := pages[1].CreatedAt.AsTime(); time.Since(got) > time.Minute {
		t.Errorf("the time of the append is %v", got)
	}
}

func TestWhatACallerGaveIsNotChanged(t *testing.T) {
	t.Parallel()
	c, service := newCoordinator(openStore(t), runtimetest.LeavesNumbersOut)
	command := &pb.CommandBook{
		Cover: &pb.Cover{Domain: "orders", AggregateId: "o1"}, Pages: []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "Do"}}},
	}
	do(t, c, command)
	if command.CorrelationId != "" || command.Cover.Root != nil {
		t.Errorf("the command became %v", command)
	}
	if asked := service.last().Command; asked.CorrelationId == "" || fmt.Sprintf("%x", asked.Cover.Root.Value) != fmt.Sprintf("%x", o1.Root[:]) {
		t.Errorf("the service was sent %v", asked)
	}
}

func TestANameFromWhichTheRootDoesNotFollowIsNotKept(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	c, _ := newCoordinator(store, runtimetest.LeavesNumbersOut)
	command := runtimetest.Command("orders", "o1", 0, "Do")
	command.Cover.AggregateId = "another"
	do(t, c, command)
	if info, err := store.Aggregate(t.Context(), o1); err != nil || info.Name != "" {
		t.Errorf("%+v, %v", info, err)
	}
}
