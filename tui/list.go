package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

func widthOf(text string) int { return ansi.StringWidth(text) }

// list is a cursor in something that is longer than the screen.
type list struct {
	cursor, top int
}

// move acts on the keys that move a cursor, and reports whether it was one of
// them.
func (l *list) move(did action, length, height int) bool {
	switch did {
	case "up":
		l.cursor--
	case "down":
		l.cursor++
	case "page-up":
		l.cursor -= max(1, height-1)
	case "page-down":
		l.cursor += max(1, height-1)
	case "first":
		l.cursor = 0
	case "last":
		l.cursor = length - 1
	default:
		return false
	}
	l.keep(length)
	return true
}

// keep keeps the cursor within a length.
func (l *list) keep(length int) { l.cursor = max(0, min(l.cursor, length-1)) }

// window returns which lines are shown: those around the cursor.
func (l *list) window(length, height int) (from, to int) {
	l.keep(length)
	switch {
	case l.cursor < l.top:
		l.top = l.cursor
	case l.cursor >= l.top+height:
		l.top = l.cursor - height + 1
	}
	l.top = max(0, min(l.top, length-height))
	return l.top, min(length, l.top+height)
}

// column pads lines to a height and a width.
func column(lines []string, width, height int) []string {
	made := make([]string, height)
	for i := range made {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		made[i] = fit(line, width)
	}
	return made
}

// beside joins columns of the same height with a rule between.
func (s styles) beside(columns ...[]string) []string {
	made := make([]string, len(columns[0]))
	rule := s.rule.Render("│")
	for i := range made {
		var parts []string
		for _, each := range columns {
			parts = append(parts, each[i])
		}
		made[i] = strings.Join(parts, rule)
	}
	return made
}

// ansiStrip takes the colours off, for a line that is drawn in others.
func ansiStrip(text string) string { return ansi.Strip(text) }
