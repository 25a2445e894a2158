package observe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The names of attributes of spans: OpenTelemetry's own for gRPC, and angz's.
const (
	spanSystem  = "rpc.system"
	spanService = "rpc.service"
	spanMethod  = "rpc.method"
	spanCode    = "rpc.grpc.status_code"
	spanOwn     = "angz." // and the key that a log line has for the same
)

// UnaryServer joins single calls from outside to their callers' traces and counts
// them. It belongs outside everything else, so that it sees what the caller is
// told.
func (t *Telemetry) UnaryServer() grpc.UnaryServerInterceptor {
	if t == nil {
		return nothing
	}
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		t.metrics.rpcsUnderWay.Inc()
		defer t.metrics.rpcsUnderWay.Dec()
		response, err := t.serve(ctx, request, info.FullMethod, handler)
		t.metrics.rpcs.WithLabelValues(info.FullMethod, outcome(err)).Inc()
		t.metrics.rpcTime.WithLabelValues(info.FullMethod).Observe(time.Since(start).Seconds())
		return response, err
	}
}

// UnaryMemory does for calls inside the process what UnaryServer does for those
// from outside, without counting them. It is nil when nothing is traced: then
// such calls need no interceptor at all, for their handlers see the callers'
// contexts.
func (t *Telemetry) UnaryMemory() grpc.UnaryServerInterceptor {
	if !t.Tracing() {
		return nil
	}
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return t.serve(ctx, request, info.FullMethod, handler)
	}
}

func nothing(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, request)
}

// serve runs a handler in the trace of its caller.
func (t *Telemetry) serve(ctx context.Context, request any, method string, handler grpc.UnaryHandler) (any, error) {
	ctx = received(ctx)
	if !t.Tracing() || isNoise(method) {
		return handler(ctx, request)
	}
	ctx, span := t.span(ctx, method, trace.SpanKindServer)
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attributesOf(subject(request))...)
	}
	response, err := handler(ctx, request)
	ended(span, err)
	return response, err
}

// StreamServer does for streams what UnaryServer does for single calls. The time
// that they last is not counted.
func (t *Telemetry) StreamServer() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if t == nil {
			return handler(server, stream)
		}
		t.metrics.rpcsUnderWay.Inc()
		defer t.metrics.rpcsUnderWay.Dec()
		err := t.serveStream(server, stream, info.FullMethod, handler)
		t.metrics.rpcs.WithLabelValues(info.FullMethod, outcome(err)).Inc()
		return err
	}
}

func (t *Telemetry) serveStream(server any, stream grpc.ServerStream, method string, handler grpc.StreamHandler) error {
	ctx := received(stream.Context())
	if !t.Tracing() || isNoise(method) {
		return handler(server, within{stream, ctx})
	}
	ctx, span := t.span(ctx, method, trace.SpanKindServer)
	defer span.End()
	err := handler(server, within{stream, ctx})
	ended(span, err)
	return err
}

// within is a stream with another context.
type within struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream's is part of it
}

func (w within) Context() context.Context { return w.ctx }

// isNoise reports whether a method is one that machines call all the time to see
// whether somebody is there.
func isNoise(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.") || strings.HasPrefix(method, "/grpc.reflection.")
}

// Client returns a connection that tells the other side which trace a call
// belongs to, and makes a span of each call when tracing. It is for connections
// to other processes; those in memory need none. about stands on every span, such
// as the component whose service is at the other end. Calls of Client for one
// connection return different values.
func (t *Telemetry) Client(conn grpc.ClientConnInterface, about ...slog.Attr) grpc.ClientConnInterface {
	if t == nil {
		return conn
	}
	return &client{conn, t, attributesOf(about)}
}

type client struct {
	grpc.ClientConnInterface
	telemetry *Telemetry
	about     []attribute.KeyValue
}

func (c *client) span(ctx context.Context, method string) (context.Context, trace.Span) {
	ctx, span := c.telemetry.span(ctx, method, trace.SpanKindClient)
	if span.IsRecording() {
		span.SetAttributes(c.about...)
	}
	return ctx, span
}

