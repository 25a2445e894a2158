// Package scaffold turns a wish, such as a domain "customer" in Rust, into files:
// what "angz new" writes. Planning is pure, so that what would be written can be
// shown, compared and tested without a disk; only Write touches one.
package scaffold

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/angz-dev/angz/templates"
)

// Kind is what can be made.
type Kind string

// The kinds. Process managers are not among them: the runtime has none yet.
const (
	KindProject   Kind = "project"
	KindDomain    Kind = "domain"
	KindProjector Kind = "projector"
	KindSaga      Kind = "saga"
)

// Languages are those that services can be made in.
var Languages = []string{"go", "python", "rust", "typescript", "java", "cpp"}

// Spec is a wish.
type Spec struct {
	Kind     Kind
	Project  Name   // of the whole system
	Name     Name   // of what is made; the project's for a project
	Language string // one of Languages; empty for a project without services
	Folder   string // where services of the language are, seen from the project; empty means the language's own name
	From, To string // domains as angz.yaml has them; From for projectors and sagas, To for sagas
	Fields   []Name // of a new domain's messages, all texts; none means a name
	Schema   []Domain
	// Extra is what only one language needs to know: "module" is the module of Go
	// that the folder belongs to, by default the project's name.
	Extra map[string]string
}

// File is one file to write.
type File struct {
	Path    string // seen from the project, with slashes
	Content []byte
	Mode    fs.FileMode
	// Shared is a file of the whole project or of all services in a language:
	// one that is there already stays as it is.
	Shared bool
}

// Plan is what a wish leads to.
type Plan struct {
	Files []File // in the order of their paths
	Entry *Entry // nil for a project
}

// Entry is what angz.yaml has to say about a new service.
type Entry struct {
	Project  string // the system's name
	List     string // domains, projectors or sagas
	Name     string
	Lines    []string // below the name, not indented
	Folder   string   // of generated code, with its language
	Language string
}

// New plans. The same wish always gives the same plan.
func New(spec Spec) (*Plan, error) {
	if spec.Language != "" && !slices.Contains(Languages, spec.Language) {
		return nil, fmt.Errorf("there is no language %q, expected %s", spec.Language, oneOf(Languages))
	}
	if spec.Folder == "" {
		spec.Folder = spec.Language
	}
	if len(spec.Fields) == 0 {
		spec.Fields = []Name{{"name"}}
	}
	known, err := newData(spec)
	if err != nil {
		return nil, err
	}
	p := planner{spec: spec, data: known, plan: &Plan{}}
	if err := p.addAll(); err != nil {
		return nil, err
	}
	slices.SortFunc(p.plan.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return p.plan, nil
}

// planner collects the files of one plan.
type planner struct {
	spec Spec
	data *data
	plan *Plan
}

func (p *planner) addAll() error {
	kind := string(p.spec.Kind)
	if err := p.add(path.Join("common", kind), "", p.spec.Kind == KindProject); err != nil {
		return err
	}
	p.addContract()
	if p.spec.Kind == KindProject {
		return nil
	}
	language := p.spec.Language
	if err := p.add(path.Join(language, "language"), p.spec.Folder, true); err != nil {
		return err
	}
	if err := p.add(path.Join(language, kind), p.spec.Folder, false); err != nil {
		return err
	}
	return p.addEntry()
}

// add renders every template below a folder into another one.
func (p *planner) add(from, to string, shared bool) error {
	files, err := Render(from, to, p.data.path, p.data)
	if err != nil {
		return err
	}
	for i := range files {
		files[i].Shared = shared
	}
	p.plan.Files = append(p.plan.Files, files...)
	return nil
}

// addContract adds angz's own .proto files, which those of the project import.
func (p *planner) addContract() {
	for _, file := range Contract() {
		file.Shared = true
		p.plan.Files = append(p.plan.Files, file)
	}
}

func (p *planner) addEntry() error {
	name := path.Join(p.spec.Language, string(p.spec.Kind)+".yaml.tmpl")
	source, err := templates.Files.ReadFile(name)
	if err != nil {
		return fmt.Errorf("angz cannot make a %s in %s: %w", p.spec.Kind, p.spec.Language, err)
	}
	text, err := renderText(name, string(source), p.data)
	if err != nil {
		return err
	}
	entry := &Entry{Project: p.spec.Project.Kebab(), List: string(p.spec.Kind) + "s", Name: p.spec.Name.Kebab(), Folder: p.spec.Folder, Language: p.spec.Language}
	if p.spec.Kind != KindDomain {
		entry.Lines = append(entry.Lines, fmt.Sprintf("domains: [%s]", p.spec.From))
	}
	for line := range strings.Lines(string(bytes.TrimSpace(text))) {
		entry.Lines = append(entry.Lines, strings.TrimRight(line, "\n"))
	}
	p.plan.Entry = entry
	return nil
}

func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
