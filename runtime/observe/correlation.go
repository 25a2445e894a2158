package observe

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// correlation is what a request belongs to, which may turn out only after it has
// begun: lines that are logged around it know it all the same.
type correlation struct{ id atomic.Pointer[string] }

type correlationKey struct{}

// Correlate returns a context whose log lines carry a correlation id, those of
// the request's door included. An empty id changes nothing.
func Correlate(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	if around, ok := ctx.Value(correlationKey{}).(*correlation); ok {
		if around.id.CompareAndSwap(nil, &id) || *around.id.Load() == id {
			return ctx
		}
	}
	own := &correlation{}
	own.id.Store(&id)
	return context.WithValue(ctx, correlationKey{}, own)
}

// uncorrelated returns a context for a request of which nothing is known yet.
func uncorrelated(ctx context.Context) context.Context {
	return context.WithValue(ctx, correlationKey{}, &correlation{})
}

// correlationOf returns the correlation id of a context, or "".
func correlationOf(ctx context.Context) string {
	if found, ok := ctx.Value(correlationKey{}).(*correlation); ok {
		if id := found.id.Load(); id != nil {
			return *id
		}
	}
	return ""
}

// joined returns what joins a line to a workflow and its trace, unless the line
// says it itself.
func joined(ctx context.Context, record slog.Record) []slog.Attr {
	if ctx == nil {
		return nil
	}
	id, span := correlationOf(ctx), trace.SpanContextFromContext(ctx)
	if id == "" && !span.HasTraceID() {
		return nil
	}
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == KeyCorrelation {
			id = ""
		}
		return id != ""
	})
	var attrs []slog.Attr
	if id != "" {
		attrs = append(attrs, slog.String(KeyCorrelation, id))
	}
	if span.HasTraceID() {
		attrs = append(attrs, slog.String(KeyTrace, span.TraceID().String()))
	}
	return attrs
}

// ShortCorrelation returns a correlation id where there is little room: of one
// that angz made, a UUID, the first eight digits, and others as they are, unless
// they are long. Wherever people see it, it is shortened in the same way.
func ShortCorrelation(id string) string {
	const digits, longest = 8, 24
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		return id[:digits]
	}
	if len(id) > longest {
		return strings.ToValidUTF8(id[:longest], "") + "…"
	}
	return id
}
