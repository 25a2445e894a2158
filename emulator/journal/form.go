package journal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/angz-dev/angz/runtime/observe"
)

const (
	// longestShown is how much of a line a console shows, in bytes.
	longestShown = 8 << 10
	// mostBelow are the lines of a stack trace that are shown.
	mostBelow = 40
)

// The colours of terminals.
const (
	plain = "\x1b[0m"
	dim   = "\x1b[2m"
)

// palette holds the colours of names: the bright and the plain ones that can be
// read on a dark and on a light background.
var palette = []string{"\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[32m", "\x1b[33m", "\x1b[96m", "\x1b[95m", "\x1b[94m", "\x1b[92m"}

// form says how a console shows lines. A copy may be used while names are added
// to another.
type form struct {
	color, json bool
	width       int // of the longest name
	names       map[string]string
}

// add gives a name its colour.
func (f *form) add(name string) {
	if _, known := f.names[name]; known {
		return
	}
	names := make(map[string]string, len(f.names)+1)
	for known, color := range f.names {
		names[known] = color
	}
	names[name] = palette[len(names)%len(palette)]
	f.names = names
	f.width = max(f.width, utf8.RuneCountInString(name))
}

// entry returns a line as it is shown, with its end. The text, if there is one, is
// shown instead.
func (f *form) entry(e *Entry, now time.Time, text string) []byte {
	if f.json {
		return f.asJSON(e)
	}
	prefix := f.prefix(e.Name)
	line := append(make([]byte, 0, len(prefix)+len(e.Raw)+64), prefix...)
	line = f.head(line, e, now)
	if text != "" {
		return f.written(line, prefix, text)
	}
	if e.Text == plainText(e.Raw) && len(e.Fields) == 0 {
		line = f.text(line, e.Raw) // with the colours that it came with
	} else {
		line = f.text(line, e.Text)
	}
	line = f.fields(line, e)
	line = append(line, '\n')
	return f.below(line, prefix, e)
}

func (f *form) prefix(name string) string {
	text := fmt.Sprintf("%-*s | ", f.width, clean(name))
	if !f.color {
		return text
	}
	color, known := f.names[name]
	if !known {
		color = dim
	}
	return color + text + plain
}

func (f *form) head(line []byte, e *Entry, now time.Time) []byte {
	line = f.colored(line, dim, e.Time.In(now.Location()).Format("15:04:05.000"))
	line = append(line, ' ')
	if !e.Leveled {
		return append(line, "      "...)
	}
	name := levelName(e.Level)
	line = f.colored(line, colorOf(e.Level), name)
	return append(line, "      "[len(name):]...)
}

func colorOf(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return "\x1b[35m"
	case level < slog.LevelInfo:
		return "\x1b[34m"
	case level < slog.LevelWarn:
		return "\x1b[32m"
	case level < slog.LevelError:
		return "\x1b[33m"
	}
	return "\x1b[31m"
}

func (f *form) colored(line []byte, color, text string) []byte {
	if !f.color {
		return append(line, text...)
	}
	line = append(line, color...)
	line = append(line, text...)
	return append(line, plain...)
}

// written adds a text of angz's own, each further line of it under the first.
func (f *form) written(line []byte, prefix, text string) []byte {
	first := true
	for part := range strings.Lines(text) {
		if !first {
			line = append(append(line, prefix...), "                   "...)
		}
		first = false
		line = append(f.text(line, strings.TrimRight(part, "\n")), '\n')
	}
	return line
}

