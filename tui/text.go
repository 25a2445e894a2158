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

// mostShown bounds how much of a payload is laid out. Nobody reads more, and what
// does is exported.
const mostShown = 64 << 10 // bytes

// pretty lays out JSON, a line for each part, and says when it is cut off.
func pretty(raw json.RawMessage) (lines []string) {
	if len(raw) > mostShown {
		return append(wrapped(clean(string(raw[:mostShown])), 200), fmt.Sprintf("… %d bytes more: x exports all of it", len(raw)-mostShown))
	}
	var laid bytes.Buffer
	if json.Indent(&laid, raw, "", "  ") != nil {
		return []string{clean(string(raw))}
	}
	for line := range strings.SplitSeq(laid.String(), "\n") {
		lines = append(lines, clean(line))
	}
	return lines
}

// wrapped cuts a text into lines of some bytes, between characters.
func wrapped(text string, width int) (lines []string) {
	for len(text) > width {
		cut := width
		for cut > 0 && !isStart(text[cut]) {
			cut--
		}
		lines, text = append(lines, text[:cut]), text[cut:]
	}
	return append(lines, text)
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
