package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxShown bounds how many mistakes are printed: a file that is not a
// configuration at all has one in every line.
const maxShown = 50

// Errors is every mistake of a configuration. Nothing of the configuration may
// be used. Secret values appear neither in it nor in its text.
type Errors struct {
	List []*Error // those of the file first, in its order
}

// Error returns all mistakes, one below the other.
func (e *Errors) Error() string {
	var text strings.Builder
	for i, mistake := range e.List {
		if i == maxShown {
			fmt.Fprintf(&text, "\nand %d more", len(e.List)-maxShown)
			break
		}
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(mistake.Error())
	}
	return text.String()
}

// Error is one mistake.
type Error struct {
	File         string // the file as it is to be shown; empty if the mistake is in none
	Line, Column int    // from 1, counted in characters; 0 if the whole file is meant
	Origin       string // where a value came from that is not in the file, such as a variable
	Message      string // what was found, what was expected, and what to do
	Excerpt      string // the line, and below it a caret; empty if there is none
}

// Error returns the place, the message and the line it is about.
func (e *Error) Error() string {
	var text strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&text, "%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.File != "":
		fmt.Fprintf(&text, "%s: ", e.File)
	case e.Origin != "":
		fmt.Fprintf(&text, "%s: ", e.Origin)
	}
	text.WriteString(e.Message)
	if e.Excerpt != "" {
		text.WriteByte('\n')
		text.WriteString(e.Excerpt)
	}
	return text.String()
}

// inOrder sorts mistakes by their place in the file; those of other origins
// follow in the order they were found.
func inOrder(mistakes []*Error) {
	slices.SortStableFunc(mistakes, func(a, b *Error) int {
		if (a.Line > 0) != (b.Line > 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// complaint says what is wrong with a value, wherever it came from.
type complaint struct {
	found    string
	expected string
	hint     string // what to do, if that is not plain from the rest
}

func (c *complaint) message() string {
	text := "found " + c.found + ", expected " + c.expected
	if c.hint != "" {
		text += "; " + c.hint
	}
	return text
}

// quoted returns text from outside as it may be printed, cut where it is long.
func quoted(text string) string {
	const most = 60
	text = maskCredentials(text) // before a cut takes away what shows them to be such
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

// oneOf lists words as a person would say them, the first of them if they are
// very many.
func oneOf(words []string) string {
	const most = 20
	if len(words) > most {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" or one of %d more", len(words)-most)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
