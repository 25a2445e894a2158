// Package protocheck knows the rules about changes of messages. Events are kept
// for ever, and the code that reads them is made of today's .proto files: a
// change that reads yesterday's events as something else, or not at all, has to
// be found before anything is stored with it.
//
// DESIGN.md beside this file says what counts as a mistake and why.
package protocheck

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what follows from a finding.
type Severity string

// The severities: what must not stay so; what may be meant; what is only said.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Hint    Severity = "hint"
)

// Finding is one thing that is wrong with .proto files, or with what is stored.
type Finding struct {
	Rule     string   `json:"rule" doc:"the rule that finds it, such as field-type"`
	Severity Severity `json:"severity" doc:"what follows: with an error the exit code is 1" enum:"error|warning|hint"`
	// Name is the full name of what it is about: a message, field, enum or value.
	Name string `json:"name,omitempty" doc:"the full name of what it is about; absent where it is about a file"`
	// File is the path to the file, as it is seen from the project's folder or,
	// with a revision before it and a colon, as Git shows it. Line and Column
	// are counted from 1; 0 when it is about no place in a file.
	File   string `json:"file,omitempty" doc:"the file, seen from the project's folder, with the revision before it for one that was; absent where it is about none"`
	Line   int    `json:"line,omitempty" doc:"the line in the file, from 1; absent where it is about none"`
	Column int    `json:"column,omitempty" doc:"the column in the line, from 1; absent where it is about none"`
	Text   string `json:"text,omitempty" doc:"the line itself; absent where it is about none"`
	// Message says what was and what is, Effect what stored events read because
	// of it, Advice what to do instead.
	Message string `json:"message" doc:"what was and what is, in a sentence"`
	Effect  string `json:"effect,omitempty" doc:"what stored events read because of it; absent where they read the same"`
	Advice  string `json:"advice,omitempty" doc:"what to do instead; absent where there is nothing to advise"`
	// Types are the full names of the types of events and states that it
	// concerns, Events how many of them are stored as far as that is known.
	Types  []string `json:"types,omitempty" doc:"the full names of the stored types that it concerns; absent where there are none"`
	Events uint64   `json:"events,omitempty" doc:"how many stored events and snapshots it concerns; absent when none, or when no store was looked at"`

	number  int    // of the field or value; 0 for none
	message string // full name of the message that has the field
}

// String shows the finding in several lines: place, what is wrong, the line with
// a mark below the column, what follows and what to do.
func (f Finding) String() string {
	var text strings.Builder
	if f.File != "" {
		text.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&text, ":%d:%d", f.Line, f.Column)
		}
		text.WriteString(": ")
	}
	fmt.Fprintf(&text, "%s: %s [%s]", f.Severity, f.Message, f.Rule)
	if f.Line > 0 && f.Text != "" {
		margin := fmt.Sprintf("%5d | ", f.Line)
		mark := strings.Repeat(" ", len(margin)-2) + "| " + strings.Repeat(" ", max(0, min(f.Column, len(f.Text)+1)-1)) + "^"
		text.WriteString("\n" + margin + f.Text + "\n" + mark)
	}
	if f.Effect != "" {
		text.WriteString("\n        effect: " + f.Effect)
	}
	if f.Advice != "" {
		text.WriteString("\n        instead: " + f.Advice)
	}
	return text.String()
}

// Summary is the finding in one line.
func (f Finding) Summary() string {
	text := f.Message
	if f.Effect != "" {
		text += ": " + f.Effect
	}
	return text
}

// Key is the same for the same finding at two moments, whatever was inserted
// above it and however much is stored by now.
func (f Finding) Key() string {
	if f.Rule == "unreadable" { // the message says of how many
		return f.Rule + "\x00" + f.Name
	}
	return strings.Join([]string{f.Rule, f.Name, f.Message}, "\x00")
}

// sorted puts findings into the order of their places, each once.
func sorted(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(findings, func(a, b Finding) bool {
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Key() == b.Key()
	})
}

// Count returns how many findings have a severity.
func Count(findings []Finding, severity Severity) (n int) {
	for _, finding := range findings {
		if finding.Severity == severity {
			n++
		}
	}
	return n
}

// Broken says that .proto files cannot be compiled.
type Broken struct{ Findings []Finding }

func (e *Broken) Error() string {
	texts := make([]string, len(e.Findings))
	for i, finding := range e.Findings {
		texts[i] = finding.String()
	}
	return strings.Join(texts, "\n")
}
