package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/doctor"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// doctorDocument is what "angz doctor --output json" prints. Like all documents,
// its fields are added to and never renamed.
type doctorDocument struct {
	OK       int               `json:"ok" doc:"how many findings are ok"`
	Warnings int               `json:"warnings" doc:"how many are warnings"`
	Problems int               `json:"problems" doc:"how many are problems; with any the exit code is 1"`
	Findings []findingDocument `json:"findings" doc:"everything that was looked at, in that order"`
}

type findingDocument struct {
	State string `json:"state" doc:"how it is" enum:"ok|warning|problem"`
	What  string `json:"what" doc:"what was looked at, in a word or two"`
	Text  string `json:"text" doc:"what was found, in a sentence"`
	Fix   string `json:"fix,omitempty" doc:"what to do; absent when there is nothing to do"`
	Look  string `json:"look,omitempty" doc:"a command that investigates further; absent where there is none"`
}

func newDoctorCommand(s streams) *cobra.Command {
	c := configured{role: asDev}
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "doctor [DIR]",
		Short: "Find out why something does not work, and what to do",
		Long: "Examine this machine, the project in DIR or around the working folder, and everything that\n" +
			"its configuration names: programs, ports, sockets, limits, room on the disk, the store and\n" +
			"its tables, the broker, certificates, services. Nothing is changed or started. Each line\n" +
			"says what to do, and ends with a command that investigates further. Without a project the\n" +
			"machine alone is examined.\n\n" +
			"By default it is looked at what angz dev needs; --role looks as a process of angz serve.\n" +
			"The exit code is 1 when there is a problem; warnings do not change it.",
		Example: "  angz doctor\n" +
			"  angz doctor examples/shop\n" +
			"  angz doctor --config /etc/angz/angz.yaml --role gateway\n" +
			"  angz doctor --output json | jq -r '.findings[] | select(.state == \"problem\") | .text'",
		Args: between(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return runDoctor(cmd, s, args, c, output) },
	}
	c.register(cmd)
	_ = cmd.Flags().Lookup("role").Value.Set(asDev)
	cmd.Flags().Lookup("role").DefValue = asDev
	output.register(cmd)
	return cmd
}

func runDoctor(cmd *cobra.Command, s streams, args []string, c configured, output outputFormat) error {
	if len(args) == 1 {
		if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
			return usagef("%s is not a folder; name the folder of a project\nusage: angz doctor [DIR]", args[0])
		}
		c.dir = args[0]
	}
	c.role = cmp.Or(c.role, asDev)
	loaded, err := c.load(s)
	if err != nil && !errors.As(err, new(*config.Errors)) {
		return err
	}
	b := thisBuild()
	built, _ := time.Parse(time.RFC3339, b.Time) // zero when it is not known
	dir, wrong := filepath.Abs(c.dir)
	if wrong != nil {
		return fmt.Errorf("find the working folder: %w", wrong)
	}
	findings := doctor.Examine(cmd.Context(), doctor.Options{
		Config: loaded, Mistakes: err, Dir: dir, Dev: c.role == asDev, Role: c.role, Name: c.name,
		Version: strings.TrimPrefix(b.String(), "angz "), Built: built,
	})
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	document := newDoctorDocument(findings)
	if output.forPrograms() {
		err = output.write(s.out, document)
	} else {
		err = writeFindings(s, document)
	}
	if err == nil && document.Problems > 0 {
		return exitCode(exitFailed)
	}
	return err
}

func newDoctorDocument(findings []doctor.Finding) doctorDocument {
	document := doctorDocument{Findings: []findingDocument{}}
	for _, f := range findings {
		document.Findings = append(document.Findings, findingDocument{string(f.State), f.What, f.Text, f.Fix, f.Look})
		switch f.State {
		case node.OK:
			document.OK++
		case node.Warning:
			document.Warnings++
		case node.Problem:
			document.Problems++
		}
	}
	return document
}

// writeFindings prints one line for each finding, and for one that wants something
// to be done what that is and where to look.
func writeFindings(s streams, document doctorDocument) error {
	paint := newPainter(s.out, s.environ)
	width := 0
	for _, f := range document.Findings {
		width = max(width, len([]rune(printable(f.What))))
	}
	colours := map[string]string{string(node.OK): "32", string(node.Warning): "33", string(node.Problem): "31"}
	for _, f := range document.Findings {
		state := paint.paint(colours[f.State], fmt.Sprintf("%-7s", f.State))
		what := printable(f.What)
		line := printableLines(f.Text)
		if f.Fix != "" {
			line += ": " + printableLines(f.Fix)
		}
		if f.Look != "" {
			line += paint.dim("  [" + printable(f.Look) + "]")
		}
		indent := strings.Repeat(" ", 7+2+width+2)
		line = strings.ReplaceAll(line, "\n", "\n"+indent)
		if _, err := fmt.Fprintf(s.out, "%s  %s%s  %s\n", state, what, strings.Repeat(" ", width-len([]rune(what))), line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "\n%s, %s, %d ok\n", counted(document.Problems, "problem"), counted(document.Warnings, "warning"), document.OK)
	return err
}

// counted says how many there are of something.
func counted(number int, what string) string {
	if number == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", number, what)
}
