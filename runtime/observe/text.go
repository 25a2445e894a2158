package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// timeForm is a moment to the millisecond, in UTC.
const timeForm = "2006-01-02T15:04:05.000Z"

// The colours of terminals.
const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	purple = "\x1b[35m"
)

// text writes lines for people: time, level, target, message, and the
// attributes as key=value.
type text struct {
	to    *output
	color bool
	given []byte // the attributes of With, as they are to be written
	group string // what stands before the keys that follow, with its dot
}

// output keeps lines whole.
type output struct {
	mu     sync.Mutex
	writer io.Writer
	lines  sync.Pool // of *[]byte
}

func newText(writer io.Writer, color bool) *text {
	to := &output{writer: writer, lines: sync.Pool{New: func() any { return new([]byte) }}}
	return &text{to: to, color: color}
}

func (t *text) Enabled(context.Context, slog.Level) bool { return true }

func (t *text) Handle(_ context.Context, record slog.Record) error { return t.write(root, record) }

// write writes one line with a single call of the writer. The line is made
// before, because values may do anything when they are asked for their text.
func (t *text) write(target string, record slog.Record) error {
	kept := t.to.lines.Get().(*[]byte)
	line := t.head((*kept)[:0], target, record)
	line = append(line, t.given...)
	record.Attrs(func(attr slog.Attr) bool {
		line = t.attribute(line, t.group, attr)
		return true
	})
	line = append(line, '\n')
	err := t.to.write(line)
	if cap(line) <= 64<<10 { // one huge line is not kept for ever
		*kept = line
		t.to.lines.Put(kept)
	}
	return err
}

func (o *output) write(line []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.writer.Write(line)
	return err
}

func (t *text) head(line []byte, target string, record slog.Record) []byte {
	if !record.Time.IsZero() {
		line = t.colored(line, dim, record.Time.UTC().Format(timeForm))
		line = append(line, ' ')
	}
	name := levelName(record.Level)
	line = append(line, "     "[len(name):]...)
	line = t.colored(line, colorOf(record.Level), name)
	line = append(line, ' ')
	line = t.colored(line, dim, target+":")
	line = append(line, ' ')
	return append(line, printable(record.Message)...)
}

func colorOf(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return purple
	case level < slog.LevelInfo:
		return blue
	case level < slog.LevelWarn:
		return green
	case level < slog.LevelError:
		return yellow
	}
	return red
}

func (t *text) colored(line []byte, color, words string) []byte {
	if !t.color {
		return append(line, words...)
	}
	line = append(line, color...)
	line = append(line, words...)
	return append(line, plain...)
}

// attribute writes one attribute, a group as each of its own.
func (t *text) attribute(line []byte, group string, attr slog.Attr) []byte {
	value := attr.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if attr.Key != "" {
			group += attr.Key + "."
		}
		for _, part := range value.Group() {
			line = t.attribute(line, group, part)
		}
		return line
	}
	if attr.Equal(slog.Attr{}) {
		return line // slog's rule: an empty attribute is none
	}
	line = append(line, ' ')
	line = t.colored(line, dim, printable(group+attr.Key)+"=")
	return append(line, quotedIfNeeded(textOf(value))...)
}

func textOf(value slog.Value) string {
	switch value.Kind() {
	case slog.KindTime:
		return value.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindAny:
		return fmt.Sprint(value.Any())
	}
	return value.String()
}

// quotedIfNeeded makes a value one word, so that it is plain where it ends.
func quotedIfNeeded(value string) string {
	if value == "" || strings.ContainsAny(value, " =\"") || !isPrintable(value) {
		return strconv.Quote(value)
	}
	return value
}

// printable keeps a text from breaking the line or moving the cursor.
func printable(text string) string {
	if isPrintable(text) {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func isPrintable(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) < 0
}

func (t *text) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *t
	with.given = slices.Clip(t.given)
	for _, attr := range attrs {
		with.given = t.attribute(with.given, t.group, attr)
	}
	return &with
}

func (t *text) WithGroup(name string) slog.Handler {
	with := *t
	if name != "" {
		with.group += name + "."
	}
	return &with
}
