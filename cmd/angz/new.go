package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/generate"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/scaffold"
)

// newOptions are the flags of "angz new".
type newOptions struct {
	s        streams
	kind     scaffold.Kind
	language string
	from, to string
	folder   string
	dir      string
	dryRun   bool
	force    bool
	output   outputFormat
}

func newNewCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a project, a domain, a projector or a saga",
		Long: "Write a new project, or a new service of a project, in one of six languages: go, python, rust,\n" +
			"typescript, java or cpp. One project may use several. Everything that is written belongs to you,\n" +
			"except what \"angz generate\" writes; nothing that is there already is changed unless --force says so.",
		Example: "  angz new project shop --lang go\n" +
			"  angz new domain order --lang python\n" +
			"  angz new projector order-list --from order --lang typescript\n" +
			"  angz new saga welcome --from customer --to order --lang rust",
	}
	for _, kind := range []scaffold.Kind{scaffold.KindProject, scaffold.KindDomain, scaffold.KindProjector, scaffold.KindSaga} {
		cmd.AddCommand(newKindCommand(s, kind))
	}
	return cmd
}

// newTexts are what is said of each kind of thing that can be made.
var newTexts = map[scaffold.Kind]struct{ short, long, example string }{
	scaffold.KindProject: {
		"Make a project",
		"Make a folder with a project in it. With --lang it has a first domain, customer, that runs at once.",
		"  angz new project shop --lang python\n  angz new project shop --dry-run",
	},
	scaffold.KindDomain: {
		"Add a domain: what may be asked, what has happened, and the rules between them",
		"Add a domain to the project around the working folder: its messages, its rules as pure functions with\n" +
			"unit tests, a feature for \"angz test\", a Containerfile, and its entry in angz.yaml.",
		"  angz new domain order --lang go\n  angz new domain order-item --lang rust --dry-run",
	},
	scaffold.KindProjector: {
		"Add a projector, which builds a read model from a domain's events",
		"Add a projector to the project around the working folder. It follows the domain --from, whose messages\n" +
			"its sample is made for.",
		"  angz new projector customer-list --from customer --lang python",
	},
	scaffold.KindSaga: {
		"Add a saga, which turns events of one domain into commands for another",
		"Add a saga to the project around the working folder. Its sample turns the first event of --from into\n" +
			"the first command of --to.",
		"  angz new saga welcome --from customer --to order --lang go",
	},
}

