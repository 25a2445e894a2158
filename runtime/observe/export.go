package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	exporterNone    = "none"
	exporterOTLP    = "otlp"
	exporterConsole = "console"

	protocolHTTP = "http/protobuf"
	protocolGRPC = "grpc"
)

// defaultEndpoints are where the standard looks for a collector. The libraries
// would ask for TLS there, which the standard does not.
var defaultEndpoints = map[string]string{protocolHTTP: "http://localhost:4318", protocolGRPC: "http://localhost:4317"}

// destination is where traces go.
type destination struct {
	exporter string
	protocol string // of OTLP
	endpoint string // of OTLP, a URL
}

// destination reads the standard variables. A value of one that angz does not
// know is told and ignored, as the standard wants it: these variables are often
// set for a whole machine.
func (o TelemetryOptions) destination() (destination, error) {
	d := destination{exporter: o.Exporter, endpoint: o.Endpoint, protocol: protocolHTTP}
	if !slices.Contains([]string{"", exporterNone, exporterOTLP, exporterConsole}, o.Exporter) {
		return d, fmt.Errorf("exporter: found %q, expected none, otlp or console", o.Exporter)
	}
	if endpoint := o.first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); endpoint != "" {
		d.endpoint = endpoint
	} else if endpoint := o.first("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint != "" {
		d.endpoint = endpoint
	}
	if word := o.known("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocolHTTP, protocolGRPC); word != "" {
		d.protocol = word
	} else if word := o.known("OTEL_EXPORTER_OTLP_PROTOCOL", protocolHTTP, protocolGRPC); word != "" {
		d.protocol = word
	}
	if word := o.known("OTEL_TRACES_EXPORTER", exporterNone, exporterOTLP, exporterConsole); word != "" {
		d.exporter = word
	}
	if d.exporter == "" {
		d.exporter = exporterNone
		if d.endpoint != "" {
			d.exporter = exporterOTLP
		}
	}
	if strings.EqualFold(o.first("OTEL_SDK_DISABLED"), "true") {
		d.exporter = exporterNone
	}
	if d.exporter != exporterOTLP {
		return d, nil
	}
	if d.endpoint == "" {
		d.endpoint = defaultEndpoints[d.protocol]
	}
	return d.checked(o.first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "")
}

// checked makes the endpoint a whole URL. One that is for all signals has a path
// for each below it.
func (d destination) checked(forTraces bool) (destination, error) {
	if !strings.Contains(d.endpoint, "://") {
		d.endpoint = "http://" + d.endpoint
	}
	parsed, err := url.Parse(d.endpoint)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return d, errors.New("the endpoint of the OTLP collector is no URL; write it as http://host:4318")
	}
	if d.protocol == protocolHTTP && !forTraces {
		d.endpoint = parsed.JoinPath("v1", "traces").String()
	}
	return d, nil
}

// first returns a variable's value, empty when it is not set.
func (o TelemetryOptions) first(name string) string {
	if o.Lookup == nil {
		return ""
	}
	value, _ := o.Lookup(name)
	return strings.TrimSpace(value)
}

// known returns a variable's value if it is one of those allowed.
func (o TelemetryOptions) known(name string, allowed ...string) string {
	value := o.first(name)
	if value == "" || slices.Contains(allowed, value) {
		return value
	}
	o.Logger.Warn(name+" has a value that angz does not know, it is ignored", "value", shortened(value), "known", strings.Join(allowed, ", "))
	return ""
}

// attributes returns what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say.
func (o TelemetryOptions) attributes() ([]attribute.KeyValue, error) {
	var all []attribute.KeyValue
	if list := o.first("OTEL_RESOURCE_ATTRIBUTES"); list != "" {
		for pair := range strings.SplitSeq(list, ",") {
			key, value, ok := strings.Cut(pair, "=")
			key = strings.TrimSpace(key)
			if !ok || key == "" {
				return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: found %q, expected key=value", shortened(pair))
			}
			plain, err := url.PathUnescape(strings.TrimSpace(value))
			if err != nil {
				plain = strings.TrimSpace(value)
			}
			all = append(all, attribute.String(key, plain))
		}
	}
	if name := o.first("OTEL_SERVICE_NAME"); name != "" {
		all = append(all, attribute.String("service.name", name))
	}
	return all, nil
}

