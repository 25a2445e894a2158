package journal

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// parseLogfmt understands lines of key=value pairs that say a level and a
// message, as slog's text handler and logrus write them.
func (e *Entry) parseLogfmt(at time.Time) bool {
	if !strings.Contains(e.Raw, "level=") && !strings.Contains(e.Raw, "lvl=") || !strings.Contains(e.Raw, "msg=") {
		return false
	}
	read := reading{Entry: &Entry{Time: e.Time, Name: e.Name, Raw: e.Raw}, at: at}
	for rest := strings.TrimSpace(plainText(e.Raw)); rest != ""; {
		key, value, after, ok := pair(rest)
		if !ok {
			return false
		}
		rest = strings.TrimLeft(after, " ")
		lower := strings.ToLower(key)
		switch {
		case lower == "msg":
			read.Text, read.rank = value, 1
		case timeKeys[lower] && read.timed(nil, value, true):
		case levelKeys[lower] && read.graded(nil, value, true):
		case correlationKeys[lower] && read.Correlation == "":
			read.Correlation = value
		default:
			read.add(Field{Key: key, Value: value})
		}
	}
	if !read.Leveled || read.rank == 0 {
		return false
	}
	*e = *read.Entry
	return true
}

// pair cuts a first key=value off a text.
func pair(text string) (key, value, rest string, ok bool) {
	i := strings.IndexAny(text, "= \"")
	if i <= 0 || text[i] != '=' {
		return "", "", "", false
	}
	key, rest = text[:i], text[i+1:]
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", "", "", false
		}
		value, err = strconv.Unquote(quoted)
		return key, value, rest[len(quoted):], err == nil
	}
	value, rest, _ = strings.Cut(rest, " ")
	return key, value, rest, true
}

// beginnings of lines that say by themselves how grave they are.
var beginnings = []struct {
	text  string
	level slog.Level
}{
	{"panic: ", LevelFatal}, {"fatal error: ", LevelFatal}, {"fatal: ", LevelFatal}, {"thread '", slog.LevelError}, {"Traceback (most recent call last)", slog.LevelError},
	{"Exception in thread", slog.LevelError}, {"Unhandled exception", slog.LevelError}, {"Uncaught ", slog.LevelError},
	{"Error: ", slog.LevelError}, {"error: ", slog.LevelError}, {"error[", slog.LevelError}, {"ERROR: ", slog.LevelError},
	{"warning: ", slog.LevelWarn}, {"Warning: ", slog.LevelWarn}, {"warn: ", slog.LevelWarn}, {"npm ERR!", slog.LevelError}, {"npm error", slog.LevelError}, {"npm warn", slog.LevelWarn},
	{"info: ", slog.LevelInfo}, {"debug: ", slog.LevelDebug}, {"dbug: ", slog.LevelDebug}, {"fail: ", slog.LevelError}, {"crit: ", LevelFatal},
}

// parsePlain looks for a moment and a level where loggers for people put them: at
// the beginning of the line. What is understood is taken out of the text.
func (e *Entry) parsePlain(at time.Time) {
	line := plainText(e.Raw)
	e.Text = line
	for _, beginning := range beginnings {
		if strings.HasPrefix(line, beginning.text) && beginning.text != "ERROR: " {
			e.leveled(beginning.level)
			return
		}
	}
	if e.parseKlog(line, at) {
		return
	}
	head := heading{entry: e, at: at}
	head.read(line)
}

// parseKlog understands what begins as in E1028 12:34:56.789012.
func (e *Entry) parseKlog(line string, at time.Time) bool {
	const shape = "E1028 12:34:56.789012"
	if len(line) < len(shape) || line[5] != ' ' {
		return false
	}
	letter := strings.IndexByte("IWEF", line[0])
	day, err := time.ParseInLocation("0102 15:04:05.000000", line[1:len(shape)], at.Location())
	if letter < 0 || err != nil {
		return false
	}
	e.leveled([]slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelFatal}[letter])
	e.says(day.AddDate(at.Year(), 0, 0), at)
	e.Text = strings.TrimLeft(line[len(shape):], " ")
	return true
}

// mostWords at the beginning of a line are looked at.
const mostWords = 7

