package observe_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// process is one of several that make a trace together.
type process struct {
	*observe.Telemetry
	t      testing.TB
	spans  *tracetest.InMemoryExporter
	logged *strings.Builder
	logger *slog.Logger
}

// newProcess starts telemetry. Without spans it is one that does not trace.
func newProcess(t testing.TB, name string, traces bool, edit ...func(*observe.TelemetryOptions)) *process {
	t.Helper()
	p := &process{t: t, spans: tracetest.NewInMemoryExporter(), logged: &strings.Builder{}}
	options := observe.TelemetryOptions{Service: name, Version: "1"}
	if traces {
		options.Spans = p.spans
	}
	for _, change := range edit {
		change(&options)
	}
	var err error
	if p.logger, err = observe.New(observe.Options{Writer: p.logged, Format: "json", Directives: "debug"}); err != nil {
		t.Fatal(err)
	}
	if p.Telemetry, err = observe.Start(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

// serve opens a door and returns its address.
func (p *process) serve(register func(grpc.ServiceRegistrar)) string {
	p.t.Helper()
	server := transport.NewServer(transport.ServerOptions{
		Unary:  []grpc.UnaryServerInterceptor{p.UnaryServer(), observe.UnaryServer(p.logger)},
		Stream: []grpc.StreamServerInterceptor{p.StreamServer(), observe.StreamServer(p.logger)},
	})
	register(server)
	path := filepath.Join(runtimetest.Folder(p.t), "door.sock")
	listener, err := transport.Listen(transport.Address{Network: "unix", Address: path})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(p.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	p.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
	return path
}

// connect reaches another process.
func (p *process) connect(address string, about ...slog.Attr) grpc.ClientConnInterface {
	p.t.Helper()
	conn, err := transport.Dial(address, transport.DialOptions{Name: address})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return p.Client(conn, about...)
}

// system is a client, a gateway, a coordinator and a service that knows which
// trace it is asked in, each its own process.
type system struct {
	client, gateway, aggregate *process
	store                      *sqlite.Store
	commands                   pb.AggregateCoordinatorClient
	door                       string // the gateway's address

	mu    sync.Mutex
	asked []string
}

func newSystem(t testing.TB, traces bool, edit ...func(*observe.TelemetryOptions)) *system {
	t.Helper()
	s := &system{
		client: newProcess(t, "client", traces, edit...), gateway: newProcess(t, "gateway", traces, edit...), aggregate: newProcess(t, "aggregate", traces, edit...),
	}
	var err error
	if s.store, err = sqlite.Open(t.Context(), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
	service := runtimetest.Aggregate(t, s.decide)
	coordinator := aggregate.New(aggregate.Options{
		Store: s.store, Logger: s.aggregate.logger, Metrics: s.aggregate.Metrics(),
		Domains: []aggregate.Domain{{Name: "order", Label: "order", Service: pb.NewAggregateClient(s.aggregate.connect(service.Address()))}},
	})
	aggregates := s.aggregate.serve(func(to grpc.ServiceRegistrar) { pb.RegisterAggregateCoordinatorServer(to, coordinator) })
	door := gateway.New(gateway.Options{
		Routes: gateway.Routes{"order": s.gateway.connect(aggregates)}, Logger: s.gateway.logger, Metrics: s.gateway.Metrics(),
	})
	s.door = s.gateway.serve(door.Register)
	s.commands = pb.NewAggregateCoordinatorClient(s.client.connect(s.door))
	return s
}

func (s *system) decide(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, strings.Join(metadata.ValueFromIncomingContext(ctx, "traceparent"), ","))
	s.mu.Unlock()
	return runtimetest.LeavesNumbersOut(ctx, request)
}

// events returns what the store holds.
func (s *system) events(t testing.TB) []eventstore.Event {
	t.Helper()
	events, err := s.store.ReadLog(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// tree draws the spans of all processes, which must be one trace.
func tree(t testing.TB, processes ...*process) string {
	t.Helper()
	var all tracetest.SpanStubs
	for _, p := range processes {
		all = append(all, p.spans.GetSpans()...)
	}
	children := map[string]tracetest.SpanStubs{}
	known := map[string]bool{}
	for _, span := range all {
		known[span.SpanContext.SpanID().String()] = true
		if span.SpanContext.TraceID() != all[0].SpanContext.TraceID() {
			t.Errorf("the span %s is of another trace", span.Name)
		}
	}
	for _, span := range all {
		parent := span.Parent.SpanID().String()
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], span)
	}
	var text strings.Builder
	var draw func(parent, indent string)
	draw = func(parent, indent string) {
		for _, span := range children[parent] {
			service, _ := span.Resource.Set().Value("service.name")
			text.WriteString(indent + service.AsString() + " " + span.SpanKind.String() + " " + span.Name + "\n")
			draw(span.SpanContext.SpanID().String(), indent+"  ")
		}
	}
	draw("", "")
	return text.String()
}

func TestACommandIsOneTraceThroughAllProcesses(t *testing.T) {
	t.Parallel()
	s := newSystem(t, true)
	response, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", 0, "Create"))
	if err != nil {
		t.Fatal(err)
	}
	// What follows the log in a further process joins by what the log holds.
	projector := newProcess(t, "projector", true)
	service := runtimetest.Projector(t, func(context.Context, *pb.EventBook) (*pb.Projection, error) { return &pb.Projection{}, nil })
	projections := pb.NewProjectorClient(projector.connect(service.Address(), slog.String(observe.KeyComponent, "receipt")))
	for _, events := range eventstore.Books(s.events(t)) {
		if events.TraceContext != response.Events.TraceContext {
			t.Errorf("stored with the trace %q, answered with %q", events.TraceContext, response.Events.TraceContext)
		}
		if _, err := projections.Handle(observe.WithTraceParent(t.Context(), events.TraceContext), events); err != nil {
			t.Fatal(err)
		}
	}
	want := `client client angzarr.AggregateCoordinator/Handle
  gateway server angzarr.AggregateCoordinator/Handle
    gateway client angzarr.AggregateCoordinator/Handle
      aggregate server angzarr.AggregateCoordinator/Handle
        aggregate client angzarr.Aggregate/Handle
        aggregate internal append
        projector client angzarr.Projector/Handle
`
	if diff := cmp.Diff(want, tree(t, s.client, s.gateway, s.aggregate, projector)); diff != "" {
		t.Error(diff)
	}
	trace := s.client.spans.GetSpans()[0].SpanContext.TraceID().String()
	if len(s.asked) != 1 || !strings.HasPrefix(s.asked[0], "00-"+trace+"-") || !strings.HasSuffix(s.asked[0], "-01") {
		t.Errorf("the service was asked with the traceparent %q in the trace %s", s.asked, trace)
	}
}

func TestSpansSayWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	s := newSystem(t, true)
	command := runtimetest.Command("order", "o1", 7, "Create")
	command.CorrelationId = "c1"
	if _, err := s.commands.Handle(t.Context(), command); err == nil {
		t.Fatal("a command with a wrong sequence was accepted")
	}
	span := s.gateway.spans.GetSpans()[1]
	got := map[string]string{"status": span.Status.Code.String(), "description": span.Status.Description}
	for _, attribute := range span.Attributes {
		got[string(attribute.Key)] = attribute.Value.String()
	}
	want := map[string]string{
		"status": "Error", "description": "Sequence mismatch: command expects 7, aggregate at 0",
		"rpc.system": "grpc", "rpc.service": "angzarr.AggregateCoordinator", "rpc.method": "Handle", "rpc.grpc.status_code": "9",
		"angz.domain": "order", "angz.correlation_id": "c1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestATraceOfOthersPassesThroughAProcessThatDoesNotTrace(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s := newSystem(t, false)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent)
	if _, err := s.commands.Handle(ctx, runtimetest.Command("order", "o1", 0, "Create")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{parent}, s.asked); diff != "" {
		t.Errorf("what the service was asked with: %s", diff)
	}
	if events := s.events(t); len(events) != 1 || events[0].Trace != parent {
		t.Errorf("stored %+v", events)
	}
}

func TestWithoutTracingNothingIsSentAndNothingIsStored(t *testing.T) {
	t.Parallel()
	s := newSystem(t, false)
	if _, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", 0, "Create")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{""}, s.asked); diff != "" {
		t.Errorf("what the service was asked with: %s", diff)
	}
	if events := s.events(t); len(events) != 1 || events[0].Trace != "" {
		t.Errorf("stored %+v", events)
	}
}

func TestWhoeverContinuesAnUnsampledTraceDoesNotBeginOne(t *testing.T) {
	t.Parallel()
	s := newSystem(t, true, func(o *observe.TelemetryOptions) {
		o.Lookup = environment("OTEL_TRACES_SAMPLER=parentbased_always_off")
	})
	if _, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", 0, "Create")); err != nil {
		t.Fatal(err)
	}
	stored := s.events(t)[0].Trace
	if !strings.HasSuffix(stored, "-00") {
		t.Errorf("stored the trace %q", stored)
	}
	p := newProcess(t, "saga", true)
	_, done := p.Work(observe.WithTraceParent(t.Context(), stored), "work")
	done(nil)
	if spans := append(s.aggregate.spans.GetSpans(), p.spans.GetSpans()...); len(spans) != 0 {
		t.Errorf("spans: %v", spans)
	}
}

func TestEveryLineAboutACommandJoinsItsWorkflowAndTrace(t *testing.T) {
	t.Parallel()
	s := newSystem(t, true)
	// The correlation id is the gateway's, for the command has none.
	if _, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", 7, "Create")); err == nil {
		t.Fatal("a command with a wrong sequence was accepted")
	}
	trace := s.client.spans.GetSpans()[0].SpanContext.TraceID().String()
	seen := map[string]bool{}
	for _, p := range []*process{s.gateway, s.aggregate} {
		lines := decoded(t, p.logged.String())
		if len(lines) != 1 {
			t.Fatalf("logged:\n%s", p.logged)
		}
		if lines[0]["trace_id"] != trace {
			t.Errorf("the trace is %s, the line %v", trace, lines[0])
		}
		correlation, _ := lines[0]["correlation_id"].(string)
		seen[correlation] = true
	}
	if len(seen) != 1 || seen[""] {
		t.Errorf("correlations: %v", seen)
	}
}

