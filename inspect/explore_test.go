package inspect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/payload"
)

// guide serves Explorer as a test wants.
type guide struct {
	pb.UnimplementedExplorerServer
	aggregates func(*pb.AggregatesQuery) (*pb.AggregatesPage, error)
	tail       func(*pb.TailQuery, grpc.ServerStreamingServer[pb.StoredBook]) error
	trace      []*pb.StoredBook
	state      *pb.StateAnswer
	topology   *pb.Topology // nil for one with a saga
}

func (g *guide) ListDomains(context.Context, *emptypb.Empty) (*pb.DomainList, error) {
	return &pb.DomainList{Head: 9, Domains: []*pb.DomainSummary{
		{Domain: "customer", Aggregates: 1, Events: 2, Position: 8, LastAt: timestamppb.New(noon), Served: true}, {Domain: "order"},
	}}, nil
}

func (g *guide) ListAggregates(_ context.Context, query *pb.AggregatesQuery) (*pb.AggregatesPage, error) {
	return g.aggregates(query)
}

func (g *guide) GetAggregate(_ context.Context, cover *pb.Cover) (*pb.AggregateSummary, error) {
	return &pb.AggregateSummary{Cover: alice.Cover(cover.AggregateId), Events: 2, Position: 8, TypeUrl: "x/shop.Created", LastAt: timestamppb.New(noon), Snapshot: true}, nil
}

func (g *guide) Tail(query *pb.TailQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	return g.tail(query, stream)
}

func (g *guide) Trace(_ *pb.TraceQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	for _, stored := range g.trace {
		if err := stream.Send(stored); err != nil {
			return err
		}
	}
	return nil
}

func (g *guide) GetState(context.Context, *pb.StateQuery) (*pb.StateAnswer, error) {
	return g.state, nil
}

func (g *guide) GetTopology(context.Context, *emptypb.Empty) (*pb.Topology, error) {
	if g.topology != nil {
		return g.topology, nil
	}
	return &pb.Topology{Store: "sqlite", Bus: "channel", Components: []*pb.Component{
		{Kind: pb.ComponentKind_COMPONENT_KIND_SAGA, Name: "loyalty", Address: "localhost:1", From: []string{"order"}, To: []string{"customer"}, Synchronous: true},
	}}, nil
}

