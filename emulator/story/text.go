package story

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/angz-dev/angz/runtime/observe"
)

// Style says how a story is written.
type Style struct {
	Color bool
	// Width is how many columns a line may have; zero is any number. A longer line
	// goes on, indented, on the next one.
	Width int
}

// The colours of words, as a terminal is told of them.
const (
	red    = "31"
	yellow = "33"
	dim    = "2"
	bold   = "1"
)

// word is a piece of text in one colour.
type word struct{ text, color string }

// part is what stands between two arrows.
type part []word

func (p *part) add(color, text string) { *p = append(*p, word{text, color}) }

func (p part) width() (columns int) {
	for _, word := range p {
		columns += utf8.RuneCountInString(word.text)
	}
	return columns
}

// Text returns the story for people, without a newline at its end. It is one line
// when each command had at most one consequence, and it fits; else the commands
// of sagas have lines of their own below, indented by how far they are from the
// beginning. Nothing in it moves a terminal's cursor.
func (s Story) Text(style Style) string {
	lines := s.lines()
	var text strings.Builder
	for i, line := range lines {
		if i > 0 {
			text.WriteByte('\n')
		}
		line.write(&text, style)
	}
	return text.String()
}

// line is parts with arrows between them.
type line struct {
	indent int
	parts  []part
	end    part // what stands at the end, without an arrow
}

const arrow = " → "

func (l line) write(to *strings.Builder, style Style) {
	column := l.indent
	to.WriteString(strings.Repeat(" ", l.indent))
	for i, p := range l.parts {
		needs := p.width()
		if i > 0 {
			needs += utf8.RuneCountInString(arrow)
			if style.Width > 0 && column+needs > style.Width {
				indent := l.indent + 2
				to.WriteString("\n" + strings.Repeat(" ", indent))
				to.WriteString(arrow[1:])
				column = indent - 1
			} else {
				to.WriteString(arrow)
			}
		}
		p.write(to, style)
		column += needs
	}
	if len(l.end) > 0 {
		to.WriteString("  ")
		l.end.write(to, style)
	}
}

func (l line) text() string {
	var text strings.Builder
	l.write(&text, Style{})
	return text.String()
}

func (p part) write(to *strings.Builder, style Style) {
	for _, word := range p {
		if style.Color && word.color != "" {
			to.WriteString("\x1b[" + word.color + "m" + word.text + "\x1b[0m")
			continue
		}
		to.WriteString(word.text)
	}
}

// lines returns the story in lines that are not broken yet.
func (s Story) lines() []line {
	first := line{parts: s.Command.parts(), end: s.end()}
	if chain, ok := s.Command.chain(); ok {
		first.parts = append(first.parts, chain...)
		return []line{first}
	}
	lines := append([]line{first}, s.Command.below(2)...)
	if s.Left > 0 {
		lines = append(lines, line{indent: 2, parts: []part{{{fmt.Sprintf("… and %d more commands", s.Left), dim}}}})
	}
	return lines
}

// end says what holds for the whole story.
func (s Story) end() (end part) {
	switch {
	case !s.Settled:
		end.add(yellow, "not settled after "+length(s.Took))
	case s.Again:
		end.add("", "settled after "+length(s.Took))
	}
	if s.Correlation != "" {
		if len(end) > 0 {
			end.add("", "  ")
		}
		end.add(dim, "corr="+clean(observe.ShortCorrelation(s.Correlation)))
	}
	return end
}

// chain returns what follows the command when it is a single chain; false when it
// branches.
func (c *Command) chain() ([]part, bool) {
	var only *Command
	for _, follower := range c.Followers {
		for _, command := range follower.Commands {
			if only != nil {
				return nil, false
			}
			only = command
		}
	}
	if only == nil {
		return nil, true
	}
	rest, ok := only.chain()
	return append(only.parts(), rest...), ok
}

// below returns the lines of the commands that the command's sagas sent.
func (c *Command) below(indent int) (lines []line) {
	for _, follower := range c.Followers {
		for _, command := range follower.Commands {
			parts := append([]part{{{clean(follower.Name), ""}}}, command.parts()...)
			lines = append(lines, line{indent: indent, parts: parts})
			lines = append(lines, command.below(indent+2)...)
		}
	}
	return lines
}