// heading is the beginning of a line while it is read.
type heading struct {
	entry *Entry
	at    time.Time
	kept  []string // words that are neither moment nor level
	loose bool     // one of them is not in brackets
	timed bool
	open  bool // a bracket around what was taken out is still open
}

func (h *heading) read(line string) {
	rest, text := line, line
	for range mostWords {
		word, after, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
		taken, left := h.take(word, after)
		if !taken {
			if !h.goesOn(word) {
				break
			}
			h.kept, rest = append(h.kept, word), after
			continue
		}
		rest = h.withoutDivider(left)
		text = strings.Join(append(h.kept, strings.TrimLeft(rest, " \t")), " ")
		if h.timed && h.entry.Leveled {
			break
		}
	}
	if h.timed || h.entry.Leveled { // else it is shown with the space that it begins with
		if h.open && !strings.HasPrefix(text, "[") {
			text = "[" + text
		}
		h.entry.Text = text
	}
}

// goesOn reports whether a level may come behind a word that says nothing: behind
// what is in brackets, and, in a line that began with a moment, behind a name.
func (h *heading) goesOn(word string) bool {
	if len(word) > 2 && word[0] == '[' && word[len(word)-1] == ']' {
		return true
	}
	h.loose = true
	return word != "" && h.timed && !h.entry.Leveled
}

// take takes a word, or two that are a date and a time, if they say when or how
// grave.
func (h *heading) take(word, after string) (taken bool, rest string) {
	if !h.timed {
		if rest, ok := h.takeMoment(word, after); ok {
			h.timed = true
			return true, rest
		}
	}
	if h.entry.Leveled {
		return false, ""
	}
	level, rest, ok := levelWord(word, after, len(h.kept) > 0)
	// Behind a name a level stands between dividers; else it is a word of the text.
	if !ok || h.loose && h.withoutDivider(rest) == rest {
		return false, ""
	}
	h.entry.leveled(level)
	return true, rest
}

func (h *heading) takeMoment(word, after string) (rest string, ok bool) {
	open := strings.HasPrefix(word, "[")
	text, closed := strings.TrimPrefix(word, "["), false
	try := func(text string) bool {
		closed = strings.HasSuffix(text, "]")
		text = strings.TrimRight(text, "]:|")
		at, ok := moment(strings.Replace(text, ",", ".", 1), h.at)
		if ok {
			h.entry.says(at, h.at)
		}
		return ok
	}
	if second, further, _ := strings.Cut(after, " "); len(text) == len("2006-01-02") && len(second) > 0 {
		// gunicorn writes a zone as a third word.
		if zone, beyond, found := strings.Cut(further, " "); found && (strings.HasPrefix(zone, "+") || strings.HasPrefix(zone, "-") && len(zone) > 1) && try(text+" "+second+" "+zone) {
			h.open = open && !closed
			return beyond, true
		}
		if try(text + " " + second) {
			h.open = open && !closed
			return further, true
		}
	}
	if try(text) {
		h.open = open && !closed
		return after, true
	}
	return "", false
}

// levelWord reads a word that is a level: in brackets in any letters, else in
// capitals, as a sentence would not begin with it. Behind other words it may stand
// where it must be alone.
func levelWord(word, after string, behind bool) (level slog.Level, rest string, ok bool) {
	if first, message, found := strings.Cut(word, ":"); found && !behind && message != "" {
		// Python's WARNING:root:something.
		if level, ok := levelOf(first); ok && strings.ToUpper(first) == first {
			return level, strings.TrimRight(message+" "+after, " "), true
		}
	}
	bare := strings.Trim(word, "[]()<>:|,")
	level, ok = levelOf(bare)
	if !ok || word == bare && strings.ToUpper(bare) != bare {
		return 0, "", false
	}
	if strings.ToUpper(bare) != bare && word[0] != '[' && word[0] != '<' && word[0] != '(' {
		return 0, "", false
	}
	return level, after, true
}

// withoutDivider takes off what stands between the parts of a heading.
func (h *heading) withoutDivider(rest string) string {
	trimmed := strings.TrimLeft(rest, " \t")
	for _, divider := range []string{"- ", "| ", ": "} {
		if after, found := strings.CutPrefix(trimmed, divider); found {
			return after
		}
	}
	return rest
}
