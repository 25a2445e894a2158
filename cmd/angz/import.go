package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect/dump"
)

// importOptions are the flags of "angz import".
type importOptions struct {
	archived archived
	output   outputFormat
	request  dump.ImportRequest
}

func newImportCommand(s streams) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Store what \"angz export\" wrote",
		Long: "Store the events of FILE, \"-\" for standard input, as they were: no service decides anything\n" +
			"anew. Projectors see the events and build their read models. Sagas see them too and repeat\n" +
			"their commands, whose ids are known, so that nothing is done twice.\n\n" +
			"The whole file is looked at first, and with anything wrong in it nothing is stored. A store\n" +
			"that is not empty is refused unless --merge is given: what is there already is passed over\n" +
			"then, so that it may be repeated, and what is there otherwise is a conflict.\n\n" +
			"Works on the running angz dev, or the system at --address, or, when the project does not\n" +
			"run, on its store itself.",
		Example: "  angz import backup.jsonl\n" +
			"  angz import --dry-run backup.jsonl\n" +
			"  angz import --merge monday.jsonl\n" +
			"  gunzip -c backup.jsonl.gz | angz import -",
		Args: between(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args[0]) },
	}
	o.archived.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.request.Merge, "merge", false, "add to a store that is not empty")
	flags.BoolVar(&o.request.DryRun, "dry-run", false, "store nothing, only say what would become of it")
	flags.BoolVar(&o.request.SkipConflicts, "skip-conflicts", false, "leave out aggregates with conflicts, instead of storing nothing")
	flags.BoolVar(&o.request.History, "history", false, "let sagas take all of it as done; only while the system does not run")
	flags.BoolVar(&o.request.Partial, "partial", false, "accept a file whose end is missing")
	return cmd
}

func (o *importOptions) run(cmd *cobra.Command, s streams, path string) (err error) {
	from, err := openSource(s.in, path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := o.archived.open(cmd.Context(), s, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	bar := newProgressBar(s, "importing")
	defer bar.done()
	o.request.From, o.request.Types, o.request.Name = from, to.types, path
	if path == "-" {
		o.request.Name = "standard input"
	}
	o.request.Progress = func(looked, stored uint64) { bar.show(from.half(looked, stored), 2000) }
	imported, err := dump.Import(cmd.Context(), to.conn, o.request)
	bar.done()
	if problems := (dump.Problems)(nil); errors.As(err, &problems) {
		return o.refused(cmd.Context(), s, imported, problems)
	}
	if err != nil {
		return explain(err, to.address)
	}
	return o.print(s, imported)
}

// refused says what is wrong and what has become of the rest.
func (o *importOptions) refused(_ context.Context, s streams, imported dump.Imported, problems dump.Problems) error {
	fmt.Fprintln(s.err, printableLines(problems.Error()))
	if err := o.print(s, imported); err != nil {
		return err
	}
	if o.request.DryRun || imported.Books == 0 || !o.request.SkipConflicts {
		return refusal{fmt.Errorf("%s; nothing was stored", plural(uint64(len(problems)), "mistake", "mistakes"))}
	}
	return refusal{fmt.Errorf("%s, whose aggregates were left out", plural(uint64(len(problems)), "mistake", "mistakes"))}
}

// importedDocument is what became of an import.
type importedDocument struct {
	dump.Counts
	Skipped  uint64            `json:"skipped" doc:"how many commands were passed over because they were there already"`
	LeftOut  uint64            `json:"left_out_aggregates" doc:"how many aggregates were left out because of conflicts, with --skip-conflicts"`
	DryRun   bool              `json:"dry_run" doc:"whether nothing was stored, because of --dry-run"`
	Problems []problemDocument `json:"problems" doc:"everything that is wrong with the file; with any, and without --skip-conflicts, nothing was stored"`
}

type problemDocument struct {
	File    string `json:"file" doc:"the file, as it was named in the call"`
	Line    uint64 `json:"line" doc:"the line in it, from 1; 0 when the whole file is meant"`
	Message string `json:"message" doc:"what is wrong, and what to do"`
}

func (o *importOptions) print(s streams, imported dump.Imported) error {
	if o.output.forPrograms() {
		document := importedDocument{Counts: imported.Counts, Skipped: imported.Skipped, LeftOut: imported.LeftOut, DryRun: o.request.DryRun, Problems: []problemDocument{}}
		for _, problem := range imported.Problems {
			document.Problems = append(document.Problems, problemDocument(*problem))
		}
		return o.output.write(s.out, document)
	}
	if len(imported.Problems) > 0 && (o.request.DryRun || !o.request.SkipConflicts) {
		return nil
	}
	verb := "imported"
	if o.request.DryRun {
		verb = "would import"
	}
	text := verb + " " + countsText(imported.Counts)
	if imported.Skipped > 0 {
		text += fmt.Sprintf("; %s there already", plural(imported.Skipped, "command was", "commands were"))
	}
	if imported.LeftOut > 0 {
		text += fmt.Sprintf("; %s left out", plural(imported.LeftOut, "aggregate", "aggregates"))
	}
	_, err := fmt.Fprintln(s.out, text)
	return err
}

// source is a file that is imported, and how much of it has been read.
type source struct {
	io.ReadCloser
	size, read uint64 // size is 0 when it is not known
}

// openSource opens the file to import; "-" is standard input.
func openSource(in io.Reader, path string) (*source, error) {
	if path == "-" {
		return &source{ReadCloser: io.NopCloser(in)}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, usageError{err}
	}
	if info.IsDir() {
		return nil, usagef("%s is a folder, expected a file that angz export wrote", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, usageError{err}
	}
	return &source{ReadCloser: file, size: uint64(max(info.Size(), 0))}, nil
}

// Read implements io.Reader.
func (s *source) Read(into []byte) (int, error) {
	n, err := s.ReadCloser.Read(into)
	s.read += uint64(n)
	return n, err
}

// half returns how far an import is, in parts of two thousand: the first half is
// for looking, the second for storing.
func (s *source) half(looked, stored uint64) uint64 {
	switch {
	case stored > 0 && looked > 0:
		return 1000 + 1000*stored/looked
	case s.size > 0:
		return 1000 * s.read / s.size
	}
	return 0
}
