package tui

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// onlyASCII reports whether a terminal says that it knows no UTF-8. One that says
// nothing is taken to know it, as nearly all do.
func onlyASCII(environ []string) bool {
	said := map[string]string{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		said[name] = value
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(said[name]); locale != "" {
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return false
}

// standIns are what is drawn for the program's own signs in such a terminal. What
// has none, in names and payloads of others, becomes question marks.
var standIns = map[string]string{
	"│": "|", "─": "-", "├": "+", "└": "+", "▶": ">", "▸": ">", "→": ">", "←": "<", "…": "~", "·": "-", "–": "-", "×": "x", "█": "#", "░": ".", "µ": "u",
}

// inASCII draws a line, colours and all, in ASCII and as wide as it was.
func inASCII(line string) string {
	var drawn strings.Builder
	state := byte(0)
	for len(line) > 0 {
		part, width, size, next := ansi.DecodeSequence(line, state, nil)
		line, state = line[size:], next
		first, _ := utf8.DecodeRuneInString(part)
		instead, known := standIns[part]
		switch {
		case width == 0 || first < utf8.RuneSelf && len(part) == 1:
			drawn.WriteString(asciiOnly(part))
		case known:
			drawn.WriteString(instead)
		default:
			drawn.WriteString(strings.Repeat("?", width))
		}
	}
	return drawn.String()
}

// asciiOnly leaves out what has no width and is no ASCII.
func asciiOnly(part string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return -1
		}
		return r
	}, part)
}
