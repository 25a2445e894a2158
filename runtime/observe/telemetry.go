package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TelemetryOptions say what one process tells about itself and to whom. The
// variables OTEL_…, looked up in Lookup, come before what is said here.
type TelemetryOptions struct {
	Service  string // service.name; "angz"
	Instance string // service.instance.id; may be empty
	Version  string // of angz
	// Exporter is where traces go: none, otlp or console. Nothing means otlp when
	// there is an Endpoint, else none.
	Exporter string
	Endpoint string // of the OTLP collector, as a URL; empty is the exporter's own default
	// Sample is the share of the commands that come without a trace that are
	// traced: 0.01 is one of a hundred. Zero is all of them.
	Sample float64
	// Lookup reads the environment, as os.LookupEnv does. Nil is an empty one.
	Lookup func(string) (string, bool)
	// Console is where the exporter console writes.
	Console io.Writer
	// Spans, if not nil, gets the spans in place of an exporter and at once. It
	// is for tests.
	Spans  sdktrace.SpanExporter
	Logger *slog.Logger
}

// Telemetry is what a process needs to be traced and counted. It is made once by
// Start, handed to whoever opens doors and connections, and shut down last. A nil
// Telemetry traces and counts nothing.
type Telemetry struct {
	metrics  *Metrics
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider // nil when nothing is traced
}

// Start begins to observe. It connects to nothing and never waits: a collector
// that is not there is tried again by itself, which the logger hears of once. It
// fails when the options are wrong.
func Start(ctx context.Context, options TelemetryOptions) (*Telemetry, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{metrics: NewMetrics(Build{Version: options.Version}), tracer: noop.NewTracerProvider().Tracer(scope)}
	destination, err := options.destination()
	if err != nil {
		return nil, fmt.Errorf("start tracing: %w", err)
	}
	if destination.exporter == exporterNone && options.Spans == nil {
		return t, nil
	}
	about, err := options.resource(ctx)
	if err != nil {
		return nil, fmt.Errorf("start tracing: %w", err)
	}
	how, err := options.export(ctx, destination, t.metrics)
	if err != nil {
		return nil, fmt.Errorf("start tracing: %w", err)
	}
	t.provider = sdktrace.NewTracerProvider(append(how, sdktrace.WithResource(about))...)
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(options.Version))
	return t, nil
}

// scope is the name under which angz's spans stand.
const scope = "github.com/angz-dev/angz"

// resource describes this process.
func (o TelemetryOptions) resource(ctx context.Context) (*resource.Resource, error) {
	service := o.Service
	if service == "" {
		service = "angz"
	}
	known := []attribute.KeyValue{attribute.String("service.name", service)}
	if o.Version != "" {
		known = append(known, attribute.String("service.version", o.Version))
	}
	if o.Instance != "" {
		known = append(known, attribute.String("service.instance.id", o.Instance))
	}
	said, err := o.attributes()
	if err != nil {
		return nil, err
	}
	found, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(known...), resource.WithAttributes(said...))
	if errors.Is(err, resource.ErrPartialResource) { // a host without a name, for one
		return found, nil
	}
	return found, err
}

// Metrics returns what the process counts in; nil for nil.
func (t *Telemetry) Metrics() *Metrics {
	if t == nil {
		return nil
	}
	return t.metrics
}

// Tracing reports whether spans are made.
func (t *Telemetry) Tracing() bool { return t != nil && t.provider != nil }

// Shutdown sends the spans that wait, for as long as the context allows, and
// ends the goroutines that Start began. What is observed later is lost. It never
// fails because of a collector that is not there.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if !t.Tracing() {
		return nil
	}
	err := t.provider.Shutdown(ctx)
	if ctx.Err() != nil {
		return nil // said when it was noticed
	}
	return err
}
