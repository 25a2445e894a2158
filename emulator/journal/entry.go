package journal

import (
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is one line, as far as it is understood.
type Entry struct {
	Time time.Time // as the line says, if that can be, else when it came
	Name string    // who said it
	// Level is Info for a line that does not say; Leveled tells the two apart.
	Level   slog.Level
	Leveled bool
	// Text is what the line says without what is in the other fields; the line
	// itself, without colours, if nothing in it is understood.
	Text   string
	Fields []Field // in the order of the line, parts of objects as a.b
	// Correlation and Trace join the line to others of the same workflow; empty if
	// it does not say.
	Correlation, Trace string
	Raw                string // the line itself
}

// Field is one thing that a line says besides its text.
type Field struct {
	Key   string
	Value string
	JSON  bool // Value is JSON, such as a number or a list, and no text
}

// parse understands a line that came at a moment. It never fails: what is not
// understood is text.
func parse(name string, at time.Time, line []byte) Entry {
	e := Entry{Time: at, Name: name, Raw: string(line)}
	if !e.parseJSON(line, at) && !e.parseLogfmt(at) {
		e.parsePlain(at)
	}
	return e
}

// says notes the moment that a line names, if it can be true: clocks of services
// that write no zone may be hours away, and what is shown would jump to and fro.
func (e *Entry) says(moment, came time.Time) {
	const longBuffered, ahead = 30 * time.Minute, time.Minute
	if moment.After(came.Add(-longBuffered)) && moment.Before(came.Add(ahead)) {
		e.Time = moment
	}
}

func (e *Entry) leveled(level slog.Level) { e.Level, e.Leveled = level, true }

// levels are the words for levels, in small letters.
var levels = map[string]slog.Level{
	"trace": LevelTrace, "trc": LevelTrace, "verbose": LevelTrace, "silly": LevelTrace, "finest": LevelTrace, "finer": LevelTrace,
	"debug": slog.LevelDebug, "dbg": slog.LevelDebug, "dbug": slog.LevelDebug, "debg": slog.LevelDebug, "fine": slog.LevelDebug,
	"info": slog.LevelInfo, "inf": slog.LevelInfo, "information": slog.LevelInfo, "notice": slog.LevelInfo, "log": slog.LevelInfo, "default": slog.LevelInfo,
	"warn": slog.LevelWarn, "warning": slog.LevelWarn, "wrn": slog.LevelWarn,
	"error": slog.LevelError, "err": slog.LevelError, "eror": slog.LevelError, "severe": slog.LevelError, "fail": slog.LevelError,
	"fatal": LevelFatal, "critical": LevelFatal, "crit": LevelFatal, "panic": LevelFatal, "dpanic": LevelFatal, "alert": LevelFatal,
	"emergency": LevelFatal, "emerg": LevelFatal, "ftl": LevelFatal,
}

// levelOf returns the level that a word names. What follows a sign, as slog
// writes levels between its own, is passed over.
func levelOf(word string) (slog.Level, bool) {
	const longest = 16
	if len(word) > longest {
		return 0, false
	}
	if i := strings.IndexAny(word, "+-"); i > 0 {
		word = word[:i]
	}
	level, ok := levels[strings.ToLower(word)]
	return level, ok
}

// levelName returns the word by which a level is shown.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return "TRACE"
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARN"
	case level < LevelFatal:
		return "ERROR"
	}
	return "FATAL"
}

// timeForms are how lines write moments, most of them first. Those without a zone
// are in the location of the clock.
var timeForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 Z0700", "2006-01-02 15:04:05.999999999Z0700", "2006/01/02 15:04:05.999999999",
}

// moment reads a moment as text.
func moment(text string, near time.Time) (time.Time, bool) {
	const shortest, longest = 8, 40
	if len(text) < shortest || len(text) > longest || text[0] < '0' || text[0] > '9' {
		return time.Time{}, false
	}
	for _, form := range timeForms {
		if at, err := time.ParseInLocation(form, text, near.Location()); err == nil {
			return at, true
		}
	}
	// A time of day alone is one of today, or of yesterday just after midnight.
	clock, err := time.ParseInLocation("15:04:05.999999999", text, near.Location())
	if err != nil {
		return time.Time{}, false
	}
	at := time.Date(near.Year(), near.Month(), near.Day(), clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), near.Location())
	if at.After(near.Add(12 * time.Hour)) {
		at = at.AddDate(0, 0, -1)
	}
	return at, true
}

// plainText returns a line as text: valid, and without what sets colours.
func plainText(line string) string {
	if !strings.Contains(line, "\x1b") {
		return strings.ToValidUTF8(line, "\uFFFD")
	}
	var text strings.Builder
	for len(line) > 0 {
		if n := colorLength(line); n > 0 {
			line = line[n:]
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		text.WriteString(line[:size])
		line = line[size:]
	}
	return strings.ToValidUTF8(text.String(), "\uFFFD")
}

// colorLength returns how long the sequence is that sets colours and begins the
// text, 0 if there is none.
func colorLength(text string) int {
	if len(text) < 3 || text[0] != '\x1b' || text[1] != '[' {
		return 0
	}
	for i := 2; i < len(text); i++ {
		switch b := text[i]; {
		case b == 'm':
			return i + 1
		case (b < '0' || b > '9') && b != ';' && b != ':':
			return 0
		}
	}
	return 0
}
