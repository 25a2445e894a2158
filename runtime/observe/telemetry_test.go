package observe_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/runtime/observe"
)

// environment stands for the variables of a process.
func environment(assignments ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, assignment := range assignments {
			if key, value, _ := strings.Cut(assignment, "="); key == name {
				return value, true
			}
		}
		return "", false
	}
}

// decoded reads lines of JSON.
func decoded(t testing.TB, text string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		read := map[string]any{}
		if err := json.Unmarshal([]byte(line), &read); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, read)
	}
	return lines
}

// collector is an OpenTelemetry collector that keeps the names of what it gets.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer
	got chan string
}

func (c *collector) Export(_ context.Context, request *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	for _, resource := range request.ResourceSpans {
		var about []string
		for _, attribute := range resource.Resource.Attributes {
			if strings.HasPrefix(attribute.Key, "service.") || attribute.Key == "team" {
				about = append(about, attribute.Key+"="+attribute.Value.GetStringValue())
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.got <- span.Name + " " + strings.Join(about, " ")
			}
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := &coltracepb.ExportTraceServiceRequest{}
	body := make([]byte, r.ContentLength)
	if _, err := r.Body.Read(body); len(body) == 0 || proto.Unmarshal(body, request) != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "bad", http.StatusBadRequest)
		_ = err
		return
	}
	answer, _ := c.Export(r.Context(), request)
	body, _ = proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func overGRPC(t *testing.T, c *collector) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, c)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

func overHTTP(t *testing.T, c *collector) string {
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return server.URL
}