// text adds a text that may hold anything. What could move the cursor is made
// visible; colours stay if there are to be any. Of what was overwritten by means
// of carriage returns only the last state is kept, as one would see it.
func (f *form) text(line []byte, text string) []byte {
	if i := strings.LastIndexByte(strings.TrimRight(text, "\r"), '\r'); i >= 0 {
		text = text[i+1:]
	}
	cut := 0
	if len(text) > longestShown {
		cut = len(text) - longestShown
		text = text[:longestShown]
	}
	colored := false
	for len(text) > 0 {
		if n := colorLength(text); n > 0 {
			if f.color {
				line, colored = append(line, text[:n]...), true
			}
			text = text[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		line = appendVisible(line, r, text[:size])
		text = text[size:]
	}
	if colored {
		line = append(line, plain...)
	}
	if cut > 0 {
		line = fmt.Appendf(line, " … (%d bytes more)", cut)
	}
	return line
}

func appendVisible(line []byte, r rune, text string) []byte {
	switch {
	case r == '\t' || r >= ' ' && r < 0x7f:
		return append(line, text...)
	case r == '\r':
		return line
	case r == '\n':
		return append(line, ' ')
	case r == utf8.RuneError || !unicode.IsPrint(r):
		return append(line, "\uFFFD"...)
	}
	return append(line, text...)
}

// noise are the keys that say nothing in the log of one developer's machine:
// which process, thread and host, and what the prefix says already.
var noise = map[string]bool{
	"pid": true, "hostname": true, "host": true, "v": true, "process": true, "processname": true, "process_name": true, "process.pid": true, "process.name": true,
	"process.thread.name": true, "process.thread.id": true, "thread": true, "threadname": true, "thread_name": true, "threadid": true, "taskname": true, "tid": true,
	"logger": true, "logger_name": true, "log.logger": true, "loggername": true, "name": true, "service": true, "service.name": true, "service_name": true,
	"target": true, "level_value": true, "levelno": true, "@version": true, "version": true, "ecs.version": true, "service.version": true, "created": true,
	"msecs": true, "relativecreated": true, "pathname": true, "module": true, "args": true, "host.name": true, "host.hostname": true, "severity_number": true,
	"severitynumber": true, "logging.googleapis.com/insertid": true, "trace_flags": true, "traceflags": true, "trace_id": true, "traceid": true, "span_id": true,
	"spanid": true, "trace.id": true, "span.id": true, "@i": true, "@r": true, "funcname": true, "event.dataset": true, "threadpriority": true, "loggerfqcn": true,
}

// stacks are the keys of what is shown below a line, when it is longer than one.
var stacks = map[string]bool{
	"stack": true, "stacktrace": true, "stack_trace": true, "exception": true, "exc_info": true, "exc_text": true, "traceback": true, "error.stack_trace": true,
	"err.stack": true, "error.stack": true, "exception.stacktrace": true, "@x": true, "thrown.extendedstacktrace": true,
}

func isBelow(field Field) bool {
	return stacks[strings.ToLower(field.Key)] && strings.Contains(field.Value, "\n")
}

func (f *form) fields(line []byte, e *Entry) []byte {
	for _, field := range e.Fields {
		// A line that says nothing else is shown with everything.
		if isBelow(field) || e.Text != "" && noise[strings.ToLower(field.Key)] || field.JSON && field.Value == "null" {
			continue
		}
		key, value := shortened(field)
		if key == "component" && strings.Contains(e.Text, value) {
			continue // the text is about it
		}
		if !field.JSON {
			value = quotedIfNeeded(value)
		}
		line = append(line, ' ')
		line = f.colored(line, dim, clean(key)+"=")
		line = f.text(line, value)
	}
	if e.Correlation != "" {
		line = append(line, "  "...)
		line = f.colored(line, dim, "corr="+clean(observe.ShortCorrelation(e.Correlation)))
	}
	return line
}

// shortened returns a field's key and value as people read them: milliseconds with
// many digits as a duration with few.
func shortened(field Field) (key, value string) {
	key, isTime := strings.CutSuffix(field.Key, "_ms")
	milliseconds, err := strconv.ParseFloat(field.Value, 64)
	if !isTime || err != nil || !(milliseconds >= 0 && milliseconds < 1e12) { // which NaN is not, either
		return field.Key, field.Value
	}
	took := time.Duration(milliseconds * float64(time.Millisecond))
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if took >= unit {
			took = took.Round(unit / 100)
			break
		}
	}
	return key, took.String()
}

// below adds the lines of stack traces.
func (f *form) below(line []byte, prefix string, e *Entry) []byte {
	for _, field := range e.Fields {
		if !isBelow(field) {
			continue
		}
		parts := strings.Split(strings.TrimRight(field.Value, "\n"), "\n")
		for i, part := range parts {
			line = append(append(line, prefix...), "                     "...)
			if i == mostBelow {
				line = fmt.Appendf(line, "… %d lines more\n", len(parts)-i)
				break
			}
			line = append(f.text(line, part), '\n')
		}
	}
	return line
}

// quotedIfNeeded makes a value one word, so that it is plain where it ends.
func quotedIfNeeded(value string) string {
	if value == "" || strings.ContainsAny(value, " =\"\t\n\r") {
		return strconv.Quote(value)
	}
	return value
}

// clean makes a short text harmless.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// asJSON returns the line for a program, in the form of angz's own lines.
func (f *form) asJSON(e *Entry) []byte {
	object := struct {
		Time        string          `json:"time"`
		Level       string          `json:"level"`
		Message     string          `json:"msg"`
		Component   string          `json:"component"`
		Correlation string          `json:"correlation_id,omitempty"`
		Fields      json.RawMessage `json:"fields,omitempty"`
	}{
		Time: e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), Level: levelName(e.Level), Message: e.Text, Component: e.Name,
		Correlation: e.Correlation, Fields: fieldsJSON(e.Fields),
	}
	line, err := json.Marshal(object)
	if err != nil { // a field that is no JSON, which cannot be
		object.Fields = nil
		line, _ = json.Marshal(object)
	}
	return append(line, '\n')
}

func fieldsJSON(fields []Field) json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	object := []byte{'{'}
	for i, field := range fields {
		if i > 0 {
			object = append(object, ',')
		}
		object = appendText(object, field.Key)
		object = append(object, ':')
		if field.JSON {
			object = append(object, field.Value...)
		} else {
			object = appendText(object, field.Value)
		}
	}
	return append(object, '}')
}

func appendText(object []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string always can be
	return append(object, quoted...)
}

// Line returns what the console would show of an entry after its time and level,
// without colours: its text, its fields as key=value, and its correlation.
func (e *Entry) Line() string {
	f := &form{}
	return string(f.fields(f.text(nil, e.Text), e))
}