func newKindCommand(s streams, kind scaffold.Kind) *cobra.Command {
	options := &newOptions{s: s, kind: kind}
	texts := newTexts[kind]
	cmd := &cobra.Command{
		Use: string(kind) + " NAME", Short: texts.short, Long: texts.long, Example: texts.example,
		Args: between(0, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return options.run(cmd.Context(), name)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&options.language, "lang", "l", "", "the language: "+strings.Join(scaffold.Languages, ", "))
	flags.BoolVar(&options.dryRun, "dry-run", false, "show what would be written, and write nothing")
	flags.BoolVar(&options.force, "force", false, "replace files that are there already, and show what changes in them")
	flags.StringVar(&options.folder, "folder", "", "where services in this language are, seen from the project (default: the language's name)")
	if kind == scaffold.KindProjector || kind == scaffold.KindSaga {
		flags.StringVar(&options.from, "from", "", "the domain whose events it follows")
	}
	if kind == scaffold.KindSaga {
		flags.StringVar(&options.to, "to", "", "the domain that it sends commands to")
	}
	options.output.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(scaffold.Languages, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *newOptions) run(ctx context.Context, text string) error {
	if o.kind == scaffold.KindProject {
		return o.project(text)
	}
	place, err := findProject(o.s, o.dir)
	if err != nil {
		return err
	}
	schema, err := generate.Describe(ctx, place.generate)
	if err != nil {
		return usageError{err}
	}
	spec := scaffold.Spec{Kind: o.kind, Project: place.generate.Name, Language: o.language, Folder: o.folder, From: o.from, To: o.to, Schema: schema}
	if err := o.ask(&spec, &text); err != nil {
		return err
	}
	if spec.Name, err = scaffold.ParseName(text); err != nil {
		return usageError{err}
	}
	if err := place.free(spec); err != nil {
		return usageError{err}
	}
	spec.Extra = generate.Extra(place.generate.Dir, cmp.Or(spec.Folder, spec.Language), spec.Language)
	plan, err := scaffold.New(spec)
	if err != nil {
		return usageError{err}
	}
	if err := place.follows(spec); err != nil {
		return usageError{err}
	}
	if err := o.write(place.generate.Dir, place.file, plan); err != nil || o.dryRun {
		return err
	}
	o.advise(spec, "")
	return nil
}

// project makes a folder with angz.yaml in it and, with a language, a first
// domain.
func (o *newOptions) project(text string) error {
	spec := scaffold.Spec{Kind: scaffold.KindProject, Language: o.language, Folder: o.folder}
	if err := o.ask(&spec, &text); err != nil {
		return err
	}
	dir := text
	name, err := scaffold.ParseName(filepath.Base(absolute(dir)))
	if err != nil {
		return usageError{err}
	}
	spec.Project, spec.Name = name, name
	plan, err := scaffold.New(spec)
	if err != nil {
		return usageError{err}
	}
	if _, err := os.Stat(filepath.Join(dir, "angz.yaml")); err == nil && !o.force {
		return usagef("%s is a project already; add to it with angz new domain, or name another folder", printable(dir))
	}
	if spec.Language != "" {
		if err := addFirstDomain(plan, spec); err != nil {
			return err
		}
	}
	if err := o.write(dir, "angz.yaml", plan); err != nil || o.dryRun {
		return err
	}
	o.advise(spec, dir)
	return nil
}

// addFirstDomain puts the domain of the documentation's first ten minutes into
// a new project.
func addFirstDomain(plan *scaffold.Plan, project scaffold.Spec) error {
	first, err := scaffold.New(scaffold.Spec{
		Kind: scaffold.KindDomain, Project: project.Name, Name: scaffold.Name{"customer"}, Language: project.Language, Folder: project.Folder,
		Fields: []scaffold.Name{{"name"}, {"email"}},
	})
	if err != nil {
		return usageError{err}
	}
	for _, file := range first.Files {
		if !slices.ContainsFunc(plan.Files, func(f scaffold.File) bool { return f.Path == file.Path }) {
			plan.Files = append(plan.Files, file)
		}
	}
	for i, file := range plan.Files {
		if file.Path == "angz.yaml" {
			if plan.Files[i].Content, err = first.Entry.AddTo(file.Content); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(plan.Files, func(a, b scaffold.File) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// write shows or does what a plan says. Nothing is written when anything is in
// the way.
func (o *newOptions) write(dir, file string, plan *scaffold.Plan) error {
	files := plan.Files
	if plan.Entry != nil {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		changed, err := plan.Entry.AddTo(content)
		if err != nil {
			return usageError{err}
		}
		files = append(slices.Clone(files), scaffold.File{Path: filepath.ToSlash(file), Content: changed, Mode: 0o644})
		slices.SortFunc(files, func(a, b scaffold.File) int { return strings.Compare(a.Path, b.Path) })
	}
	steps, err := scaffold.Compare(dir, files, o.force)
	if err != nil {
		return err
	}
	for i := range steps {
		if plan.Entry != nil && steps[i].File.Path == filepath.ToSlash(file) && steps[i].Action == scaffold.Collide {
			steps[i].Action = scaffold.Change // an entry more, everything else as it was
		}
	}
	if o.dryRun {
		return o.tell(dir, steps)
	}
	if err := collisions(steps); err != nil {
		return err
	}
	for _, step := range steps {
		if o.force {
			fmt.Fprint(o.s.err, step.Diff())
		}
	}
	if err := scaffold.Write(dir, steps); err != nil {
		return err
	}
	for _, step := range steps {
		if step.Action == scaffold.Create || step.Action == scaffold.Change {
			fmt.Fprintf(o.s.err, "%s %s\n", step.Action, printable(fromHere(filepath.Join(dir, filepath.FromSlash(step.File.Path)))))
		}
	}
	if o.output.forPrograms() {
		return o.tell(dir, steps)
	}
	return nil
}

// tell prints what becomes of the files, as a tree for people.
func (o *newOptions) tell(dir string, steps []scaffold.Step) error {
	if o.output.forPrograms() {
		return o.output.write(o.s.out, newFilesDocument(dir, steps, o.dryRun))
	}
	steps = slices.DeleteFunc(steps, func(s scaffold.Step) bool { return s.Action == scaffold.Same })
	_, err := fmt.Fprint(o.s.out, scaffold.Tree(printable(filepath.Base(absolute(dir))), steps))
	return err
}

// filesDocument is what becomes of files that angz writes.
type filesDocument struct {
	Dir    string         `json:"dir" doc:"the project's folder, absolute"`
	DryRun bool           `json:"dry_run" doc:"whether nothing was written, because of --dry-run or --check"`
	Files  []fileDocument `json:"files" doc:"the files that are not as they should be yet, or were not; empty when all are"`
}

type fileDocument struct {
	Path   string `json:"path" doc:"the file, seen from dir, with / between folders"`
	Action string `json:"action" doc:"what becomes of it; collide is there with another content and is not replaced without --force, keep is left as a person has it" enum:"create|change|keep|remove|collide"`
}

func newFilesDocument(dir string, steps []scaffold.Step, dryRun bool) filesDocument {
	document := filesDocument{Dir: absolute(dir), DryRun: dryRun, Files: []fileDocument{}}
	for _, step := range steps {
		if step.Action != scaffold.Same {
			document.Files = append(document.Files, fileDocument{step.File.Path, string(step.Action)})
		}
	}
	return document
}

// fromHere returns a path as it is seen from the working folder, if it is below.
func fromHere(place string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(place) {
		return place
	}
	if name, err := filepath.Rel(here, place); err == nil && filepath.IsLocal(name) {
		return name
	}
	return place
}

func absolute(dir string) string {
	if place, err := filepath.Abs(dir); err == nil {
		return place
	}
	return dir
}

// collisions refuses to write over what somebody has written.
func collisions(steps []scaffold.Step) error {
	var names []string
	for _, step := range steps {
		if step.Action == scaffold.Collide {
			names = append(names, printable(step.File.Path))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return usagef("nothing was written: there already with other content: %s\ntake another name, or add --force to replace them, which shows what changes", strings.Join(names, ", "))
}

// advise says how to go on.
func (o *newOptions) advise(spec scaffold.Spec, dir string) {
	lines := []string{"", "next:"}
	if dir != "" && filepath.Clean(dir) != "." {
		lines = append(lines, "  cd "+shellWord(dir))
	}
	switch {
	case spec.Language == "":
		lines = append(lines, "  angz new domain customer --lang "+strings.Join(scaffold.Languages, "|"))
	case spec.Kind == scaffold.KindProject:
		lines = append(lines, "  angz dev", "  angz send customer alice@example.com CreateCustomer '{\"name\":\"Alice\",\"email\":\"alice@example.com\"}'")
	default:
		lines = append(lines, "  angz generate    # or angz dev, which does it by itself", "  angz test")
	}
	fmt.Fprintln(o.s.err, strings.Join(lines, "\n"))
}

// shellWord writes a word so that a shell takes it as one.
func shellWord(word string) string {
	plain := strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-", r)
	}) < 0
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ask asks on a terminal for what is missing, and elsewhere says what it is.
func (o *newOptions) ask(spec *scaffold.Spec, name *string) error {
	if spec.Language != "" && !slices.Contains(scaffold.Languages, spec.Language) {
		hint := ""
		if near := nearestOf(spec.Language, scaffold.Languages); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return usagef("--lang: there is no language %q, expected one of %s%s", spec.Language, strings.Join(scaffold.Languages, ", "), hint)
	}
	questions := missingAnswers(spec, name)
	if len(questions) == 0 {
		return nil
	}
	if o.isTerminal() {
		return o.prompt(questions)
	}
	for _, q := range questions {
		if q.required {
			return usagef("missing: %s\nusage: angz new %s NAME%s\nsee \"angz new %s --help\"", q.missing, spec.Kind, q.usage, spec.Kind)
		}
	}
	return nil
}

// isTerminal reports whether somebody is there to answer.
func (o *newOptions) isTerminal() bool {
	in, isFile := o.s.in.(*os.File)
	out, alsoFile := o.s.err.(*os.File)
	return isFile && alsoFile && isatty.IsTerminal(in.Fd()) && isatty.IsTerminal(out.Fd())
}

// question is something that a wish leaves open.
type question struct {
	answer   *string
	title    string
	choices  []string // none means any text that check takes
	check    func(string) error
	missing  string // what it is called where nobody can be asked
	usage    string
	required bool
}

func missingAnswers(spec *scaffold.Spec, name *string) []question {
	var open []question
	if *name == "" {
		check := func(text string) error { _, err := scaffold.ParseName(filepath.Base(text)); return err }
		open = append(open, question{answer: name, title: fmt.Sprintf("What is the %s called?", spec.Kind), check: check, missing: "NAME", required: true})
	}
	var domains []string
	for _, domain := range spec.Schema {
		domains = append(domains, domain.Domain)
	}
	followsDomain := spec.Kind == scaffold.KindProjector || spec.Kind == scaffold.KindSaga
	if followsDomain && spec.From == "" && len(domains) > 0 {
		open = append(open, question{answer: &spec.From, title: "Whose events does it follow?", choices: domains, missing: "--from DOMAIN, one of " + strings.Join(domains, ", "), usage: " --from DOMAIN", required: true})
	}
	if spec.Kind == scaffold.KindSaga && spec.To == "" && len(domains) > 0 {
		open = append(open, question{answer: &spec.To, title: "Whom does it send commands to?", choices: domains, missing: "--to DOMAIN, one of " + strings.Join(domains, ", "), usage: " --from DOMAIN --to DOMAIN", required: true})
	}
	if spec.Language == "" {
		open = append(open, question{answer: &spec.Language, title: "In which language?", choices: scaffold.Languages, missing: "--lang, one of " + strings.Join(scaffold.Languages, ", "), usage: " --lang LANGUAGE", required: spec.Kind != scaffold.KindProject})
	}
	return open
}

// projectPlace is a project on this machine.
type projectPlace struct {
	config   *config.Config
	file     string // of the configuration, seen from the project's folder
	generate generate.Project
}

// findProject finds the project around the working folder.
func findProject(s streams, dir string) (*projectPlace, error) {
	loaded, err := config.Load(config.Options{Dir: dir, Environ: s.environ, Dev: true})
	if err != nil {
		return nil, usageError{err}
	}
	if loaded.File == "" {
		return nil, usagef("there is no angz.yaml in this folder or above; make a project first: angz new project NAME")
	}
	generation, err := emulator.Generation(loaded)
	if err != nil {
		return nil, usagef("%s: name: %w", printable(loaded.File), err)
	}
	generation.Log = s.err
	return &projectPlace{config: loaded, file: filepath.Base(loaded.File), generate: generation}, nil
}

// follows refuses domains that angz.yaml does not have: a service that follows one
// would make it a file that nothing can use.
func (p *projectPlace) follows(spec scaffold.Spec) error {
	for flag, name := range map[string]string{"--from": spec.From, "--to": spec.To} {
		known := slices.ContainsFunc(p.config.Domains, func(s config.Service) bool { return s.Name == name })
		if name != "" && !known {
			return fmt.Errorf("%s: %s has no domain %q; add its entry under domains first", flag, p.file, name)
		}
	}
	return nil
}

// free refuses names that the project has in use.
func (p *projectPlace) free(spec scaffold.Spec) error {
	for kind, services := range map[string][]config.Service{"domain": p.config.Domains, "projector": p.config.Projectors, "saga": p.config.Sagas} {
		for _, service := range services {
			if other, err := scaffold.ParseName(service.Name); err == nil && other.Snake() == spec.Name.Snake() {
				return fmt.Errorf("%s has a %s %q already; take another name", p.file, kind, service.Name)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(p.generate.Dir, cmp.Or(spec.Folder, spec.Language), spec.Name.Snake())); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file, and a folder of that name is needed; take another name", spec.Name.Snake())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
