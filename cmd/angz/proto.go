package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/protocheck"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

func newProtoCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proto",
		Short: "Check the .proto files that describe the messages",
		Long: "Check the .proto files of the project: whether angz and the code that it generates can work with\n" +
			"them (lint), and whether events that are stored can still be read with them (breaking).",
		Example: "  angz proto lint\n" +
			"  angz proto breaking",
	}
	cmd.AddCommand(newLintCommand(s), newBreakingCommand(s))
	return cmd
}

func newLintCommand(s streams) *cobra.Command {
	var project runningProject
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Find mistakes in .proto files",
		Long: "Find what angz, or the code that it generates, cannot work with, and what people regret later:\n" +
			"names, domains, kinds of messages. A comment \"angz:ignore RULE\" above a message, field, enum or\n" +
			"the first line of a file silences a rule there. Fails when there is a mistake; hints are no mistakes.",
		Example: "  angz proto lint\n" +
			"  angz proto lint --output json | jq -r '.findings[].rule' | sort | uniq -c",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			checked, err := openProtos(cmd.Context(), s, &project)
			if err != nil {
				return err
			}
			var domains []string
			for _, domain := range checked.config.Domains {
				domains = append(domains, domain.Name)
			}
			report := protoReport{Findings: protocheck.Lint(checked.schema, domains)}
			return report.print(s, output)
		},
	}
	project.register(cmd)
	output.register(cmd)
	return cmd
}

// breakingOptions are the flags of "angz proto breaking".
type breakingOptions struct {
	archived archived
	against  []string
	all      bool
	output   outputFormat
}

func newBreakingCommand(s streams) *cobra.Command {
	var o breakingOptions
	cmd := &cobra.Command{
		Use:   "breaking",
		Short: "Find changes with which stored events cannot be read any more",
		Long: "Compare the .proto files with what they were, or with what is stored, and find changes with which\n" +
			"stored events and states read wrongly or not at all. Without --against it compares with the last\n" +
			"commit (git:HEAD), and with the events of the running angz dev, or else of its store, if there are any;\n" +
			"--against store looks at the snapshots, too.\n" +
			"What concerns only messages that are not stored, such as commands, is a warning.\n\n" +
			"Fails when there is a change that must not be; warnings are none.",
		Example: "  angz proto breaking\n" +
			"  angz proto breaking --against git:main --output json\n" +
			"  angz proto breaking --against store --address gateway.example.com:443",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	o.archived.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&o.against, "against", nil, "what to compare with: git:REVISION, the folder of another project or of .proto files, or store; may be given several times")
	flags.BoolVar(&o.all, "all", false, "commands and other messages that are not stored must not change either")
	_ = cmd.RegisterFlagCompletionFunc("against", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return []cobra.Completion{"git:HEAD", "store"}, cobra.ShellCompDirectiveDefault
	})
	return cmd
}

// protos are the .proto files of a project, compiled.
type protos struct {
	config *config.Config
	schema *protocheck.Schema
}

func openProtos(ctx context.Context, s streams, project *runningProject) (*protos, error) {
	dir, err := project.folder()
	if err != nil {
		return nil, err
	}
	loaded, err := config.Load(config.Options{Dir: dir, Environ: s.environ, Dev: true})
	if err != nil {
		return nil, usageError{err}
	}
	if len(loaded.Protos) == 0 {
		return nil, usagef("%s has no .proto files: there is no folder proto, and no key protos in angz.yaml; say there where they are", printable(loaded.Dir))
	}
	source, err := protocheck.Read(loaded.Dir, loaded.Protos)
	if err != nil {
		return nil, err
	}
	schema, err := compileProtos(ctx, source, "")
	return &protos{loaded, schema}, err
}

// compileProtos compiles files; of is whose they are, empty for the project's own.
func compileProtos(ctx context.Context, source protocheck.Source, of string) (*protocheck.Schema, error) {
	schema, err := protocheck.Compile(ctx, source)
	if broken := (*protocheck.Broken)(nil); errors.As(err, &broken) {
		if of != "" {
			return nil, usagef("the .proto files of %s have mistakes, so there is nothing to compare with:\n%s", of, printableLines(err.Error()))
		}
		return nil, usageError{errors.New(printableLines(err.Error()))}
	}
	return schema, err
}

func (o *breakingOptions) run(ctx context.Context, s streams) error {
	if o.archived.connection.address != "" && !slices.Contains(o.against, "store") {
		o.against = append(o.against, "store")
	}
	checked, err := openProtos(ctx, s, &o.archived.project)
	if err != nil {
		return err
	}
	report := protoReport{Findings: []protocheck.Finding{}, ComparedWith: []string{}}
	tally, err := o.tally(ctx, s, checked.config)
	if err != nil {
		return err
	}
	for _, against := range o.sources() {
		before, err := o.before(ctx, s, checked.config, against)
		if err != nil {
			return err
		}
		if before != nil {
			report.ComparedWith = append(report.ComparedWith, against)
			report.Findings = append(report.Findings, protocheck.Compare(before, checked.schema, protocheck.Options{All: o.all, Stored: tally})...)
		}
	}
	if tally != nil {
		report.ComparedWith = append(report.ComparedWith, "store")
		report.Stored, report.Findings = tally.Check(checked.schema, report.Findings)
	}
	if len(report.ComparedWith) == 0 {
		return usagef("there is nothing to compare with: no commit, and no store; name something with --against")
	}
	return report.print(s, o.output)
}

