package explore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/explore"
	"github.com/angz-dev/angz/runtime/transport"
)

var began = time.Date(2026, time.March, 14, 15, 9, 26, 0, time.UTC)

// world is a store with the role over it and a client of the role.
type world struct {
	*testing.T
	store  *sqlite.Store
	client pb.ExplorerClient
}

func newWorld(t *testing.T, options explore.Options) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	options.Store = store
	conn := transport.NewMemory()
	t.Cleanup(conn.Wait)
	pb.RegisterExplorerServer(conn, explore.New(options))
	return &world{t, store, pb.NewExplorerClient(conn)}
}

func keyOf(domain, id string) book.Key { return book.Key{Domain: domain, Root: book.Root(domain, id)} }

// stores appends one command's events to an aggregate.
func (w *world) stores(domain, id string, types ...string) {
	w.Helper()
	w.append(domain, id, "", "correlation", types...)
}

func (w *world) append(domain, id, causation, correlation string, types ...string) {
	w.Helper()
	key := keyOf(domain, id)
	info, err := w.store.Aggregate(w.Context(), key)
	if err != nil {
		w.Fatal(err)
	}
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Name: id, Next: info.Next, CorrelationID: correlation, Causation: causation}
	for _, name := range types {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "type.googleapis.com/shop." + name, Payload: []byte{1}, CreatedAt: began})
	}
	if _, err := w.store.Append(w.Context(), request); err != nil {
		w.Fatal(err)
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{Served: []string{"order", "customer"}})
	w.stores("order", "tea", "Created", "Paid")
	w.stores("order", "milk", "Created")
	w.stores("ghost", "g", "Seen")
	got, err := w.client.ListDomains(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.DomainList{Head: 4, Domains: []*pb.DomainSummary{
		{Domain: "customer", Served: true},
		{Domain: "ghost", Aggregates: 1, Events: 1, Position: 4, LastAt: timestamppb.New(began)},
		{Domain: "order", Aggregates: 2, Events: 3, Position: 3, LastAt: timestamppb.New(began), Served: true},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// pages reads all pages of a list and returns the names in it.
func (w *world) pages(query *pb.AggregatesQuery) (names []string) {
	w.Helper()
	for {
		page, err := w.client.ListAggregates(w.Context(), query)
		if err != nil {
			w.Fatal(err)
		}
		for _, aggregate := range page.Aggregates {
			names = append(names, aggregate.Cover.AggregateId)
		}
		if query.After = page.Next; len(query.After) == 0 {
			return names
		}
	}
}

func TestAggregatesInEveryOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	for _, id := range []string{"tea", "milk", "teacup", "bread", "Zebra"} {
		w.stores("order", id, "Created")
	}
	w.stores("customer", "tea", "Created")
	w.stores("order", "milk", "Paid")
	for _, c := range []struct {
		query *pb.AggregatesQuery
		want  string
	}{
		{&pb.AggregatesQuery{Domain: "order"}, "Zebra bread milk tea teacup"},
		{&pb.AggregatesQuery{Domain: "order", Prefix: "tea"}, "tea teacup"},
		{&pb.AggregatesQuery{Domain: "order", Prefix: "x"}, ""},
		{&pb.AggregatesQuery{Domain: "nobody"}, ""},
		{&pb.AggregatesQuery{Domain: "order", Order: pb.AggregatesOrder_AGGREGATES_ORDER_ACTIVITY}, "milk Zebra bread teacup tea"},
		{&pb.AggregatesQuery{Order: pb.AggregatesOrder_AGGREGATES_ORDER_ACTIVITY}, "milk tea Zebra bread teacup tea"},
		{&pb.AggregatesQuery{Domain: "order", Order: pb.AggregatesOrder_AGGREGATES_ORDER_ROOT, Prefix: strings.ToUpper(book.Root("order", "milk").String()[:9])}, "milk"},
	} {
		for limit := range uint32(7) {
			c.query.Limit = limit
			if got := strings.Join(w.pages(c.query), " "); got != c.want {
				t.Errorf("%v, %d a page: got %q, want %q", c.query, limit, got, c.want)
			}
		}
	}
	if got := w.pages(&pb.AggregatesQuery{Domain: "order", Order: pb.AggregatesOrder_AGGREGATES_ORDER_ROOT, Limit: 2}); len(got) != 5 {
		t.Errorf("by root: %v", got)
	}
}

func TestQueriesThatMeanNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	w.stores("order", "tea", "Created")
	const activity = pb.AggregatesOrder_AGGREGATES_ORDER_ACTIVITY
	for _, c := range []struct {
		query *pb.AggregatesQuery
		says  string
	}{
		{&pb.AggregatesQuery{}, "domain: found nothing"},
		{&pb.AggregatesQuery{Domain: "order", After: []byte{1}}, "after: found 1 bytes"},
		{&pb.AggregatesQuery{Domain: "order", After: append(make([]byte, 16), 0xff)}, "after: found 17 bytes"},
		{&pb.AggregatesQuery{Order: activity, After: []byte{1}}, "after: found 1 bytes"},
		{&pb.AggregatesQuery{Order: activity, Prefix: "t"}, `prefix: found "t"`},
		{&pb.AggregatesQuery{Domain: "order", Order: 9}, "order: found 9"},
	} {
		if _, err := w.client.ListAggregates(t.Context(), c.query); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.query, err)
		}
	}
	for _, query := range []*pb.TailQuery{
		{From: &pb.TailQuery_Last{Last: 10_001}},
		{Root: &pb.UUID{Value: make([]byte, 16)}},
		{Domains: []string{"order"}, Root: &pb.UUID{Value: []byte{1}}},
	} {
		if _, err := w.tail(query); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", query, err)
		}
	}
	if _, err := w.trace(""); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty correlation: %v", err)
	}
	if _, err := w.client.GetAggregate(t.Context(), &pb.Cover{Domain: "order"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no aggregate: %v", err)
	}
}