// parts returns the command, its events, and those who follow them.
func (c *Command) parts() []part {
	var subject part
	if c.Undoes {
		subject.add("", "undo: ")
	}
	subject.add("", clean(strings.TrimSpace(c.Domain+" "+c.ID)))
	if !c.Undoes || c.Type != "RevokeEventCommand" {
		subject.add(bold, clean(prefixed(" ", c.Type)))
	}
	parts := []part{subject}
	switch c.Outcome {
	case Rejected:
		parts[0].add(red, " ✗ "+clean(c.Reason)+bracketed(c.Code))
		parts[0].add(dim, " "+length(c.Took))
	case Unchanged:
		parts = append(parts, part{{"nothing to store", ""}, {" " + length(c.Took), dim}})
	case Duplicate:
		parts = append(parts, part{{"done before as " + c.events(), ""}, {" " + length(c.Took), dim}})
	case Earlier:
		parts = append(parts, part{{c.events(), ""}, {" earlier", dim}})
	default:
		parts = append(parts, part{{c.events(), ""}, {" " + length(c.Took), dim}})
	}
	if c.Waited >= worthSaying {
		parts[len(parts)-1].add(yellow, " (waited "+length(c.Waited)+" for its service)")
	}
	if followers := c.followers(); len(followers) > 0 {
		parts = append(parts, followers)
	}
	return parts
}

// worthSaying is the shortest wait for a service that is told.
const worthSaying = 50 * time.Millisecond

// events names the command's events, those of one type in a row as one.
func (c *Command) events() string {
	const shown = 4
	var names []string
	for i := 0; i < len(c.Events); {
		n := 1
		for i+n < len(c.Events) && c.Events[i+n].Type == c.Events[i].Type {
			n++
		}
		if len(names) == shown {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(c.Events)-i+c.More)
		}
		name := fmt.Sprintf("%s #%d", clean(c.Events[i].Type), c.Events[i].Sequence)
		if n > 1 {
			name += fmt.Sprintf("…%d", c.Events[i+n-1].Sequence)
		}
		names = append(names, name)
		i += n
	}
	switch {
	case len(names) == 0:
		return "an event"
	case c.More > 0:
		return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", c.More)
	}
	return strings.Join(names, ", ")
}

// followers names those who follow, the sagas that sent commands last, so that
// the arrow after them leads on.
func (c *Command) followers() (all part) {
	ordered := slices.Clone(c.Followers)
	slices.SortStableFunc(ordered, func(a, b *Follower) int { return min(len(a.Commands), 1) - min(len(b.Commands), 1) })
	for i, follower := range ordered {
		if i > 0 {
			all.add("", ", ")
		}
		follower.write(&all)
	}
	return all
}

func (f *Follower) write(to *part) {
	to.add("", clean(f.Name))
	switch f.State {
	case Pending:
		to.add(yellow, " pending")
		return
	case Blocked:
		to.add(red, " ✗ "+clean(f.Reason))
		return
	case Failing:
		to.add(red, " ✗ "+clean(f.Reason)+", trying again")
	case Parked:
		to.add(red, " ✗ dead letter: "+clean(f.Reason))
	case Done:
		to.add(dim, " "+length(f.own()))
		if f.Reason != "" {
			to.add(red, " ✗ dead letter: "+clean(f.Reason))
		}
	}
	if f.Attempts > 1 {
		to.add(yellow, fmt.Sprintf(" (attempt %d)", f.Attempts))
	}
	if f.Waited >= worthSaying {
		to.add(yellow, " (waited "+length(f.Waited)+" for its service)")
	}
}

// own is the time that the follower itself took: what its commands took is said
// of them.
func (f *Follower) own() time.Duration {
	own := f.Took
	for _, command := range f.Commands {
		own -= command.Took
	}
	return max(own, 0)
}

// length returns a duration as people read it.
func length(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func bracketed(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// clean keeps what somebody else said from breaking the line or moving the
// cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
}
