package story_test

import (
	"context"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/emulator/story"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// shop is a node with a customer, an order, a projector and sagas, whose stories
// are read.
type shop struct {
	t        *testing.T
	node     *node.Node
	stories  chan story.Story
	customer *runtimetest.Service
	projects atomic.Pointer[func() error] // what the projector does
	reserve  atomic.Pointer[error]        // why stock refuses to reserve
}

// patience of the recorder in these tests: long, so that no slow machine sees a
// story told before it has settled.
const patience = time.Minute

func open(t *testing.T, waits time.Duration) *shop {
	t.Helper()
	s := &shop{t: t, stories: make(chan story.Story, 100)}
	recorder := story.New(story.Options{Tell: func(told story.Story) { s.stories <- told }, Patience: waits})
	t.Cleanup(recorder.Close)
	s.customer = runtimetest.Aggregate(t, decides)
	order, stock := runtimetest.Aggregate(t, decides), runtimetest.Aggregate(t, func(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		if refusal := s.reserve.Load(); refusal != nil {
			return nil, *refusal
		}
		return decides(ctx, request)
	})
	receipt := runtimetest.Projector(t, func(context.Context, *pb.EventBook) (*pb.Projection, error) {
		if project := s.projects.Load(); project != nil {
			return nil, (*project)()
		}
		return &pb.Projection{}, nil
	})
	loaded, err := config.Load(config.Options{Dir: runtimetest.Folder(t), Dev: true, Set: map[string]string{
		"storage.type": "memory", "server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Domains = []config.Service{{Name: "customer", Address: s.customer.Address()}, {Name: "order", Address: order.Address()}, {Name: "stock", Address: stock.Address()}}
	loaded.Projectors = []config.Service{{Name: "receipt", Address: receipt.Address(), Domains: []string{"customer", "order"}}}
	loaded.Sagas = []config.Service{
		{Name: "fulfil", Address: s.saga("PlaceOrderDone", "stock", "p1", "Reserve").Address(), Domains: []string{"order"}},
		{Name: "welcome", Address: s.saga("CreateCustomerDone", "order", "gift", "SendGift").Address(), Domains: []string{"customer"}},
	}
	logger, err := observe.New(observe.Options{Writer: t.Output(), Directives: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	if s.node, err = node.Open(t.Context(), node.Options{Config: loaded, Logger: logger, Observer: recorder, Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.node.Ready()
	return s
}

// decides refuses commands named Refuse and what revokes events, and stores one
// event for the others.
func decides(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	switch book.ShortName(request.Command.Pages[0].Command.TypeUrl) {
	case "Refuse":
		return nil, status.Error(codes.FailedPrecondition, "a customer has to be of age\nreally")
	case "Nothing":
		return &pb.BusinessResponse{}, nil
	case "RevokeEventCommand":
		return runtimetest.Answer(request, runtimetest.Event("shop.OrderCancelled")), nil
	}
	return runtimetest.LeavesNumbersOut(ctx, request)
}

// saga answers one type of event with one command.
func (s *shop) saga(event, domain, id, command string) *runtimetest.Service {
	return runtimetest.Saga(s.t, func(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
		if book.ShortName(events.Pages[0].Event.TypeUrl) != event {
			return &pb.SagaResponse{}, nil
		}
		return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command(domain, id, 0, command))}}, nil
	})
}

func (s *shop) send(command *pb.CommandBook, mode pb.SyncMode) error {
	s.t.Helper()
	command.CorrelationId = "c1"
	_, err := pb.NewCommandGatewayClient(s.node.Gateway()).ExecuteSync(s.t.Context(), &pb.SyncCommandBook{Command: command, SyncMode: mode})
	return err
}

// told returns the next story.
func (s *shop) told() story.Story {
	s.t.Helper()
	select {
	case told := <-s.stories:
		return told
	case <-time.After(time.Minute):
		s.t.Fatal("no story was told")
		return story.Story{}
	}
}

// durations are not the same twice.
var durations = regexp.MustCompile(`<?\b\d+(\.\d+)?(ms|s|m\d+s)\b|<1ms`)

// untimed returns a story's text without how long things took.
func untimed(told story.Story) string {
	return durations.ReplaceAllString(told.Text(story.Style{}), "T")
}

func command(domain, id, name string) *pb.CommandBook {
	return runtimetest.AnyNumber(runtimetest.Command(domain, id, 0, name))
}

func TestTheStoryOfACommandIsOneLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command *pb.CommandBook
		want    string
		code    codes.Code
		level   story.Level
	}{
		"with followers":       {command("order", "o1", "Look"), "order o1 Look → LookDone #0 T → receipt T, fulfil T  corr=c1", 0, story.Fine},
		"with a saga's":        {command("order", "o1", "PlaceOrder"), "order o1 PlaceOrder → PlaceOrderDone #0 T → receipt T, fulfil T → stock p1 Reserve → ReserveDone #0 T  corr=c1", 0, story.Fine},
		"through two domains":  {command("customer", "alice@example.com", "CreateCustomer"), "customer alice@example.com CreateCustomer → CreateCustomerDone #0 T → receipt T, welcome T → order gift SendGift → SendGiftDone #0 T → receipt T, fulfil T  corr=c1", 0, story.Fine},
		"without followers":    {command("stock", "p1", "Reserve"), "stock p1 Reserve → ReserveDone #0 T  corr=c1", 0, story.Fine},
		"rejected":             {command("order", "o1", "Refuse"), "order o1 Refuse ✗ a customer has to be of age really (FAILED_PRECONDITION) T  corr=c1", codes.FailedPrecondition, story.Concern},
		"with nothing to do":   {command("order", "o1", "Nothing"), "order o1 Nothing → nothing to store T  corr=c1", 0, story.Fine},
		"to nobody":            {command("ordr", "o1", "Look"), "ordr o1 Look ✗ No service registered for domain: ordr (known: customer, order, stock) (NOT_FOUND) T  corr=c1", codes.NotFound, story.Concern},
		"of another's numbers": {runtimetest.Command("order", "o1", 7, "Look"), "order o1 Look ✗ Sequence mismatch: command expects 7, aggregate at 0 (FAILED_PRECONDITION) T  corr=c1", codes.FailedPrecondition, story.Concern},
	} {
		for mode := range pb.SyncMode_name {
			t.Run(name+" "+pb.SyncMode(mode).String(), func(t *testing.T) {
				t.Parallel()
				s := open(t, patience)
				command := proto.CloneOf(c.command)
				if err := s.send(command, pb.SyncMode(mode)); status.Code(err) != c.code {
					t.Fatal(err)
				}
				told := s.told()
				if diff := cmp.Diff(c.want, untimed(told)); diff != "" {
					t.Error(diff)
				}
				if !told.Settled || told.Again || told.Level() != c.level {
					t.Errorf("settled %v, again %v, level %v", told.Settled, told.Again, told.Level())
				}
			})
		}
	}
}

func TestACommandThatIsGivenTwiceSaysSo(t *testing.T) {
	t.Parallel()
	s := open(t, patience)
	for _, want := range []string{"stock p1 Reserve → ReserveDone #0 T  corr=c1", "stock p1 Reserve → done before as ReserveDone #0 T  corr=c1"} {
		once := command("stock", "p1", "Reserve")
		once.IdempotencyKey = "k1"
		if err := s.send(once, pb.SyncMode_SYNC_MODE_NONE); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, untimed(s.told())); diff != "" {
			t.Error(diff)
		}
	}
}

func TestExecuteWhichSendsTwiceIsOneStory(t *testing.T) {
	t.Parallel()
	s := open(t, patience)
	for range 2 {
		stream, err := pb.NewCommandGatewayClient(s.node.Gateway()).Execute(t.Context(), command("order", "o1", "PlaceOrder"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
	}
	for range 2 {
		if told := s.told(); len(told.Command.Followers) != 2 || told.Command.Outcome != story.Accepted {
			t.Errorf("told %s", told.Text(story.Style{}))
		}
	}
	if len(s.stories) > 0 {
		t.Errorf("told besides: %v", <-s.stories)
	}
}

func TestARejectedSagaCommandIsToldWithWhatUndoesIt(t *testing.T) {
	t.Parallel()
	s := open(t, patience)
	s.reserve.Store(new(status.Error(codes.FailedPrecondition, "out of stock")))
	if err := s.send(command("order", "o1", "PlaceOrder"), pb.SyncMode_SYNC_MODE_NONE); err != nil {
		t.Fatal(err)
	}
	want := `order o1 PlaceOrder → PlaceOrderDone #0 T → receipt T, fulfil T  corr=c1
  fulfil → stock p1 Reserve ✗ out of stock (FAILED_PRECONDITION) T
  fulfil → undo: order o1 → OrderCancelled #1 T → receipt T, fulfil T`
	if diff := cmp.Diff(want, untimed(s.told())); diff != "" {
		t.Error(diff)
	}
}

func TestAProjectorThatFailsIsToldWithItsReason(t *testing.T) {
	t.Parallel()
	s := open(t, patience)
	s.projects.Store(new(func() error { return status.Error(codes.InvalidArgument, "division by zero") }))
	if err := s.send(command("order", "o1", "Look"), pb.SyncMode_SYNC_MODE_NONE); err != nil {
		t.Fatal(err)
	}
	told := s.told()
	want := "order o1 Look → LookDone #0 T → receipt ✗ dead letter: division by zero (INVALID_ARGUMENT), fulfil T  corr=c1"
	if diff := cmp.Diff(want, untimed(told)); diff != "" || told.Level() != story.Grave {
		t.Error(told.Level(), diff)
	}
	if err := s.send(command("order", "o1", "Look"), pb.SyncMode_SYNC_MODE_NONE); err != nil {
		t.Fatal(err)
	}
	want = "order o1 Look → LookDone #1 T → receipt ✗ waits behind an earlier event of the same aggregate, fulfil T  corr=c1"
	if diff := cmp.Diff(want, untimed(s.told())); diff != "" {
		t.Error(diff)
	}
}

func TestAFollowerThatTakesLongIsToldTwice(t *testing.T) {
	t.Parallel()
	s := open(t, 50*time.Millisecond)
	works := make(chan struct{})
	s.projects.Store(new(func() error {
		select {
		case <-works:
			return nil
		default:
			return status.Error(codes.Unavailable, "no memory")
		}
	}))
	if err := s.send(command("order", "o1", "Look"), pb.SyncMode_SYNC_MODE_NONE); err != nil {
		t.Fatal(err)
	}
	told := s.told()
	if told.Settled || told.Level() != story.Concern {
		t.Errorf("told %+v", told)
	}
	close(works)
	told = s.told()
	receipt := told.Command.Followers[0]
	if !told.Settled || !told.Again || receipt.State != story.Done || receipt.Attempts < 2 {
		t.Errorf("told again: %s", told.Text(story.Style{}))
	}
}

func TestACommandThatWaitedForItsServiceSaysSo(t *testing.T) {
	t.Parallel()
	s := open(t, patience)
	s.customer.Stop()
	sent := make(chan error, 1)
	go func() { sent <- s.send(command("customer", "a", "Look"), pb.SyncMode_SYNC_MODE_NONE) }()
	select {
	case err := <-sent:
		t.Fatal("did not wait", err)
	case <-time.After(100 * time.Millisecond): // long enough to be worth saying
	}
	s.customer.Start()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	told := s.told()
	if told.Command.Waited < 50*time.Millisecond || told.Command.Waited > told.Command.Took {
		t.Errorf("waited %s of %s", told.Command.Waited, told.Command.Took)
	}
	want := "customer a Look → LookDone #0 T (waited T for its service) → receipt T, welcome T  corr=c1"
	if diff := cmp.Diff(want, untimed(told)); diff != "" {
		t.Error(diff)
	}
}