// Invoke calls a method.
func (c *client) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	if !c.telemetry.Tracing() || isNoise(method) {
		return c.ClientConnInterface.Invoke(sent(ctx), method, request, response, options...)
	}
	ctx, span := c.span(ctx, method)
	defer span.End()
	err := c.ClientConnInterface.Invoke(sent(ctx), method, request, response, options...)
	ended(span, err)
	return err
}

// NewStream begins a stream. Its span ends when the caller has read its end, or
// leaves.
func (c *client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if !c.telemetry.Tracing() || isNoise(method) {
		return c.ClientConnInterface.NewStream(sent(ctx), desc, method, options...)
	}
	ctx, span := c.span(ctx, method)
	stream, err := c.ClientConnInterface.NewStream(sent(ctx), desc, method, options...)
	if err != nil {
		ended(span, err)
		span.End()
		return nil, err
	}
	traced := &tracedStream{ClientStream: stream, span: span}
	traced.release = context.AfterFunc(ctx, func() { traced.end(ctx.Err()) })
	return traced, nil
}

// tracedStream ends a span when the stream ends.
type tracedStream struct {
	grpc.ClientStream
	span    trace.Span
	once    sync.Once
	release func() bool
}

func (s *tracedStream) RecvMsg(into any) error {
	err := s.ClientStream.RecvMsg(into)
	if err != nil {
		s.release()
		s.end(err)
	}
	return err
}

func (s *tracedStream) end(err error) {
	s.once.Do(func() {
		if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
			err = nil // how streams end that nobody needs any more
		}
		ended(s.span, err)
		s.span.End()
	})
}

// Work begins a span for work that no call began, such as a relay's on a book.
// What the context carries, see WithTraceParent, is its parent; without a parent
// that is traced there is no span, because a trace begins with a command. The
// caller ends it with the function returned.
func (t *Telemetry) Work(ctx context.Context, name string, about ...slog.Attr) (context.Context, func(error)) {
	if !t.Tracing() || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, func(error) {}
	}
	return begin(ctx, t.tracer, name, about)
}

// Step begins a span for a part of the work on a call that is traced, and does
// nothing for other calls. The caller ends it with the function returned.
func Step(ctx context.Context, name string, about ...slog.Attr) (context.Context, func(error)) {
	around := trace.SpanFromContext(ctx)
	if !around.IsRecording() {
		return ctx, func(error) {}
	}
	return begin(ctx, around.TracerProvider().Tracer(scope), name, about)
}

func begin(ctx context.Context, tracer trace.Tracer, name string, about []slog.Attr) (context.Context, func(error)) {
	ctx, span := tracer.Start(ctx, name, trace.WithAttributes(attributesOf(about)...))
	return ctx, func(err error) {
		ended(span, err)
		span.End()
	}
}

// span begins the span of a call.
func (t *Telemetry) span(ctx context.Context, method string, kind trace.SpanKind) (context.Context, trace.Span) {
	name := strings.TrimPrefix(method, "/")
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	if span.IsRecording() {
		service, short, _ := strings.Cut(name, "/")
		span.SetAttributes(attribute.String(spanSystem, "grpc"), attribute.String(spanService, service), attribute.String(spanMethod, short))
	}
	return ctx, span
}

// ended says on a span how it ended. As OpenTelemetry has it for gRPC, a caller
// who was told no has not met an error of the server; but whoever reads a trace
// of a command wants to see what failed, so everything but OK is one here.
func ended(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	said := status.Convert(err)
	span.SetAttributes(attribute.Int64(spanCode, int64(said.Code())))
	if said.Code() != codes.OK {
		span.SetStatus(otelcodes.Error, said.Message())
	}
}

// attributesOf returns log attributes as those of a span, with angz's prefix.
func attributesOf(attrs []slog.Attr) []attribute.KeyValue {
	all := make([]attribute.KeyValue, len(attrs))
	for i, attr := range attrs {
		all[i] = attribute.String(spanOwn+attr.Key, attr.Value.String())
		if attr.Value.Kind() == slog.KindUint64 {
			all[i] = attribute.Int64(spanOwn+attr.Key, int64(attr.Value.Uint64()))
		}
	}
	return all
}
