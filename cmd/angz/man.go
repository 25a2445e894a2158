package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCommand makes manual pages of what the commands say about themselves.
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
				page, err := manPage(cmd.Root())
				if err != nil {
					return err
				}
				_, err = s.out.Write(page)
				return err
			}
			count, err := writeManPages(cmd.Root(), args[0])
			if err == nil {
				fmt.Fprintf(s.err, "%d pages written to %s\n", count, printable(args[0]))
			}
			return err
		},
	}
}

// writeManPages writes the pages of a command and those below it.
func writeManPages(cmd *cobra.Command, dir string) (count int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, fmt.Errorf("write the manual pages: %w", err)
	}
	page, err := manPage(cmd)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"), page, 0o644)
	}
	if err != nil {
		return 0, fmt.Errorf("write the manual pages: %w", err)
	}
	count = 1
	for _, child := range cmd.Commands() {
		if !child.IsAvailableCommand() {
			continue
		}
		below, err := writeManPages(child, dir)
		count += below
		if err != nil {
			return count, err
		}
	}
	return count, nil
}

// manPage returns the page of a command, in the language of man.
func manPage(cmd *cobra.Command) ([]byte, error) {
	b := thisBuild()
	made, err := time.Parse(time.RFC3339, b.Time)
	if err != nil {
		made = time.Unix(0, 0).UTC() // the same sources make the same pages
	}
	cmd.DisableAutoGenTag = true
	var page bytes.Buffer
	title := strings.ToUpper(strings.ReplaceAll(cmd.CommandPath(), " ", "-"))
	header := &doc.GenManHeader{Title: title, Section: "1", Date: &made, Source: "angz " + b.Version, Manual: "angz manual"}
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return nil, fmt.Errorf("make the manual page of %s: %w", cmd.CommandPath(), err)
	}
	return withSections(page.Bytes())
}

// sections are what every page says beside what the command does.
const sections = `.SH EXIT STATUS
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
Every key of the configuration has a variable, such as \fBANGZARR_GATEWAY__PORT\fP.
.SH FILES
.TP
\fBangz.yaml\fP
The project, in the working folder or above it.
.TP
\fB\&.angz/\fP
What angz keeps of a project, beside angz.yaml: events, logs.
`

// withSections puts the sections before the one that names other pages, which
// comes last.
func withSections(page []byte) ([]byte, error) {
	const last = ".SH SEE ALSO"
	before, after, found := bytes.Cut(page, []byte(last))
	if !found {
		return append(bytes.TrimRight(page, "\n"), []byte("\n"+sections)...), nil
	}
	if bytes.Contains(after, []byte(".SH ")) {
		return nil, errors.New("the manual page does not end with SEE ALSO")
	}
	return bytes.Join([][]byte{bytes.TrimRight(before, "\n"), []byte("\n" + sections + last), after}, nil), nil
}
