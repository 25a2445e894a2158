package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManCommand makes manual pages of what the commands say about themselves.
// Cobra's own generator goes by way of Markdown, which takes signs of the texts for
// its own, and makes pages that man warns about.
func newManCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Print the manual page, or write the pages of all commands",
		Long: "Print the manual page angz(1) for the program man, or, with DIR, write it there together with\n" +
			"a page for each command, such as angz-send.1. DIR is made if need be. On Linux,\n" +
			"~/.local/share/man/man1 is a place where man looks.",
		Example: "  angz man | man -l -\n" +
			"  angz man ~/.local/share/man/man1 && man angz-send",
		Args: between(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprint(s.out, manPage(cmd.Root()))
				return err
			}
			count, err := writeManPages(cmd.Root(), args[0])
			if err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			fmt.Fprintf(s.err, "%d pages written to %s\n", count, printable(args[0]))
			return nil
		},
	}
}

// writeManPages writes the pages of a command and of those below it.
func writeManPages(cmd *cobra.Command, dir string) (count int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), []byte(manPage(cmd)), 0o644); err != nil {
		return 0, err
	}
	count = 1
	for _, child := range shownCommands(cmd) {
		below, err := writeManPages(child, dir)
		count += below
		if err != nil {
			return count, err
		}
	}
	return count, nil
}

// shownCommands returns the commands that belong to another one and are not hidden.
func shownCommands(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(child *cobra.Command) bool { return !child.IsAvailableCommand() })
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page is a manual page that is being written, in the language of man.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// roff writes text so that nothing in it is taken for an instruction.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// prose writes text whose lines were broken for a terminal: lines that are
// indented stay as they are.
func (p *page) prose(text string) {
	literal, first := false, true
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !literal:
			p.line(".PP\n.nf")
		case !indented && literal:
			p.line(".fi")
			first = false
		}
		literal = indented
		switch {
		case line == "":
			first = false
			continue
		case !indented && !first:
			p.line(".PP")
			first = true
		}
		p.line("%s", roff(line))
	}
	if literal {
		p.line(".fi")
	}
}

// manPage returns the page of a command.
func manPage(cmd *cobra.Command) string {
	b := thisBuild()
	made, err := time.Parse(time.RFC3339, b.Time)
	if err != nil {
		made = time.Unix(0, 0).UTC() // the same sources make the same pages
	}
	p := &page{}
	p.line(`.TH "%s" "1" "%s" "angz %s" "angz manual"`, roff(strings.ToUpper(manName(cmd))), made.Format(time.DateOnly), roff(b.Version))
	p.line(".SH NAME\n%s \\- %s", roff(manName(cmd)), roff(cmd.Short))
	p.line(".SH SYNOPSIS")
	if cmd.HasSubCommands() && !strings.Contains(cmd.Use, " ") {
		p.line("\\fB%s\\fP COMMAND [flags]", roff(cmd.CommandPath()))
	} else {
		p.line("\\fB%s\\fP%s [flags]", roff(cmd.CommandPath()), roff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	}
	p.line(".SH DESCRIPTION")
	p.prose(cmp.Or(cmd.Long, cmd.Short+"."))
	if children := shownCommands(cmd); len(children) > 0 {
		p.line(".SH COMMANDS")
		for _, child := range children {
			p.line(".TP\n\\fB%s\\fP(1)\n%s.", roff(manName(child)), roff(child.Short))
		}
	}
	p.flags(cmd)
	if cmd.Example != "" {
		p.line(".SH EXAMPLES\n.nf")
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			p.line("%s", roff(strings.TrimPrefix(line, "  ")))
		}
		p.line(".fi")
	}
	p.WriteString(manSections)
	p.related(cmd)
	return p.String()
}

// flags describes the flags of a command.
func (p *page) flags(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	p.line(".SH OPTIONS")
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		names := `\fB` + roff("--"+flag.Name) + `\fP`
		if flag.Shorthand != "" {
			names = `\fB` + roff("-"+flag.Shorthand) + `\fP, ` + names
		}
		if value != "" {
			names += ` \fI` + roff(value) + `\fP`
		}
		if !slices.Contains([]string{"", "false", "0", "0s", "[]"}, flag.DefValue) {
			usage += " (default: " + flag.DefValue + ")"
		}
		p.line(".TP\n%s\n%s", names, roff(usage))
	})
}

// related names the pages of the commands above a command and beside it.
func (p *page) related(cmd *cobra.Command) {
	if !cmd.HasParent() {
		return
	}
	var names []string
	for parent := cmd.Parent(); parent != nil; parent = parent.Parent() {
		names = append(names, manName(parent))
	}
	if cmd.Parent().HasParent() {
		for _, sister := range shownCommands(cmd.Parent()) {
			if sister != cmd {
				names = append(names, manName(sister))
			}
		}
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = `\fB` + roff(name) + `\fP(1)`
	}
	p.line(".SH SEE ALSO\n%s", strings.Join(names, ",\n"))
}

// manSections are what every page says beside what the command does.
const manSections = `.SH EXIT STATUS
.TP
\fB0\fP
Everything went well.
.TP
\fB1\fP
The system refused or could not.
.TP
\fB2\fP
Wrong usage or configuration: nothing was tried.
.SH ENVIRONMENT
.TP
\fBANGZARR_CONFIG\fP
The configuration file, where no flag names one.
.TP
\fBANGZARR_TOKEN\fP
The bearer token that shows a system who calls.
.TP
\fBNO_COLOR\fP
Anything in it turns colours off.
.PP
Every key of the configuration has a variable, such as
\fBANGZARR_GATEWAY__PORT\fP.
.SH FILES
.TP
\fBangz.yaml\fP
The project, in the working folder or above it.
.TP
\fB.angz/\fP
What angz keeps of a project, beside angz.yaml: events, logs.
`
