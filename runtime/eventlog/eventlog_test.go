package eventlog_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventlog"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/relay"
)

const rule = "────────────────────────────────────────────────────────────\n"

var key = book.Key{Domain: "customer", Root: uuid.UUID{0xab, 1, 2, 3, 4, 5, 6, 7, 0xff}}

func printed(t *testing.T, options eventlog.Options, events *pb.EventBook) string {
	t.Helper()
	var out strings.Builder
	options.Output = &out
	projection, err := eventlog.New(options).Handle(t.Context(), events)
	if err != nil || projection == nil {
		t.Fatalf("got %v, %v", projection, err)
	}
	return out.String()
}

func event(num uint32, typeURL string, value []byte) *pb.EventPage {
	return &pb.EventPage{Sequence: &pb.EventPage_Num{Num: num}, Event: &anypb.Any{TypeUrl: typeURL, Value: value}}
}

func TestEachEventIsPrintedInFourLines(t *testing.T) {
	t.Parallel()
	events := &pb.EventBook{Cover: key.Cover(""), Pages: []*pb.EventPage{
		event(41, "type.googleapis.com/examples.CustomerCreated", []byte{1, 2, 0xfe}),
		event(42, "type.googleapis.com/examples.PointsAdded", []byte(strings.Repeat("\x0f", 65))),
	}}
	want := rule + "customer:ab01020304050607:0000000041\nCustomerCreated\n0102fe\n" +
		rule + "customer:ab01020304050607:0000000042\nPointsAdded\n" + strings.Repeat("0f", 64) + "\n"
	if diff := cmp.Diff(want, printed(t, eventlog.Options{}, events)); diff != "" {
		t.Error(diff)
	}
}

func TestPayloadsOfKnownTypesArePrintedAsJSON(t *testing.T) {
	t.Parallel()
	schema, err := payload.Load(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	domain := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "or\x1bder")
	events := &pb.EventBook{Cover: key.Cover(""), Pages: []*pb.EventPage{
		event(0, "type.googleapis.com/angzarr.Cover", domain), event(1, "type.googleapis.com/angzarr.Cover", []byte("\xff")),
	}}
	got := printed(t, eventlog.Options{Payloads: schema}, events)
	if !strings.HasPrefix(got, rule+"customer:ab01020304050607:0000000000\nCover\n{") || !strings.Contains(got, `"or\u001bder"`) {
		t.Errorf("known: got %q", got)
	}
	if !strings.HasSuffix(got, rule+"customer:ab01020304050607:0000000001\nCover\nff\n") {
		t.Errorf("unreadable: got %q", got)
	}
}

func TestColoursSayWhatKindOfEventItIs(t *testing.T) {
	t.Parallel()
	for name, color := range map[string]string{
		"OrderCreated": "32", "OrderCompleted": "36", "OrderCancelled": "31", "PaymentFailed": "31",
		"PointsAdded": "33", "DiscountApplied": "33", "CreatedOrder": "34", "": "34",
	} {
		got := printed(t, eventlog.Options{Color: true}, &pb.EventBook{Cover: key.Cover(""), Pages: []*pb.EventPage{event(0, "x/examples."+name, nil)}})
		if want := rule + "customer:ab01020304050607:0000000000\n\x1b[" + color + "m" + name + "\x1b[0m\n\n"; got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// spoken is a schema that says what it likes.
type spoken string

func (s spoken) JSON(*anypb.Any) ([]byte, bool, error) { return []byte(s), true, nil }

func TestWhatOthersWroteDoesNotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	events := &pb.EventBook{
		Cover: &pb.Cover{Domain: "a\x1b[2J\nb\t\u202e", Root: key.Cover("").Root},
		Pages: []*pb.EventPage{event(0, "x/Fake\x07\r\nLine\u0085\u2066", nil)},
	}
	got := printed(t, eventlog.Options{Payloads: spoken("{\n\t\"a\": \"\x1b]0;x\x07\u009b\xff\u202e\"\n}")}, events)
	want := rule + "a�[2J�b��:ab01020304050607:0000000000\nFake���Line��\n{\n\t\"a\": \"�]0;x����\"\n}\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABookThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	log := eventlog.New(eventlog.Options{Output: io.Discard})
	for _, events := range []*pb.EventBook{nil, {}, {Cover: key.Cover(""), Pages: []*pb.EventPage{{}}}} {
		if _, err := log.Handle(t.Context(), events); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: got %v", events, err)
		}
	}
}

// screen hands on what is printed.
type screen chan string

func (s screen) Write(text []byte) (int, error) {
	s <- string(text)
	return len(text), nil
}

// subscribed tells when the log has begun to listen.
type subscribed struct {
	*channel.Bus
	done chan struct{}
}

func (s *subscribed) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	defer close(s.done)
	return s.Bus.Subscribe(ctx, name)
}

func TestItFollowsTheLogFromNowOn(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	road := channel.New()
	appendOne := func(next uint32) {
		request := eventstore.Append{CommandID: uuid.New(), Key: key, Next: next, Events: []eventstore.NewEvent{{TypeURL: "x/Done", CreatedAt: time.Unix(1, 0)}}}
		if _, err := store.Append(t.Context(), request); err != nil {
			t.Error(err)
		}
	}
	appendOne(0)
	ctx, stop := context.WithCancel(t.Context())
	ended, shown := make(chan error, 2), make(screen)
	tail := relay.New(relay.Options{Log: store, Publisher: road})
	started := &subscribed{Bus: road, done: make(chan struct{})}
	log := eventlog.New(eventlog.Options{Output: shown, Bus: started, Log: store})
	go func() { ended <- tail.Run(ctx) }()
	go func() { ended <- log.Run(ctx) }()
	<-started.done
	for n := range uint32(3) {
		appendOne(n + 1)
		want := rule + "customer:ab01020304050607:000000000" + string(rune('1'+n)) + "\nDone\n\n"
		if diff := cmp.Diff(want, <-shown); diff != "" {
			t.Error(diff)
		}
	}
	stop()
	if err := errors.Join(<-ended, <-ended, road.Close(), store.Close()); err != nil {
		t.Error(err)
	}
}

func TestAnEventOnOneLine(t *testing.T) {
	t.Parallel()
	events := &pb.EventBook{Cover: key.Cover("alice@example.com"), Pages: []*pb.EventPage{
		event(41, "type.googleapis.com/examples.CustomerCreated", []byte{1, 2, 0xfe}), event(42, "x.Renamed", nil),
	}}
	want := "customer alice@example.com #41 CustomerCreated 0102fe\ncustomer alice@example.com #42 Renamed \n"
	if diff := cmp.Diff(want, printed(t, eventlog.Options{Lines: true}, events)); diff != "" {
		t.Error(diff)
	}
	events.Cover.AggregateId = ""
	if got := printed(t, eventlog.Options{Lines: true}, events); !strings.Contains(got, "customer "+key.Root.String()+" #41") {
		t.Errorf("without a name: %s", got)
	}
}