func TestAggregateAtAGlance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	w.stores("order", "tea", "Created", "Paid")
	tea, milk := keyOf("order", "tea"), keyOf("order", "milk")
	if err := w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: tea, Sequence: 1, TypeURL: "x/State"}); err != nil {
		t.Fatal(err)
	}
	for cover, want := range map[*pb.Cover]*pb.AggregateSummary{
		tea.Cover("tea"): {
			Cover: tea.Cover("tea"), Events: 2, Position: 2, TypeUrl: "type.googleapis.com/shop.Paid", LastAt: timestamppb.New(began), Snapshot: true,
		},
		{Domain: "order", AggregateId: "milk"}: {Cover: milk.Cover("milk")},
	} {
		got, err := w.client.GetAggregate(t.Context(), cover)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%v: %v\n%s", cover, err, diff)
		}
	}
}

// receive reads a whole stream and describes each message.
func receive(stream grpc.ServerStreamingClient[pb.StoredBook], err error) (said []string, _ error) {
	for err == nil {
		var stored *pb.StoredBook
		if stored, err = stream.Recv(); err == nil {
			said = append(said, describe(stored))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return said, err
}

func describe(stored *pb.StoredBook) string {
	text := fmt.Sprintf("%d/%d", stored.Position, stored.Head)
	if stored.Skipped > 0 {
		text += fmt.Sprintf(" -%d", stored.Skipped)
	}
	for _, page := range stored.GetEvents().GetPages() {
		text += " " + book.ShortName(page.Event.TypeUrl)
	}
	if stored.Cause != nil {
		text += fmt.Sprintf(" <- %s %s %d", stored.Cause.By, stored.Cause.GetCover().GetAggregateId(), stored.Cause.Sequence)
	}
	return text
}

func (w *world) tail(query *pb.TailQuery) ([]string, error) {
	query.Once = true
	return receive(w.client.Tail(w.Context(), query))
}

func (w *world) trace(correlation string) ([]string, error) {
	return receive(w.client.Trace(w.Context(), &pb.TraceQuery{CorrelationId: correlation}))
}

func TestTailOfWhatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	w.stores("order", "tea", "Created", "Paid")
	w.append("order", "milk", "", "other", "Created")
	w.stores("customer", "tea", "Created")
	tea := book.Root("order", "tea")
	for _, c := range []struct {
		query *pb.TailQuery
		want  []string
	}{
		{&pb.TailQuery{}, []string{"4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_After{}}, []string{"2/4 Created Paid", "3/4 Created", "4/4 Created", "4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_After{After: 99}}, []string{"4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_Last{Last: 2}}, []string{"3/4 Created", "4/4 Created", "4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_Last{Last: 99}, Types: []string{"Paid"}}, []string{"2/4 Created Paid", "4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_Last{Last: 99}, Types: []string{"shop.Created"}, Domains: []string{"customer"}}, []string{"4/4 Created", "4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_After{}, CorrelationId: "other"}, []string{"3/4 Created", "4/4"}},
		{&pb.TailQuery{From: &pb.TailQuery_After{}, Domains: []string{"order"}, Root: &pb.UUID{Value: tea[:]}}, []string{"2/4 Created Paid", "4/4"}},
	} {
		got, err := w.tail(c.query)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%v: %v\n%s", c.query, err, diff)
		}
	}
}

func TestTailGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stream, err := w.client.Tail(ctx, &pb.TailQuery{Domains: []string{"order"}})
	if err != nil {
		t.Fatal(err)
	}
	next := func() string {
		stored, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return describe(stored)
	}
	got := []string{next()}
	for i := range 3 {
		w.stores("customer", "c", "Seen")
		w.stores("order", "tea", fmt.Sprintf("Step%d", i))
		got = append(got, next())
	}
	if diff := cmp.Diff([]string{"0/0", "2/2 Step0", "4/4 Step1", "6/6 Step2"}, got); diff != "" {
		t.Error(diff)
	}
	stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after the caller has gone: %v", err)
	}
}

// slow is a store of which somebody reads slowly: between two reads the log grows
// by thousands of events.
type slow struct {
	explore.Store
	grow func()
}

func (s *slow) ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	defer s.grow()
	return s.Store.ReadLog(ctx, after, limit)
}

func TestASampledTailLeavesOut(t *testing.T) {
	t.Parallel()
	for _, sample := range []bool{true, false} {
		w := newWorld(t, explore.Options{})
		grown := 0
		store := &slow{Store: w.store, grow: func() {
			if grown++; grown != 2 {
				return
			}
			var all []eventstore.Append
			for i := range 6000 {
				all = append(all, eventstore.Append{
					CommandID: uuid.New(), Key: keyOf("order", fmt.Sprint(i)), Events: []eventstore.NewEvent{{TypeURL: "x/E", CreatedAt: began}},
				})
			}
			for _, result := range w.store.AppendAll(t.Context(), all) {
				if result.Err != nil {
					t.Error(result.Err)
				}
			}
		}}
		conn := transport.NewMemory()
		pb.RegisterExplorerServer(conn, explore.New(explore.Options{Store: store}))
		ctx, stop := context.WithCancel(t.Context())
		stream, err := pb.NewExplorerClient(conn).Tail(ctx, &pb.TailQuery{Sample: sample})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // the end is reached
			t.Fatal(err)
		}
		w.stores("customer", "c", "Seen")
		got, skipped := 0, uint64(0)
		for position := uint64(0); position < 6001; got++ {
			stored, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			position, skipped = stored.Position, skipped+stored.Skipped
		}
		stop()
		conn.Wait()
		if uint64(got)+skipped != 6001 || sample != (skipped > 5000) {
			t.Errorf("sample %t: %d came and %d are said to be left out of 6001", sample, got, skipped)
		}
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, explore.Options{})
	tea := keyOf("order", "tea")
	w.append("order", "tea", "", "one", "Created", "Paid")
	w.append("order", "milk", "", "two", "Created")
	w.append("stock", "s", fmt.Sprintf("reservation %s/1", tea), "one", "Reserved")
	w.append("stock", "s", "by hand", "one", "Counted")
	got, err := w.trace("one")
	if diff := cmp.Diff([]string{"2/5 Created Paid", "4/5 Reserved <- reservation tea 1", "5/5 Counted <- by hand  0"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := w.trace("nothing"); err != nil || len(got) > 0 {
		t.Errorf("an unknown correlation: %v, %v", got, err)
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	components := []*pb.Component{
		{Kind: pb.ComponentKind_COMPONENT_KIND_DOMAIN, Name: "order"},
		{Kind: pb.ComponentKind_COMPONENT_KIND_SAGA, Name: "reservation", From: []string{"order"}},
	}
	w := newWorld(t, explore.Options{Components: components, StoreName: "memory", BusName: "channel"})
	w.append("stock", "s", fmt.Sprintf("reservation %s/1", keyOf("order", "tea")), "one", "Reserved")
	w.append("audit", "a", fmt.Sprintf("reservation %s/1", keyOf("order", "tea")), "one", "Reserved")
	got, err := w.client.GetTopology(t.Context(), &emptypb.Empty{})
	want := &pb.Topology{Store: "memory", Bus: "channel", Components: []*pb.Component{
		components[0], {Kind: pb.ComponentKind_COMPONENT_KIND_SAGA, Name: "reservation", From: []string{"order"}, To: []string{"audit", "stock"}},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// counter is a service whose state is how many events there were.
type counter struct {
	pb.UnimplementedAggregateServer
	asked []int // how many events each call brought
	fails error
}

func (c *counter) Replay(_ context.Context, request *pb.ReplayRequest) (*pb.ReplayResponse, error) {
	if c.fails != nil {
		return nil, c.fails
	}
	c.asked = append(c.asked, len(request.Events.Pages))
	state := &wrapperspb.UInt64Value{}
	if snapshot := request.Events.Snapshot; snapshot != nil {
		if err := snapshot.State.UnmarshalTo(state); err != nil {
			return nil, err
		}
	}
	state.Value += uint64(len(request.Events.Pages))
	packed, err := anypb.New(state)
	return &pb.ReplayResponse{State: packed}, err
}

func domainOf(service pb.AggregateServer) map[string]explore.Domain {
	conn := transport.NewMemory()
	pb.RegisterAggregateServer(conn, service)
	return map[string]explore.Domain{"order": {Service: pb.NewAggregateClient(conn), Label: "domain order's service"}}
}

// state asks for a state and describes the answer.
func (w *world) state(domain, id string, at ...uint32) string {
	query := &pb.StateQuery{Cover: &pb.Cover{Domain: domain, AggregateId: id}}
	if len(at) > 0 {
		query.Sequence = &at[0]
	}
	answer, err := w.client.GetState(w.Context(), query)
	if err != nil {
		return err.Error()
	}
	if answer.State == nil {
		return "nothing"
	}
	var counted wrapperspb.UInt64Value
	if err := answer.State.UnmarshalTo(&counted); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d after %d, snapshot %t", counted.Value, answer.Sequence, answer.Snapshot)
}

func TestStateByTheService(t *testing.T) {
	t.Parallel()
	service := &counter{}
	w := newWorld(t, explore.Options{Domains: domainOf(service)})
	w.stores("order", "tea", "A", "B", "C")
	const many = 4500
	types := make([]string, many)
	for i := range types {
		types[i] = "E"
	}
	w.stores("order", "long", types...)
	for _, c := range []struct{ got, want string }{
		{w.state("order", "tea"), "3 after 2, snapshot false"},
		{w.state("order", "tea", 0), "1 after 0, snapshot false"},
		{w.state("order", "nobody"), "nothing"},
		{w.state("order", "long"), "4500 after 4499, snapshot false"},
		{w.state("order", "long", 2000), "2001 after 2000, snapshot false"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if diff := cmp.Diff([]int{3, 1, 2000, 2000, 500, 2000, 1}, service.asked); diff != "" {
		t.Errorf("the service was given events in other parts:\n%s", diff)
	}
	if got := w.state("order", "tea", 3); !strings.Contains(got, "OutOfRange") || !strings.Contains(got, "up to number 2") {
		t.Errorf("above the newest event: %s", got)
	}
	service.fails = status.Error(codes.Internal, "event 1 cannot be read")
	if got := w.state("order", "tea"); !strings.Contains(got, "event 1 cannot be read") {
		t.Errorf("a service that fails: %s", got)
	}
}

func TestStateBySnapshot(t *testing.T) {
	t.Parallel()
	for name, domains := range map[string]map[string]explore.Domain{
		"a service without Replay": domainOf(pb.UnimplementedAggregateServer{}), "no service": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, explore.Options{Domains: domains})
			w.stores("order", "tea", "A", "B", "C")
			if got := w.state("order", "tea"); !strings.Contains(got, "FailedPrecondition") || !strings.Contains(got, "no snapshot") {
				t.Errorf("without a snapshot: %s", got)
			}
			kept, err := anypb.New(wrapperspb.UInt64(2))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: keyOf("order", "tea"), Sequence: 1, TypeURL: kept.TypeUrl, State: kept.Value}); err != nil {
				t.Fatal(err)
			}
			if got := w.state("order", "tea"); got != "2 after 1, snapshot true" {
				t.Errorf("got %s", got)
			}
			if got := w.state("order", "tea", 0); !strings.Contains(got, "FailedPrecondition") {
				t.Errorf("before the snapshot: %s", got)
			}
		})
	}
}

func TestStateFromASnapshotOn(t *testing.T) {
	t.Parallel()
	service := &counter{}
	w := newWorld(t, explore.Options{Domains: domainOf(service)})
	w.stores("order", "tea", "A", "B", "C")
	kept, err := anypb.New(wrapperspb.UInt64(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: keyOf("order", "tea"), Sequence: 1, TypeURL: kept.TypeUrl, State: kept.Value}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{w.state("order", "tea"), "3 after 2, snapshot false"},
		{w.state("order", "tea", 1), "2 after 1, snapshot false"},
		{w.state("order", "tea", 0), "1 after 0, snapshot false"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if diff := cmp.Diff([]int{1, 0, 1}, service.asked); diff != "" {
		t.Errorf("the service was given other events:\n%s", diff)
	}
}