func TestTracesReachACollector(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve    func(*testing.T, *collector) string
		protocol string
	}{"HTTP": {overHTTP, ""}, "gRPC": {overGRPC, "grpc"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver := &collector{got: make(chan string, 10)}
			telemetry, err := observe.Start(t.Context(), observe.TelemetryOptions{
				Service: "gateway", Version: "1.2", Instance: "i",
				Lookup: environment("OTEL_EXPORTER_OTLP_ENDPOINT="+c.serve(t, receiver), "OTEL_EXPORTER_OTLP_PROTOCOL="+c.protocol,
					"OTEL_SERVICE_NAME=shop", "OTEL_RESOURCE_ATTRIBUTES=team=a%20b, service.name=lost"),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx := observe.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			_, done := telemetry.Work(ctx, "publish")
			done(nil)
			if err := telemetry.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "publish service.instance.id=i service.name=shop service.version=1.2 team=a b"
			if got := <-receiver.got; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestACollectorThatIsAwayCostsNothingAndIsToldOnce(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	absent := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			log, written := logger(t, observe.Options{Format: "json"})
			before := time.Now()
			telemetry, err := observe.Start(t.Context(), observe.TelemetryOptions{
				Endpoint: "http://" + absent, Logger: log, Lookup: environment("OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx := observe.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			const spans = 1500 // more than one batch
			for range spans {
				_, done := telemetry.Work(ctx, "work")
				done(nil)
			}
			if took := time.Since(before); took > 20*time.Second {
				t.Errorf("%d spans took %s", spans, took)
			}
			if err := telemetry.Shutdown(t.Context()); err != nil {
				t.Errorf("shut down: %v", err)
			}
			lines := decoded(t, written.String())
			if len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["address"] != absent {
				t.Errorf("logged:\n%s", written)
			}
			if lost := valueOf(t, telemetry.Metrics(), "angz_trace_spans_lost_total", nil); lost != spans {
				t.Errorf("%v spans are counted as lost", lost)
			}
		})
	}
}

func TestNothingConfiguredIsNoTracing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options observe.TelemetryOptions
		traces  bool
	}{
		"nothing":                      {observe.TelemetryOptions{}, false},
		"an endpoint":                  {observe.TelemetryOptions{Endpoint: "http://127.0.0.1:1"}, true},
		"none and an endpoint":         {observe.TelemetryOptions{Exporter: "none", Endpoint: "http://127.0.0.1:1"}, false},
		"the variable before the key":  {observe.TelemetryOptions{Exporter: "none", Lookup: environment("OTEL_TRACES_EXPORTER=otlp")}, true},
		"an endpoint of the variables": {observe.TelemetryOptions{Lookup: environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/x")}, true},
		"none of the variables":        {observe.TelemetryOptions{Endpoint: "http://127.0.0.1:1", Lookup: environment("OTEL_TRACES_EXPORTER=none")}, false},
		"switched off":                 {observe.TelemetryOptions{Endpoint: "http://127.0.0.1:1", Lookup: environment("OTEL_SDK_DISABLED=true")}, false},
		"one that angz does not know":  {observe.TelemetryOptions{Lookup: environment("OTEL_TRACES_EXPORTER=zipkin")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			telemetry, err := observe.Start(t.Context(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = telemetry.Shutdown(t.Context()) }()
			if telemetry.Tracing() != c.traces {
				t.Errorf("tracing is %t", telemetry.Tracing())
			}
		})
	}
}

func TestWrongTelemetryOptionsAreErrors(t *testing.T) {
	t.Parallel()
	for want, options := range map[string]observe.TelemetryOptions{
		`start tracing: exporter: found "jaeger", expected none, otlp or console`:                   {Exporter: "jaeger"},
		`start tracing: the endpoint of the OTLP collector is no URL; write it as http://host:4318`: {Endpoint: "ftp://x"},
		`start tracing: sample: found 2, expected a share between 0 and 1`:                          {Endpoint: "x:1", Sample: 2},
		`start tracing: exporter console: nowhere to write`:                                         {Exporter: "console"},
		`start tracing: OTEL_RESOURCE_ATTRIBUTES: found "team", expected key=value`:                 {Endpoint: "x:1", Lookup: environment("OTEL_RESOURCE_ATTRIBUTES=team")},
	} {
		if _, err := observe.Start(t.Context(), options); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestTheConsoleShowsSpans(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	telemetry, err := observe.Start(t.Context(), observe.TelemetryOptions{Exporter: "console", Console: &shown})
	if err != nil {
		t.Fatal(err)
	}
	_, done := telemetry.Work(observe.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "publish")
	done(nil)
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(shown.String(), `"Name":"publish"`) {
		t.Errorf("shown: %s", &shown)
	}
}

func TestNilTelemetryDoesNothing(t *testing.T) {
	t.Parallel()
	var telemetry *observe.Telemetry
	var conn grpc.ClientConnInterface = &grpc.ClientConn{}
	if got := telemetry.Client(conn); got != conn {
		t.Errorf("another connection: %v", got)
	}
	if telemetry.UnaryMemory() != nil || telemetry.Tracing() {
		t.Error("it traces")
	}
	answer, err := telemetry.UnaryServer()(t.Context(), 1, nil, func(_ context.Context, request any) (any, error) { return request, nil })
	if answer != 1 || err != nil {
		t.Errorf("answered %v, %v", answer, err)
	}
	_, done := telemetry.Work(t.Context(), "work")
	done(nil)
	countEverything(telemetry.Metrics())
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestATraceParentIsWhatTheStandardSays(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"} {
		if got := observe.TraceParent(observe.WithTraceParent(t.Context(), parent)); got != parent {
			t.Errorf("%s became %s", parent, got)
		}
	}
	inner := observe.WithTraceParent(observe.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "")
	if got := observe.TraceParent(inner); got != "" {
		t.Errorf("a book without a trace was given the trace %s", got)
	}
}

// FuzzTraceParent holds that what is taken of an outside traceparent is always
// one that OpenTelemetry's own propagator would write.
func FuzzTraceParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more")
	f.Add("00-00000000000000000000000000000000-0000000000000000-00")
	f.Fuzz(func(t *testing.T, parent string) {
		ctx := observe.WithTraceParent(t.Context(), parent)
		carried := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carried)
		got := observe.TraceParent(ctx)
		// Of the flags only the one that says sampled has a meaning here.
		if want := carried["traceparent"]; len(got) != len(want) || got != "" && got[:53] != want[:53] {
			t.Errorf("%q became %q, the propagator writes %q", parent, got, want)
		}
		if again := observe.TraceParent(observe.WithTraceParent(t.Context(), got)); again != got {
			t.Errorf("%q became %q", got, again)
		}
	})
}

func TestLinesThatSayTheirCorrelationSayItOnce(t *testing.T) {
	t.Parallel()
	log, written := logger(t, observe.Options{Format: "text"})
	id := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := observe.Correlate(trace.ContextWithSpanContext(t.Context(), id), "c1")
	log.InfoContext(ctx, "one")
	log.InfoContext(ctx, "two", slog.String(observe.KeyCorrelation, "own"))
	log.Info("three")
	log.InfoContext(observe.Correlate(ctx, "c2"), "four")
	log.InfoContext(observe.Correlate(t.Context(), ""), "five")
	var got []string
	for line := range strings.Lines(written.String()) {
		_, said, _ := strings.Cut(line, "angzarr: ")
		got = append(got, strings.TrimSpace(said))
	}
	const traced = " trace_id=01000000000000000000000000000000"
	want := []string{"one correlation_id=c1" + traced, "two correlation_id=own" + traced, "three", "four correlation_id=c2" + traced, "five"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestManyMayUseOneContext(t *testing.T) {
	t.Parallel()
	ctx := observe.Correlate(t.Context(), "c")
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if observe.Correlate(ctx, "c") != ctx {
				t.Error("the same correlation made another context")
			}
		})
	}
	work.Wait()
}