// sampler returns which commands are traced that come without a trace. One that
// comes with a trace is traced if the trace is.
func (o TelemetryOptions) sampler() (sdktrace.Sampler, error) {
	if o.Sample < 0 || o.Sample > 1 {
		return nil, fmt.Errorf("sample: found %v, expected a share between 0 and 1", o.Sample)
	}
	share := sdktrace.AlwaysSample()
	if o.Sample > 0 {
		share = sdktrace.TraceIDRatioBased(o.Sample)
	}
	word := o.known("OTEL_TRACES_SAMPLER", "always_on", "always_off", "traceidratio",
		"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")
	alone, parentBased := strings.CutPrefix(word, "parentbased_")
	switch alone {
	case "":
		return sdktrace.ParentBased(share), nil
	case "always_on":
		share = sdktrace.AlwaysSample()
	case "always_off":
		share = sdktrace.NeverSample()
	case "traceidratio":
		share = sdktrace.TraceIDRatioBased(o.ratio())
	}
	if parentBased {
		return sdktrace.ParentBased(share), nil
	}
	return share, nil
}

// ratio reads OTEL_TRACES_SAMPLER_ARG, which is 1 when it says nothing.
func (o TelemetryOptions) ratio() float64 {
	text := o.first("OTEL_TRACES_SAMPLER_ARG")
	if text == "" {
		return 1
	}
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		o.Logger.Warn("OTEL_TRACES_SAMPLER_ARG is no share between 0 and 1, everything is sampled", "value", shortened(text))
		return 1
	}
	return share
}

// export returns how spans are sampled and where they go.
func (o TelemetryOptions) export(ctx context.Context, to destination, metrics *Metrics) ([]sdktrace.TracerProviderOption, error) {
	share, err := o.sampler()
	if err != nil {
		return nil, err
	}
	how := []sdktrace.TracerProviderOption{sdktrace.WithSampler(share)}
	if o.Spans != nil {
		return append(how, sdktrace.WithSyncer(o.Spans)), nil
	}
	exporter, err := o.exporter(ctx, to)
	if err != nil {
		return nil, err
	}
	return append(how, sdktrace.WithBatcher(&patient{SpanExporter: exporter, logger: o.Logger, address: to.shown(), metrics: metrics})), nil
}

func (o TelemetryOptions) exporter(ctx context.Context, to destination) (sdktrace.SpanExporter, error) {
	if to.exporter == exporterConsole {
		if o.Console == nil {
			return nil, errors.New("exporter console: nowhere to write")
		}
		return stdouttrace.New(stdouttrace.WithWriter(o.Console))
	}
	// A batch that cannot be sent now is lost; the next one tries again. Keeping
	// it would keep others from being sent.
	if to.protocol == protocolGRPC {
		return otlptrace.New(ctx, otlptracegrpc.NewClient(
			otlptracegrpc.WithEndpointURL(to.endpoint), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false})))
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(to.endpoint), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false})))
}

// shown is the destination as it may stand in a log: without what a URL may hold
// beside the place.
func (d destination) shown() string {
	if parsed, err := url.Parse(d.endpoint); err == nil {
		return parsed.Host
	}
	return ""
}

// patient is an exporter whose failures are told once, until it works again, and
// are counted.
type patient struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	address string
	metrics *Metrics
	away    atomic.Bool
}

// ExportSpans never fails: the library would only write the error to the
// standard error output.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		p.metrics.spansLost.Add(float64(len(spans)))
		if p.away.CompareAndSwap(false, true) {
			p.logger.WarnContext(ctx, "traces cannot be sent and are lost until they can; everything else goes on", KeyAddress, p.address, KeyError, err)
		}
		return nil
	}
	if p.away.CompareAndSwap(true, false) {
		p.logger.InfoContext(ctx, "traces are sent again", KeyAddress, p.address)
	}
	return nil
}

// Shutdown gives up what does not end soon.
func (p *patient) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return p.SpanExporter.Shutdown(ctx)
}
