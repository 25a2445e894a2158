package journal

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// mostFields are read of one line, and deepest is how many objects may lie in
	// each other before one is shown as it is.
	mostFields, deepest = 100, 3
)

// The keys that say the same in one dialect or another, in small letters.
var (
	timeKeys = map[string]bool{
		"time": true, "timestamp": true, "ts": true, "@timestamp": true, "t": true, "datetime": true, "asctime": true, "@t": true, "date": true, "timemillis": true,
	}
	levelKeys = map[string]bool{
		"level": true, "lvl": true, "severity": true, "levelname": true, "log.level": true, "@l": true, "loglevel": true, "log_level": true, "severitytext": true,
		"severity_text": true, "level_name": true,
	}
	// Of several messages the one with the greatest rank is the text.
	messageKeys = map[string]int{
		"msg": 9, "message": 8, "short_message": 7, "@m": 6, "@mt": 5, "event": 4, "text": 3, "textpayload": 3, "body": 2, "log": 1,
	}
	correlationKeys = map[string]bool{"correlation_id": true, "correlationid": true, "correlation-id": true, "x-correlation-id": true, "correlation": true}
	traceKeys       = map[string]bool{"trace_id": true, "traceid": true, "trace.id": true, "dd.trace_id": true}
)

// reading is a JSON line while it is read.
type reading struct {
	*Entry
	at   time.Time
	rank int  // of the message that has been found
	time bool // a time was there
}

// parseJSON understands a line that is an object of JSON, of any of the usual
// loggers. It reports false, and has done nothing, for every other line, and for
// an object that is no log line.
func (e *Entry) parseJSON(line []byte, at time.Time) bool {
	line = bytes.TrimSpace(line)
	if len(line) < 2 || line[0] != '{' || !json.Valid(line) {
		return false
	}
	read := reading{Entry: &Entry{Time: e.Time, Name: e.Name, Raw: e.Raw}, at: at}
	read.object("", line, 0)
	if read.rank == 0 && !read.Leveled && !read.time {
		return false
	}
	*e = *read.Entry
	return true
}

// object reads the members of an object that is valid JSON. Their keys follow
// the prefix.
func (r *reading) object(prefix string, object []byte, depth int) {
	members(object, func(key string, value []byte) {
		full := prefix + key
		if value[0] == '{' && depth < deepest && len(value) > 2 {
			switch {
			// tracing-subscriber puts everything that was said into fields, and
			// Elastic's schema the level into log.
			case prefix == "" && key == "fields":
				r.object("", value, depth+1)
			default:
				r.object(full+".", value, depth+1)
			}
			return
		}
		r.member(full, value)
	})
}

// member reads one member whose value is no object that is looked into.
func (r *reading) member(key string, value []byte) {
	lower := strings.ToLower(key)
	text, isText := textOf(value)
	switch rank, isMessage := messageKeys[lower]; {
	case isMessage && rank > r.rank && isText:
		if r.rank > 0 {
			// What was taken for the message before is something else.
			r.add(Field{Key: "event", Value: r.Text})
		}
		r.rank, r.Text = rank, text
		return
	case timeKeys[lower] && !r.time && r.timed(value, text, isText):
		return
	case levelKeys[lower] && !r.Leveled && r.graded(value, text, isText):
		return
	case correlationKeys[lower] && isText && r.Correlation == "":
		r.Correlation = text
		return
	case traceKeys[lower] && isText && r.Trace == "":
		r.Trace = text
	}
	if isText {
		r.add(Field{Key: key, Value: text})
		return
	}
	r.add(Field{Key: key, Value: compact(value), JSON: true})
}

func (r *reading) add(field Field) {
	if len(r.Fields) < mostFields {
		r.Fields = append(r.Fields, field)
	}
}

// timed reads the moment of a line: text, or a number of seconds, milliseconds,
// microseconds or nanoseconds.
func (r *reading) timed(value []byte, text string, isText bool) bool {
	if isText {
		// Python writes a comma where others write a point.
		at, ok := moment(strings.Replace(text, ",", ".", 1), r.at)
		if ok {
			r.time = true
			r.says(at, r.at)
		}
		return ok
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || seconds <= 0 || math.IsInf(seconds, 0) {
		return false
	}
	for seconds > 1e11 {
		seconds /= 1000
	}
	r.time = true
	r.says(time.UnixMicro(int64(seconds*1e6)), r.at)
	return true
}

// graded reads the level of a line: a word, or a number as Bunyan and Pino have
// it, 10 to 60, or as syslog has it, 0 to 7.
func (r *reading) graded(value []byte, text string, isText bool) bool {
	if isText {
		level, ok := levelOf(text)
		if ok {
			r.leveled(level)
			return true
		}
		value = []byte(text)
	}
	number, err := strconv.Atoi(string(value))
	if err != nil {
		return false
	}
	switch {
	case number < 0 || number > 99:
		return false
	case number < 8:
		r.leveled([]slog.Level{LevelFatal, LevelFatal, LevelFatal, slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelInfo, slog.LevelDebug}[number])
	case number < 20:
		r.leveled(LevelTrace)
	case number < 30:
		r.leveled(slog.LevelDebug)
	case number < 40:
		r.leveled(slog.LevelInfo)
	case number < 50:
		r.leveled(slog.LevelWarn)
	case number < 60:
		r.leveled(slog.LevelError)
	default:
		r.leveled(LevelFatal)
	}
	return true
}

// members calls each for the members of an object that is valid JSON.
func members(object []byte, each func(key string, value []byte)) {
	for i := 1; ; {
		i = skip(object, i, " \t\r\n,")
		if object[i] != '"' {
			return // the end
		}
		end := valueEnd(object, i)
		key, _ := textOf(object[i:end])
		i = skip(object, end, " \t\r\n:")
		end = valueEnd(object, i)
		each(key, object[i:end])
		i = end
	}
}

func skip(text []byte, i int, what string) int {
	for strings.IndexByte(what, text[i]) >= 0 {
		i++
	}
	return i
}

// valueEnd returns where the value ends that begins at i, in valid JSON.
func valueEnd(text []byte, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			// A number or a word ends before what cannot be part of it.
			if depth == 0 && strings.IndexByte(",}] \t\r\n:", text[i+1]) >= 0 {
				return i + 1
			}
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// textOf returns the text that a JSON value is; false if it is none.
func textOf(value []byte) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return strings.ToValidUTF8(string(inner), "\uFFFD"), true
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err == nil
}

// compact returns a value without needless space.
func compact(value []byte) string {
	var short bytes.Buffer
	if json.Compact(&short, value) != nil {
		return string(value)
	}
	return strings.ToValidUTF8(short.String(), "\uFFFD")
}