// streaming is a service that sends two answers and then waits for its caller to
// leave, if it is told to.
type streaming struct {
	testpb.UnimplementedTestServiceServer
}

func (streaming) StreamingOutputCall(request *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for range 2 {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	if request.ResponseStatus.GetCode() == int32(codes.Canceled) {
		<-stream.Context().Done()
		return status.FromContextError(stream.Context().Err()).Err()
	}
	return status.FromProto(&spb.Status{Code: request.ResponseStatus.GetCode(), Message: "asked for"}).Err()
}

func (s streaming) register(to grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(to, s) }

func TestAStreamIsOneSpanOnEachSideHoweverItEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request        *testpb.StreamingOutputCallRequest
		take           int // answers, before the caller leaves
		client, server string
	}{
		"by itself":   {&testpb.StreamingOutputCallRequest{}, 9, "Unset", "Unset"},
		"by an error": {&testpb.StreamingOutputCallRequest{ResponseStatus: &testpb.EchoStatus{Code: 13}}, 9, "Error", "Error"},
		"by leaving":  {&testpb.StreamingOutputCallRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(codes.Canceled)}}, 1, "Unset", "Error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller, server := newProcess(t, "caller", true), newProcess(t, "server", true)
			conn := caller.connect(server.serve(streaming{}.register))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			stream, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(ctx, c.request)
			if err != nil {
				t.Fatal(err)
			}
			for range c.take {
				if _, err := stream.Recv(); err != nil {
					break
				}
			}
			leave()
			ended := func(p *process) string {
				for len(p.spans.GetSpans()) == 0 { // the far side hears of it in its own time
					runtime.Gosched()
				}
				return p.spans.GetSpans()[0].Status.Code.String()
			}
			if client, server := ended(caller), ended(server); client != c.client || server != c.server {
				t.Errorf("the client's span says %s, the server's %s", client, server)
			}
			want := "caller client grpc.testing.TestService/StreamingOutputCall\n  server server grpc.testing.TestService/StreamingOutputCall\n"
			if diff := cmp.Diff(want, tree(t, caller, server)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestACallInMemoryIsPartOfItsCallersTrace(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "node", true)
	memory := transport.NewMemory(p.UnaryMemory())
	(&quiet{}).register(memory)
	ctx, done := p.Work(observe.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "work")
	if _, err := testpb.NewTestServiceClient(memory).EmptyCall(ctx, &testpb.Empty{}); err != nil {
		t.Fatal(err)
	}
	done(nil)
	if diff := cmp.Diff("node internal work\n  node server grpc.testing.TestService/EmptyCall\n", tree(t, p)); diff != "" {
		t.Error(diff)
	}
}