// sources lists what to compare with, besides a store.
func (o *breakingOptions) sources() []string {
	if len(o.against) == 0 {
		return []string{"git:HEAD"}
	}
	return slices.DeleteFunc(slices.Clone(o.against), func(against string) bool { return against == "store" })
}

// before reads the .proto files to compare with. It returns nil, and says so, when
// nobody has asked for what is not there.
func (o *breakingOptions) before(ctx context.Context, s streams, loaded *config.Config, against string) (*protocheck.Schema, error) {
	revision, isGit := strings.CutPrefix(against, "git:")
	if !isGit {
		return o.folder(ctx, s, against)
	}
	source, err := protocheck.ReadGit(ctx, loaded.Dir, cmp.Or(revision, "HEAD"), loaded.Protos)
	if missing := (*protocheck.NoRevision)(nil); errors.As(err, &missing) {
		if len(o.against) > 0 {
			return nil, usagef("--against %s: %s", printable(against), printable(err.Error()))
		}
		fmt.Fprintf(s.err, "not compared with %s: %s\n", against, printable(missing.Reason))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return compileProtos(ctx, source, against)
}

// folder reads the .proto files of another project, or of a folder of them.
func (o *breakingOptions) folder(ctx context.Context, s streams, dir string) (*protocheck.Schema, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usagef("--against: found %q, expected git:REVISION, store, or a folder that is there", dir)
	}
	root, folders := dir, []string{"."}
	if _, err := os.Stat(filepath.Join(dir, config.FileName)); err == nil {
		loaded, err := config.Load(config.Options{Dir: dir, Environ: s.environ, Dev: true})
		if err != nil {
			return nil, usageError{err}
		}
		root, folders = loaded.Dir, loaded.Protos
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	source, err := protocheck.Read(absolute, folders)
	if err != nil {
		return nil, err
	}
	for name, file := range source {
		file.Shown = filepath.ToSlash(filepath.Join(root, file.Shown))
		source[name] = file
	}
	return compileProtos(ctx, source, dir)
}

// tally reads what is stored; nil when there is no store and nobody has asked for
// it.
func (o *breakingOptions) tally(ctx context.Context, s streams, loaded *config.Config) (*protocheck.Tally, error) {
	asked := slices.Contains(o.against, "store")
	if !asked && (len(o.against) > 0 || !hasStore(loaded)) {
		return nil, nil
	}
	from, err := o.archived.open(ctx, s, false)
	if err != nil && !asked {
		fmt.Fprintf(s.err, "not compared with what is stored: %s\n", printable(err.Error()))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	bar := newProgressBar(s, "reading")
	tally, err := protocheck.ReadStore(ctx, from.conn, asked, bar.show)
	bar.done()
	if err != nil {
		err = explain(err, from.address)
	}
	return tally, errors.Join(err, from.close())
}

// hasStore reports whether a project has a store that costs nothing to look at:
// that of its running angz dev, or a file.
func hasStore(loaded *config.Config) bool {
	client, err := control.Find(loaded.Dir)
	if err == nil {
		_ = client.Close()
		return true
	}
	file := node.StoreFile(loaded)
	_, err = os.Stat(file)
	return file != "" && err == nil
}

// protoReport is what "angz proto" found. Its JSON is a promise to scripts.
type protoReport struct {
	ComparedWith []string             `json:"compared_with,omitempty" doc:"what the files were compared with, such as git:HEAD; absent for lint, and when there was nothing to compare with"`
	Findings     []protocheck.Finding `json:"findings" doc:"everything that was found, mistakes, warnings and hints; empty when there is nothing"`
	Stored       []protocheck.Stored  `json:"stored,omitempty" doc:"the types that are stored, and whether they can be read; absent when no store was looked at"`
}

// print prints the report and fails when there is a mistake.
func (r protoReport) print(s streams, output outputFormat) error {
	if r.Findings == nil {
		r.Findings = []protocheck.Finding{}
	}
	if output == outputYAML {
		if err := writeYAML(s.out, r); err != nil {
			return err
		}
	} else if output == outputJSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	} else {
		r.text(s)
	}
	mistakes := protocheck.Count(r.Findings, protocheck.Error)
	summary := fmt.Sprintf("%s, %s", plural(uint64(mistakes), "mistake", "mistakes"), plural(uint64(protocheck.Count(r.Findings, protocheck.Warning)), "warning", "warnings"))
	if hints := protocheck.Count(r.Findings, protocheck.Hint); hints > 0 {
		summary += ", " + plural(uint64(hints), "hint", "hints")
	}
	if len(r.ComparedWith) > 0 {
		summary += "; compared with " + printable(strings.Join(r.ComparedWith, ", "))
	}
	fmt.Fprintln(s.err, summary)
	if mistakes > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func (r protoReport) text(s streams) {
	paint := newPainter(s.out, s.environ)
	colors := map[protocheck.Severity]string{protocheck.Error: "31", protocheck.Warning: "33", protocheck.Hint: "36"}
	for _, finding := range r.Findings {
		text := printableLines(finding.String())
		label := string(finding.Severity) + ": "
		fmt.Fprintln(s.out, strings.Replace(text, label, paint.paint(colors[finding.Severity], label), 1))
	}
	if len(r.Stored) == 0 {
		return
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "STORED TYPE\tEVENTS\tSTATES\tLOOKED AT\tREADS")
	for _, stored := range r.Stored {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", printable(stored.Type), stored.Events, stored.States, stored.Looked, map[bool]string{true: "yes", false: "no"}[stored.Reads])
	}
	_ = table.Flush() // whoever closed standard output does not want to know
}
