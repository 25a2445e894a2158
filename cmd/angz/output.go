package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/runtime/book"
)

// outputFormat is the value of --output.
type outputFormat string

const (
	outputText outputFormat = "text"
	outputJSON outputFormat = "json"
	outputYAML outputFormat = "yaml"
)

// register adds --output to a command that prints data.
func (o *outputFormat) register(cmd *cobra.Command) {
	*o = outputText
	cmd.Flags().VarP(o, "output", "o", "how to print: text, or json or yaml for other programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// Set implements pflag.Value.
func (o *outputFormat) Set(text string) error {
	switch format := outputFormat(text); format {
	case outputText, outputJSON, outputYAML:
		*o = format
		return nil
	}
	return fmt.Errorf("found %q, expected text, json or yaml", text)
}

// forPrograms reports whether documents are to be printed instead of text.
func (o outputFormat) forPrograms() bool { return o != outputText }

// write prints one document: on one line, or as a document of YAML.
func (o outputFormat) write(out io.Writer, document any) error {
	if o == outputYAML {
		return writeYAML(out, document)
	}
	return writeJSON(out, document)
}

// String implements pflag.Value.
func (o *outputFormat) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *outputFormat) Type() string { return "format" }

// painter writes terminal colours, or nothing where they are not wanted.
type painter bool

// newPainter looks at who reads: a terminal of a person that has not set NO_COLOR.
func newPainter(w io.Writer, environ []string) painter {
	file, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(file.Fd()) {
		return false
	}
	return painter(!slices.ContainsFunc(environ, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	}))
}

func (p painter) paint(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// dim paints what is beside the point.
func (p painter) dim(text string) string { return p.paint("2", text) }

// eventType paints the short name of an event's type by what it says, in the
// colours of the log role.
func (p painter) eventType(typeName string) string {
	short := printable(book.ShortName(typeName))
	for _, family := range []struct{ ending, code string }{
		{"Created", "32"}, {"Completed", "36"}, {"Cancelled", "31"}, {"Failed", "31"}, {"Added", "33"}, {"Applied", "33"},
	} {
		if strings.HasSuffix(short, family.ending) {
			return p.paint(family.code, short)
		}
	}
	return p.paint("34", short)
}

// printable replaces what could make a terminal do things: text in events comes
// from anybody.
func printable(text string) string { return cleanse(text, "") }

// printableLines is printable for messages, which may have several lines.
func printableLines(text string) string { return cleanse(text, "\n\t") }

func cleanse(text, allowed string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(allowed, r) }
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
