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
	open, remove, err := source(s.in, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	to, err := o.archived.open(cmd.Context(), s, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	bar := newProgressBar(s, "importing")
	defer bar.done()
	o.request.Open, o.request.Types, o.request.Name = open.file(bar), to.types, path
	if path == "-" {
		o.request.Name = "standard input"
	}
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
	Skipped  uint64            `json:"skipped"`
	LeftOut  uint64            `json:"left_out_aggregates"`
	DryRun   bool              `json:"dry_run"`
	Problems []problemDocument `json:"problems"`
}

type problemDocument struct {
	File    string `json:"file"`
	Line    uint64 `json:"line"`
	Message string `json:"message"`
}

func (o *importOptions) print(s streams, imported dump.Imported) error {
	if o.output == outputJSON {
		document := importedDocument{Counts: imported.Counts, Skipped: imported.Skipped, LeftOut: imported.LeftOut, DryRun: o.request.DryRun, Problems: []problemDocument{}}
		for _, problem := range imported.Problems {
			document.Problems = append(document.Problems, problemDocument(*problem))
		}
		return writeJSON(s.out, document)
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

// sourceFile is a file that is read twice.
type sourceFile struct {
	path string
	size int64
}

// source returns the file to read. What is not a file, such as standard input, is
// copied into one first, which remove removes.
func source(in io.Reader, path string) (_ *sourceFile, remove func() error, err error) {
	remove = func() error { return nil }
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, usageError{err}
		}
		if info.IsDir() {
			return nil, nil, usagef("%s is a folder, expected a file that angz export wrote", path)
		}
		if info.Mode().IsRegular() {
			return &sourceFile{path, info.Size()}, remove, nil
		}
		pipe, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		defer pipe.Close()
		in = pipe
	}
	file, err := os.CreateTemp("", "angz-import-*.jsonl")
	if err != nil {
		return nil, nil, err
	}
	size, err := io.Copy(file, in)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read %s: %w", path, err), os.Remove(file.Name()))
	}
	return &sourceFile{file.Name(), size}, func() error { return os.Remove(file.Name()) }, nil
}

// file opens the file, and has the bar follow how far both readings of it are.
func (f *sourceFile) file(bar *progressBar) func() (io.ReadCloser, error) {
	read := uint64(0)
	return func() (io.ReadCloser, error) {
		file, err := os.Open(f.path)
		if err != nil {
			return nil, err
		}
		return &followed{file, func(n int) {
			read += uint64(n)
			bar.show(read, 2*uint64(f.size))
		}}, nil
	}
}

// followed is a file whose reading is told of.
type followed struct {
	*os.File
	tell func(n int)
}

func (f *followed) Read(into []byte) (int, error) {
	n, err := f.File.Read(into)
	f.tell(n)
	return n, err
}
