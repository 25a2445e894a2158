package observe

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// The headers of W3C's Trace Context, which are metadata of gRPC and headers of
// AMQP by the same names.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

// TraceParent returns the W3C traceparent of the span in a context, empty when
// there is none. It is what a store keeps beside events, and a broker beside
// messages, for whoever continues the work later and elsewhere. It is returned
// for a trace that was not sampled as well: otherwise whoever continues would
// begin a trace in the middle.
func TraceParent(ctx context.Context) string {
	return traceParent(trace.SpanContextFromContext(ctx))
}

func traceParent(span trace.SpanContext) string {
	if !span.IsValid() {
		return ""
	}
	id, parent := span.TraceID(), span.SpanID()
	text := make([]byte, 0, 55)
	text = append(text, "00-"...)
	text = appendHex(text, id[:])
	text = append(text, '-')
	text = appendHex(text, parent[:])
	if span.IsSampled() {
		return string(append(text, "-01"...))
	}
	return string(append(text, "-00"...))
}

func appendHex(text, from []byte) []byte {
	const digits = "0123456789abcdef"
	for _, b := range from {
		text = append(text, digits[b>>4], digits[b&15])
	}
	return text
}

// WithTraceParent returns a context in which work goes on that another process,
// or this one at another time, began: what is traced in it are children of the
// span that traceparent names. Children and not links, because a reader of the
// trace wants to see a command with all that it caused, however late. An empty or
// malformed traceparent returns the context without any span, so that the work of
// one book is never taken for another's.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	bare := ctx
	if trace.SpanContextFromContext(ctx).IsValid() {
		bare = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	if traceparent == "" {
		return bare
	}
	return propagation.TraceContext{}.Extract(bare, carrier{parent: traceparent})
}

// Continue returns a context in which the work on events goes on. A context that
// is in their trace already, because a caller waits, keeps its own span, and so
// does one of events without a trace; else it is WithTraceParent.
func Continue(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	began := WithTraceParent(ctx, traceparent)
	if trace.SpanContextFromContext(began).TraceID() == trace.SpanContextFromContext(ctx).TraceID() {
		return ctx
	}
	return began
}

// carrier is what came with a request.
type carrier struct{ parent, state string }

func (c carrier) Get(key string) string {
	switch key {
	case headerTraceParent:
		return c.parent
	case headerTraceState:
		return c.state
	}
	return ""
}

// Set does nothing: a carrier is only read.
func (carrier) Set(string, string) {}

func (carrier) Keys() []string { return []string{headerTraceParent, headerTraceState} }

// received returns the context of a request with the span that its caller says
// it belongs to. Without one the span that is there already stays: inside a
// process a caller and its handler share a context.
func received(ctx context.Context) context.Context {
	parents := metadata.ValueFromIncomingContext(ctx, headerTraceParent)
	if len(parents) != 1 {
		return ctx // none, or nobody knows which
	}
	from := carrier{parent: parents[0]}
	if states := metadata.ValueFromIncomingContext(ctx, headerTraceState); len(states) == 1 {
		from.state = states[0]
	}
	return propagation.TraceContext{}.Extract(ctx, from)
}

// sent returns the context of a call that tells the callee which span it belongs
// to.
func sent(ctx context.Context) context.Context {
	span := trace.SpanContextFromContext(ctx)
	parent := traceParent(span)
	if parent == "" {
		return ctx
	}
	if state := span.TraceState().String(); state != "" {
		return metadata.AppendToOutgoingContext(ctx, headerTraceParent, parent, headerTraceState, state)
	}
	return metadata.AppendToOutgoingContext(ctx, headerTraceParent, parent)
}
