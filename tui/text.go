package tui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// clean replaces what could make a terminal do things: text in events comes from
// anybody.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var safe strings.Builder
	for _, r := range text {
		if unprintable(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			safe.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		safe.WriteRune(r)
	}
	return safe.String()
}

// fit returns a text in exactly so many columns.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	if ansi.StringWidth(text) > width {
		text = ansi.Truncate(text, width, "…")
	}
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// mostShown bounds how much of a payload is kept and laid out. Nobody reads more,
// and what does is exported.
const mostShown = 64 << 10 // bytes

// trimmed keeps of JSON what can be shown, and says how much is missing.
func trimmed(raw json.RawMessage) json.RawMessage {
	if len(raw) <= mostShown {
		return raw
	}
	cut := mostShown
	for cut > 0 && !isStart(raw[cut]) {
		cut--
	}
	return fmt.Appendf(nil, "%s%s%d bytes more: angz events and x write all of it", raw[:cut], cutMark, len(raw)-cut)
}

// cutMark stands where JSON is cut off, and is nothing that JSON contains.
var cutMark = []byte("\n… ")

// pretty lays out JSON, a line for each part. JSON that is cut off, or none at all,
// is shown as far as it goes.
func pretty(raw json.RawMessage) (lines []string) {
	if !bytes.Contains(raw, cutMark) {
		raw = trimmed(raw)
	}
	raw, rest, cut := bytes.Cut(raw, cutMark)
	if cut {
		rest = append([]byte("… "), rest...)
	}
	for line := range strings.SplitSeq(laidOut(raw), "\n") {
		lines = append(lines, clean(line))
	}
	if cut {
		lines = append(lines, clean(string(rest)))
	}
	return lines
}

// deepest is how many levels are shown by their indent: what is nested deeper is
// hardly meant to be read.
const deepest = 20

// laidOut breaks JSON into lines. It is not the standard library's because that one
// gives up at the first mistake, and indents without end.
func laidOut(raw []byte) string {
	var out strings.Builder
	depth, inText, escaped := 0, false, false
	line := func(by int) {
		depth = max(0, depth+by)
		out.WriteString("\n" + strings.Repeat("  ", min(depth, deepest)))
	}
	for i, b := range raw {
		switch {
		case inText:
			out.WriteByte(b)
			inText = escaped || b != '"'
			escaped = b == '\\' && !escaped
		case b == ' ', b == '\t', b == '\n', b == '\r':
		case b == '}', b == ']':
			if !opens(raw[:i]) {
				line(-1)
			} else {
				depth--
			}
			out.WriteByte(b)
		default:
			out.WriteByte(b)
			inText = b == '"'
			switch {
			case (b == '{' || b == '[') && closes(raw[i+1:]):
				depth++
			case b == '{', b == '[':
				line(1)
			case b == ',':
				line(0)
			case b == ':':
				out.WriteByte(' ')
			}
		}
	}
	return out.String()
}

// opens and closes recognise something empty.
func opens(before []byte) bool {
	before = bytes.TrimRight(before, " \t\r\n")
	return len(before) > 0 && (before[len(before)-1] == '{' || before[len(before)-1] == '[')
}

func closes(after []byte) bool {
	after = bytes.TrimLeft(after, " \t\r\n")
	return len(after) > 0 && (after[0] == '}' || after[0] == ']')
}

// block paints laid out JSON in lines of a width: nothing is cut off at the right.
func (s styles) block(raw json.RawMessage, width int) (lines []string) {
	for _, line := range pretty(raw) {
		if widthOf(line) <= width {
			lines = append(lines, s.colored(line))
			continue
		}
		for i, piece := range strings.Split(ansi.Hardwrap(line, max(1, width), true), "\n") {
			if i == 0 {
				lines = append(lines, s.colored(piece))
			} else {
				lines = append(lines, s.text.Render(piece)) // only texts are this long
			}
		}
	}
	return lines
}

func isStart(b byte) bool { return b&0xc0 != 0x80 }

var jsonParts = regexp.MustCompile(`^(\s*)("(?:[^"\\]|\\.)*":)?(\s*)(.*?)(,?)$`)

// colored paints one line of laid out JSON.
func (s styles) colored(line string) string {
	parts := jsonParts.FindStringSubmatch(line)
	if parts == nil {
		return line
	}
	value := parts[4]
	switch {
	case value == "" || strings.ContainsAny(value[:1], "{}[]"):
	case value[0] == '"':
		value = s.text.Render(value)
	default:
		value = s.number.Render(value)
	}
	name := parts[2]
	if name != "" {
		name = s.name.Render(name)
	}
	return parts[1] + name + parts[3] + value + parts[5]
}

// ago says how long ago something was, to the unit that matters.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	switch past := now.Sub(at); {
	case past < time.Second:
		return "now"
	case past < time.Minute:
		return fmt.Sprintf("%ds", past/time.Second)
	case past < time.Hour:
		return fmt.Sprintf("%dm", past/time.Minute)
	case past < 48*time.Hour:
		return fmt.Sprintf("%dh", past/time.Hour)
	default:
		return fmt.Sprintf("%dd", past/(24*time.Hour))
	}
}

// count writes a number with its word.
func count[N int | uint32 | uint64](number N, what string) string {
	if number == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", number, what)
}

// short writes a number in few characters, such as 1.2M.
func short(number uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1_000_000_000, "G"}, {1_000_000, "M"}, {10_000, "k"}} {
		if number >= unit.size {
			by := unit.size
			if unit.name == "k" {
				by = 1000
			}
			return strings.Replace(fmt.Sprintf("%.1f%s", float64(number)/float64(by), unit.name), ".0", "", 1)
		}
	}
	return strconv.FormatUint(number, 10)
}

// took writes a duration in the unit that matters.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// quoted writes a word as a shell takes it.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("@%+=:,./_-", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