// follow serves a guide over memory, beside an office if there is one, and returns a
// Client of it.
func follow(t *testing.T, g *guide, offices ...pb.AdminServer) *inspect.Client {
	t.Helper()
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	pb.RegisterExplorerServer(server, g)
	for _, office := range offices {
		pb.RegisterAdminServer(server, office)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return inspect.New(conn, new(payload.Schema))
}

func TestWhatThereIs(t *testing.T) {
	t.Parallel()
	var asked *pb.AggregatesQuery
	c := follow(t, &guide{aggregates: func(query *pb.AggregatesQuery) (*pb.AggregatesPage, error) {
		asked = query
		return &pb.AggregatesPage{Aggregates: []*pb.AggregateSummary{{Cover: alice.Cover(""), Events: 1, TypeUrl: "x/shop.Created"}}, Next: []byte("n\xff")}, nil
	}})
	domains, head, err := c.Domains(t.Context())
	want := []inspect.Domain{{Name: "customer", Aggregates: 1, Events: 2, Position: 8, LastAt: noon, Served: true}, {Name: "order"}}
	if diff := cmp.Diff(want, domains); err != nil || head != 9 || diff != "" {
		t.Errorf("%v, head %d\n%s", err, head, diff)
	}
	page, err := c.Summaries(t.Context(), inspect.SummariesRequest{Domain: "customer", Prefix: "al", Order: inspect.ByRoot, After: "a\xfe", Limit: 7})
	wantPage := inspect.Summaries{Next: "n\xff", Aggregates: []inspect.Summary{{Aggregate: inspect.Aggregate{Domain: "customer", Root: alice.Root.String()}, Events: 1, Type: "shop.Created"}}}
	if diff := cmp.Diff(wantPage, page); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	wantAsked := &pb.AggregatesQuery{Domain: "customer", Prefix: "al", Order: pb.AggregatesOrder_AGGREGATES_ORDER_ROOT, After: []byte("a\xfe"), Limit: 7}
	if diff := cmp.Diff(wantAsked, asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	summary, err := c.Summary(t.Context(), "customer", "alice")
	if err != nil || summary.Name() != "alice" || summary.ShortType() != "Created" || !summary.Snapshot || summary.Events != 2 {
		t.Errorf("%v, %+v", err, summary)
	}
	topology, err := c.Topology(t.Context())
	wantTopology := inspect.Topology{Store: "sqlite", Bus: "channel", Components: []inspect.Component{
		{Kind: "saga", Name: "loyalty", Address: "localhost:1", From: []string{"order"}, To: []string{"customer"}, Synchronous: true},
	}}
	if diff := cmp.Diff(wantTopology, topology); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// stored is a book of one event at a position, caused by an event if that is
// given as "SAGA ID NUMBER".
func stored(position uint64, id string, number uint32, at time.Duration, cause string) *pb.StoredBook {
	key := book.Key{Domain: "order", Root: book.Root("order", id)}
	command := uuid.UUID{15: byte(position)}
	made := &pb.StoredBook{
		CommandId: command[:], Position: position, Head: 99,
		Events: &pb.EventBook{Cover: key.Cover(id), CorrelationId: "c-1", Position: position, Pages: []*pb.EventPage{
			{Sequence: &pb.EventPage_Num{Num: number}, CreatedAt: timestamppb.New(noon.Add(at)), Event: packed(wrapperspb.String(id))},
		}},
	}
	if words := strings.Fields(cause); len(words) == 3 {
		source := book.Key{Domain: "order", Root: book.Root("order", words[1])}
		made.Cause = &pb.Cause{By: words[0], Cover: source.Cover(words[1])}
		_, _ = fmt.Sscan(words[2], &made.Cause.Sequence)
	}
	return made
}

// drawn writes a trace as nested names.
func drawn(steps []*inspect.Step) string {
	var names []string
	for _, step := range steps {
		name := fmt.Sprintf("%s%d+%s", step.Events[0].AggregateID, step.Events[0].Sequence, step.After)
		if len(step.Steps) > 0 {
			name += "(" + drawn(step.Steps) + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestTraceIsATree(t *testing.T) {
	t.Parallel()
	c := follow(t, &guide{trace: []*pb.StoredBook{
		stored(1, "a", 0, 0, ""),
		stored(2, "b", 0, time.Second, "loyalty a 0"),
		stored(3, "c", 0, 3*time.Second, "loyalty b 0"),
		stored(4, "d", 0, 2*time.Second, "loyalty a 0"),
		stored(5, "e", 0, 4*time.Second, "loyalty elsewhere 7"),
		stored(6, "f", 0, 4*time.Second, "loyalty f 0"),
	}})
	trace, err := c.Trace(t.Context(), "c-1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := drawn(trace.Steps), "a0+0s(b0+1s(c0+2s) d0+2s) e0+0s f0+0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if trace.Commands != 6 || trace.Events != 6 || trace.Took != 4*time.Second || trace.CorrelationID != "c-1" {
		t.Errorf("%+v", trace)
	}
	if first := trace.Steps[0]; first.CommandID != (uuid.UUID{15: 1}).String() || first.Head != 99 || first.Steps[0].Cause.By != "loyalty" {
		t.Errorf("%+v", first)
	}
}

func TestFollowGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	var asked []*pb.TailQuery
	c := follow(t, &guide{tail: func(query *pb.TailQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
		asked = append(asked, query)
		switch len(asked) {
		case 1:
			_ = stream.Send(stored(7, "a", 0, 0, ""))
			return status.Error(codes.Unavailable, "gone")
		case 2:
			return status.Error(codes.Unavailable, "still gone")
		case 3:
			_ = stream.Send(stored(8, "b", 0, 0, ""))
			return status.Error(codes.Unavailable, "gone again")
		}
		return status.Error(codes.PermissionDenied, "not for you")
	}})
	var said []string
	for followed := range c.Follow(t.Context(), inspect.TailRequest{Last: 5, Domain: "order", ID: "a", Types: []string{"X"}, Sample: true}) {
		if followed.Err != nil {
			said = append(said, fmt.Sprintf("%s %t", status.Code(followed.Err), followed.Wait > 0))
			continue
		}
		said = append(said, fmt.Sprint(followed.Position))
	}
	if diff := cmp.Diff([]string{"7", "Unavailable true", "Unavailable true", "8", "Unavailable true", "PermissionDenied false"}, said); diff != "" {
		t.Error(diff)
	}
	root := book.Root("order", "a")
	want := func() *pb.TailQuery {
		return &pb.TailQuery{Domains: []string{"order"}, Root: &pb.UUID{Value: root[:]}, Types: []string{"X"}, Sample: true}
	}
	first, second, last := want(), want(), want()
	first.From, second.From, last.From = &pb.TailQuery_Last{Last: 5}, &pb.TailQuery_After{After: 7}, &pb.TailQuery_After{After: 8}
	if diff := cmp.Diff([]*pb.TailQuery{first, second, second, last}, asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	g := &guide{state: &pb.StateAnswer{Cover: alice.Cover("alice"), State: packed(wrapperspb.String("Alice")), Sequence: 3, Snapshot: true}}
	c := follow(t, g)
	got, err := c.State(t.Context(), "customer", "alice", nil)
	want := inspect.State{
		Domain: "customer", AggregateID: "alice", Root: alice.Root.String(), Sequence: 3, Type: "google.protobuf.StringValue", JSON: json.RawMessage(`"Alice"`), Decoded: true, Snapshot: true,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	g.state = &pb.StateAnswer{Cover: alice.Cover("")}
	if got, err := c.State(t.Context(), "customer", "alice", nil); err != nil || got.JSON != nil {
		t.Errorf("without events: %v, %+v", err, got)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after string
		want          string
	}{
		{`{}`, `{}`, ``},
		{``, ``, ``},
		{``, `{"a":1}`, `: nothing -> {"a":1}`},
		{`{"a":1}`, ``, `: {"a":1} -> nothing`},
		{`{"a":1,"b":{"c":[1,2]}}`, `{"b":{"c":[1,3,4]},"d":null}`, `a: 1 -> nothing; b.c[1]: 2 -> 3; b.c[2]: nothing -> 4; d: nothing -> null`},
		{`[1,[2]]`, `[1]`, `[1]: [2] -> nothing`},
		{`{"a":[1]}`, `{"a":{"b":1}}`, `a: [1] -> {"b":1}`},
		{`{"a":"1"}`, `{"a":1}`, `a: "1" -> 1`},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, `a: 9007199254740993 -> 9007199254740992`},
		{`{"a":null}`, `{"a":false}`, `a: null -> false`},
		{`{"a":"<b>"}`, `{"a":"&"}`, `a: "<b>" -> "&"`},
		{`1`, `2`, `: 1 -> 2`},
	} {
		changes, err := inspect.Diff(json.RawMessage(c.before), json.RawMessage(c.after))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, change := range changes {
			said = append(said, fmt.Sprintf("%s: %s -> %s", change.Path, orNothing(change.Before), orNothing(change.After)))
		}
		if got := strings.Join(said, "; "); got != c.want {
			t.Errorf("%s and %s: got %s, want %s", c.before, c.after, got, c.want)
		}
	}
	if _, err := inspect.Diff([]byte(`{`), nil); err == nil {
		t.Error("what is not JSON is compared")
	}
}

func orNothing(text json.RawMessage) string {
	if text == nil {
		return "nothing"
	}
	return string(text)
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte(`{"a":[2]}`))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		changes, err := inspect.Diff(before, after)
		if err != nil {
			return
		}
		back, err := inspect.Diff(after, before)
		if err != nil || len(back) != len(changes) {
			t.Errorf("%d changes there, %d back, %v", len(changes), len(back), err)
		}
		if same, err := inspect.Diff(after, after); err != nil || len(same) != 0 {
			t.Errorf("it differs from itself: %v, %v", same, err)
		}
	})
}
