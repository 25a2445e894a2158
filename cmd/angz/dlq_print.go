package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/angz-dev/angz/inspect"
)

// tableFormat is the value of --output of commands that print tables.
type tableFormat string

const (
	outputTable     tableFormat = "table"
	outputTableJSON tableFormat = "json"
	outputTableYAML tableFormat = "yaml"
)

func (f *tableFormat) register(cmd *cobra.Command) {
	*f = outputTable
	cmd.Flags().VarP(f, "output", "o", "how to print: table, or json or yaml for other programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// Set implements pflag.Value.
func (f *tableFormat) Set(text string) error {
	switch format := tableFormat(text); format {
	case outputTable, outputTableJSON, outputTableYAML:
		*f = format
		return nil
	}
	return fmt.Errorf("found %q, expected table, json or yaml", text)
}

// String implements pflag.Value.
func (f *tableFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *tableFormat) Type() string { return "format" }

// letterDocument is one dead letter.
type letterDocument struct {
	Component     string `json:"component" doc:"who could not handle the events, in full, such as projector/receipt"`
	Position      uint64 `json:"position" doc:"the place of the last of the events in the log; with component it names the dead letter"`
	State         string `json:"state" doc:"what has been decided: parked is nothing yet, retry is to be handled again, resolved is handled at last, skipped is given up" enum:"parked|retry|resolved|skipped"`
	Domain        string `json:"domain" doc:"the domain of the aggregate"`
	AggregateID   string `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root          string `json:"root" doc:"the aggregate's root, a UUID"`
	Sequence      uint32 `json:"sequence" doc:"the number of the first of the events in its aggregate, from 0"`
	Count         uint32 `json:"count" doc:"how many events it stands for: those of one command"`
	Type          string `json:"type,omitempty" doc:"the full name of the message of the first event; absent when it is not in the store any more"`
	CorrelationID string `json:"correlation_id,omitempty" doc:"what joins everything that one request caused; absent where there is none"`
	Attempts      uint32 `json:"attempts" doc:"how often the component was called with the events; 0 for those that wait behind an earlier dead letter"`
	Reason        string `json:"reason" doc:"what the component answered, or why the events wait"`
	FirstAt       string `json:"first_at,omitempty" doc:"when it first failed, RFC 3339 in UTC" format:"date-time"`
	LastAt        string `json:"last_at,omitempty" doc:"when it last failed, RFC 3339 in UTC" format:"date-time"`
	Note          string `json:"note,omitempty" doc:"who has decided what, when and why; absent when nobody has"`
}

func newLetterDocument(letter inspect.DeadLetter) letterDocument {
	document := letterDocument{
		Component: letter.Component, Position: letter.Position, State: string(letter.State), Domain: letter.Domain, AggregateID: letter.AggregateID,
		Root: letter.Root, Sequence: letter.Sequence, Count: letter.Count, Type: letter.Type, CorrelationID: letter.CorrelationID,
		Attempts: letter.Attempts, Reason: letter.Reason, FirstAt: timeText(letter.FirstAt), LastAt: timeText(letter.LastAt), Note: letter.Note,
	}
	return document
}

// shownLetterDocument is one dead letter with its events.
type shownLetterDocument struct {
	letterDocument
	Events []eventDocument `json:"events,omitempty" doc:"the events with their payloads; absent when they are not in the store any more"`
}

func newShownLetterDocument(letter inspect.DeadLetter) shownLetterDocument {
	document := shownLetterDocument{letterDocument: newLetterDocument(letter)}
	for _, event := range letter.Events {
		document.Events = append(document.Events, newEventDocument(event))
	}
	return document
}

// outcomeDocument is what became of a retried dead letter.
type outcomeDocument struct {
	letterDocument
	Outcome string          `json:"outcome,omitempty" doc:"what became of it, with --wait only" enum:"handled|failed"`
	Failed  *letterDocument `json:"failed_at,omitempty" doc:"the dead letter of the aggregate at which it stopped; absent when all was handled"`
}

func newOutcomeDocument(outcome inspect.Outcome) outcomeDocument {
	document := outcomeDocument{letterDocument: newLetterDocument(outcome.Retried), Outcome: "handled"}
	if outcome.Failed != nil {
		failed := newLetterDocument(*outcome.Failed)
		document.Outcome, document.Failed = "failed", &failed
	}
	return document
}

func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// writeDocuments prints a document for each thing: one line of JSON, or one
// document of YAML.
func writeDocuments[T, D any](out io.Writer, format tableFormat, things []T, document func(T) D) error {
	for _, thing := range things {
		if format == outputTableYAML {
			if err := writeYAML(out, document(thing)); err != nil {
				return err
			}
		} else if err := writeJSON(out, document(thing)); err != nil {
			return err
		}
	}
	return nil
}

// writeYAML prints one document with the names and the order of its JSON.
func writeYAML(out io.Writer, document any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	plain(&node)
	var block bytes.Buffer
	encoder := yaml.NewEncoder(&block)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = fmt.Fprintf(out, "---\n%s", &block)
	return err
}

// plain takes the braces and quotes of JSON off where YAML does without.
func plain(node *yaml.Node) {
	node.Style = 0
	for _, child := range node.Content {
		plain(child)
	}
}

// writeLetters prints a table of dead letters that is no wider than width, 0 for
// any width.
func writeLetters(out io.Writer, paint painter, width int, letters []inspect.DeadLetter, now time.Time) error {
	rows := [][]string{{"COMPONENT", "POSITION", "AGGREGATE", "EVENT", "TRIED", "STATE", "LAST", "REASON"}}
	for _, letter := range letters {
		rows = append(rows, []string{
			printable(letter.Component), fmt.Sprint(letter.Position), printable(letter.Domain + " " + letter.Name()), eventText(letter),
			triedText(letter), string(letter.State), agoText(letter.LastAt, now), printable(firstLine(letter.Reason)),
		})
	}
	return writeTable(out, paint, width, rows)
}

// eventText says which events a dead letter stands for, such as "3 OrderPaid".
func eventText(letter inspect.DeadLetter) string {
	text := fmt.Sprintf("%d %s", letter.Sequence, printable(letter.ShortType()))
	if letter.Count > 1 {
		text += fmt.Sprintf(" +%d", letter.Count-1)
	}
	return strings.TrimSpace(text)
}

func triedText(letter inspect.DeadLetter) string {
	if letter.Attempts == 0 {
		return "-"
	}
	return fmt.Sprint(letter.Attempts)
}

// agoText says how long ago something was, to the unit that matters.
func agoText(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	ago := now.Sub(at)
	switch {
	case ago < time.Second:
		return "now"
	case ago < time.Minute:
		return fmt.Sprintf("%ds", ago/time.Second)
	case ago < time.Hour:
		return fmt.Sprintf("%dm", ago/time.Minute)
	case ago < 48*time.Hour:
		return fmt.Sprintf("%dh", ago/time.Hour)
	}
	return fmt.Sprintf("%dd", ago/(24*time.Hour))
}

// widthOf returns how wide what is printed may be, 0 for any width: where nobody
// looks at a terminal, nothing is cut off.
func widthOf(out io.Writer, environ []string) int {
	file, ok := out.(*os.File)
	if !ok || !isatty.IsTerminal(file.Fd()) {
		return 0
	}
	if columns, err := strconv.Atoi(variable(environ, "COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	return terminalWidth(file.Fd())
}

func firstLine(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if rest != "" {
		line += " …"
	}
	return line
}

// writeTable prints rows, the first one as a heading, in columns as wide as what
// they hold. The last column takes what is left of the width, but is never
// narrower than a few words.
func writeTable(out io.Writer, paint painter, width int, rows [][]string) error {
	last := len(rows[0]) - 1
	widths := make([]int, last)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	const gap, least = 2, 20
	left := width
	for _, used := range widths {
		left -= used + gap
	}
	var text bytes.Buffer
	for i, row := range rows {
		var line strings.Builder
		for column, used := range widths {
			line.WriteString(row[column])
			line.WriteString(strings.Repeat(" ", used-utf8.RuneCountInString(row[column])+gap))
		}
		cell := row[last]
		if width > 0 {
			cell = shortened(cell, max(left, least))
		}
		line.WriteString(cell)
		if i == 0 {
			fmt.Fprintln(&text, paint.dim(line.String()))
			continue
		}
		fmt.Fprintln(&text, strings.TrimRight(line.String(), " "))
	}
	_, err := out.Write(text.Bytes())
	return err
}

// shortened returns text in so many characters at most.
func shortened(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// writeLetter prints one dead letter for a person.
func writeLetter(out io.Writer, paint painter, letter inspect.DeadLetter) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s  %s\n", printable(letter.Place()), letter.State)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "  %s %s\n", paint.dim(fmt.Sprintf("%-12s", name)), strings.ReplaceAll(printableLines(value), "\n", "\n"+strings.Repeat(" ", 15)))
		}
	}
	name := letter.Domain + " " + letter.Name()
	if letter.AggregateID != "" {
		name += " (" + letter.Root + ")"
	}
	line("aggregate", name)
	line("correlation", letter.CorrelationID)
	line("tried", triedSentence(letter))
	line("reason", letter.Reason)
	line("note", letter.Note)
	if len(letter.Events) == 0 {
		line("events", "are not in the store any more")
	}
	_, err := out.Write(text.Bytes())
	if err != nil {
		return err
	}
	printer := newEventPrinter(streams{out: out}, outputText, false)
	printer.paint = paint
	for _, event := range letter.Events {
		if err := printer.print(event); err != nil {
			return err
		}
	}
	return printer.Flush()
}

func triedSentence(letter inspect.DeadLetter) string {
	const layout = "2006-01-02T15:04:05Z"
	switch first, last := letter.FirstAt.UTC().Format(layout), letter.LastAt.UTC().Format(layout); {
	case letter.Attempts == 0:
		return "never, waits since " + first
	case letter.Attempts == 1:
		return "once, " + last
	case first == last:
		return fmt.Sprintf("%d times, %s", letter.Attempts, last)
	default:
		return fmt.Sprintf("%d times, first %s, last %s", letter.Attempts, first, last)
	}
}

// printDecided says of each dead letter what has been decided.
func (o *decidedLetters) printDecided(s streams, letters []inspect.DeadLetter, what string) error {
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, letters, newLetterDocument)
	}
	for _, letter := range letters {
		if err := printLetterLine(s.out, letter, what); err != nil {
			return err
		}
	}
	return nil
}

func (o *decidedLetters) printOutcome(s streams, outcome inspect.Outcome) error {
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, []inspect.Outcome{outcome}, newOutcomeDocument)
	}
	if outcome.Failed == nil {
		return printLetterLine(s.out, outcome.Retried, "handled")
	}
	return printLetterLine(s.out, *outcome.Failed, "failed again: "+firstLine(outcome.Failed.Reason))
}

func printLetterLine(out io.Writer, letter inspect.DeadLetter, what string) error {
	_, err := fmt.Fprintf(out, "%s  %s %s  %s\n", printable(letter.Place()), printable(letter.Domain), printable(letter.Name()), printable(what))
	return err
}
