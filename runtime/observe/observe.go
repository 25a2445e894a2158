// Package observe is how the program says what it does: one logger, whose form
// suits whoever reads it, one way to choose how much is said, and one list of
// the keys under which things are logged, so that a search for one of them
// finds every line about it.
package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// The keys of log attributes. The same thing has the same key everywhere.
const (
	KeyTarget      = "target"         // the part of the program, as ANGZARR_LOG names it
	KeyComponent   = "component"      // the name of a projector or saga
	KeyDomain      = "domain"         // the domain of an aggregate
	KeyRoot        = "root"           // the root of an aggregate
	KeySequence    = "sequence"       // the number of an event in its aggregate
	KeyPosition    = "position"       // the place of an event in the whole log
	KeyCorrelation = "correlation_id" // what joins the events of a workflow
	KeyTrace       = "trace_id"       // the trace that OpenTelemetry knows a command by
	KeyMethod      = "method"         // the full name of a gRPC method
	KeyCode        = "code"           // the gRPC code of an answer
	KeyAddress     = "address"        // where something listens or is reached
	KeyDuration    = "duration"       // how long something took; duration_ms in JSON
	KeyAttempt     = "attempt"        // which try this is, from 1
	KeyError       = "error"          // why something failed
)

// LevelTrace is below slog's levels: every step of everything.
const LevelTrace = slog.LevelDebug - 4

// root is the target of all that this program logs.
const root = "angzarr"

// Options says what a logger writes, where and how.
type Options struct {
	Writer     io.Writer
	Format     string // "text", "json", or "" for text on a terminal and JSON elsewhere
	Directives string // what is logged, in the language of ANGZARR_LOG; "" means info
	Terminal   bool   // whether Writer is a terminal
	Color      bool   // whether text is coloured
}

// New returns a logger, which many goroutines may use. It fails only when the
// format or the directives are wrong.
func New(options Options) (*slog.Logger, error) {
	rules, err := parseDirectives(options.Directives)
	if err != nil {
		return nil, err
	}
	form := options.Format
	if form == "" && options.Terminal {
		form = "text"
	}
	var sink slog.Handler
	switch form {
	case "text":
		sink = newText(options.Writer, options.Color)
	case "json", "":
		sink = newJSON(options.Writer)
	default:
		return nil, fmt.Errorf("log format: found %q, expected text or json", form)
	}
	return slog.New(&handler{sink: sink, rules: rules, target: root, least: rules.least(root)}), nil
}

// Component returns the logger of one part of the program. Its name is what
// directives choose it by: "aggregate" is heeded by angzarr=debug and by
// angzarr.aggregate=debug. Without a logger it returns one that says nothing.
func Component(logger *slog.Logger, name string) *slog.Logger {
	if logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	ours, ok := logger.Handler().(*handler)
	if !ok {
		return logger.With(KeyTarget, root+"."+name)
	}
	part := *ours
	part.target = root + "." + name
	part.least = part.rules.least(part.target)
	return slog.New(&part)
}

// handler decides by its target what is logged, and leaves the writing to sink.
type handler struct {
	sink   slog.Handler
	rules  directives
	target string
	least  slog.Level
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	about := joined(ctx, record)
	if text, ok := h.sink.(*text); ok {
		if len(about) > 0 {
			record = record.Clone()
			record.AddAttrs(about...)
		}
		return text.write(h.target, record)
	}
	record = record.Clone()
	record.AddAttrs(about...)
	record.AddAttrs(slog.String(KeyTarget, h.target))
	return h.sink.Handle(ctx, record)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.sink = h.sink.WithAttrs(attrs)
	return &with
}

func (h *handler) WithGroup(name string) slog.Handler {
	with := *h
	with.sink = h.sink.WithGroup(name)
	return &with
}
