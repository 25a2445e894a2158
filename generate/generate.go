// Package generate writes the code that a project's services need for their
// messages: each language's own stubs, and the typed dispatch between commands,
// events and the functions that a person writes. It compiles .proto files itself,
// so that neither protoc nor buf has to be installed.
package generate

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/pluginpb"

	"github.com/angz-dev/angz/scaffold"
)

// Project is what code is generated for.
type Project struct {
	Dir     string            // absolute
	Name    scaffold.Name     // of the project
	Protos  []string          // folders of .proto files; seen from Dir
	Targets map[string]string // folders, seen from Dir with slashes, to languages
	Log     io.Writer         // what the languages' tools say; nil means nobody is told
}

// Result is what a run found or did.
type Result struct {
	Steps   []scaffold.Step // every generated file, in the order of their paths
	Domains []scaffold.Domain
}

// Changed returns the files that were, or would have to be, written or removed.
func (r *Result) Changed() []scaffold.Step {
	return slices.DeleteFunc(slices.Clone(r.Steps), func(s scaffold.Step) bool { return s.Action == scaffold.Same })
}

// Plan finds out what Run would write, and writes nothing but what languages need
// to fetch before they can generate anything, such as their own packages.
// Mistakes in .proto files are a *Faults. It waits for others that generate into the
// same folder.
func Plan(ctx context.Context, project Project) (*Result, error) {
	leave, err := takeTurn(ctx, project.Dir, project.Log)
	if err != nil {
		return nil, err
	}
	defer leave()
	return plan(ctx, project)
}

func plan(ctx context.Context, project Project) (*Result, error) {
	compiled, err := compile(ctx, project)
	if err != nil {
		return nil, err
	}
	if err := compiled.checkStates(); err != nil {
		return nil, err
	}
	files := scaffold.Contract()
	for _, folder := range slices.Sorted(maps.Keys(project.Targets)) {
		made, err := compiled.target(ctx, folder, project.Targets[folder])
		if err != nil {
			return nil, fmt.Errorf("generate %s code into %s: %w", project.Targets[folder], folder, err)
		}
		files = append(files, made...)
	}
	slices.SortFunc(files, func(a, b scaffold.File) int { return strings.Compare(a.Path, b.Path) })
	steps, err := scaffold.Compare(project.Dir, files, true)
	if err != nil {
		return nil, err
	}
	stale, err := leftovers(project, files)
	return &Result{Steps: append(steps, stale...), Domains: compiled.domains}, err
}

// Run writes what has changed, and nothing else: a file that stays as it is keeps
// its time. It waits for others that generate into the same folder.
func Run(ctx context.Context, project Project) (*Result, error) {
	leave, err := takeTurn(ctx, project.Dir, project.Log)
	if err != nil {
		return nil, err
	}
	defer leave()
	return run(ctx, project)
}

func run(ctx context.Context, project Project) (*Result, error) {
	result, err := plan(ctx, project)
	if err != nil {
		return nil, err
	}
	return result, scaffold.Write(project.Dir, result.Steps)
}

// language is how code is generated in one language.
type language struct {
	// stubs are made by the language's own plugin; nil where its own build
	// makes them.
	stubs func(context.Context, *job) ([]scaffold.File, error)
	// extra is what the language's dispatch templates need to know besides.
	extra func(*job) (map[string]string, error)
	// owned are the folders of generated code, seen from the language's.
	owned []string
}

// job is the work for one language in one folder.
type job struct {
	project Project
	folder  string                         // of the language, seen from the project, with slashes
	request *pluginpb.CodeGeneratorRequest // for plugins; shared by all jobs, not to be changed
	domains []scaffold.Domain
}

// dir returns the language's folder.
func (j *job) dir() string { return filepath.Join(j.project.Dir, filepath.FromSlash(j.folder)) }

// target generates everything for one folder.
func (c *compiled) target(ctx context.Context, folder, name string) ([]scaffold.File, error) {
	target, known := languages[name]
	if !known {
		return nil, fmt.Errorf("angz generates no %s, expected one of %s", name, strings.Join(scaffold.Languages, ", "))
	}
	job := &job{project: c.project, folder: folder, request: c.request, domains: c.domains}
	files, err := job.dispatch(name, target)
	if err != nil || target.stubs == nil {
		return files, err
	}
	stubs, err := target.stubs(ctx, job)
	return append(files, stubs...), err
}

// dispatch renders the language's templates for each domain, and those for the
// project as a whole.
func (j *job) dispatch(name string, target language) ([]scaffold.File, error) {
	var extra map[string]string
	if target.extra != nil {
		var err error
		if extra, err = target.extra(j); err != nil {
			return nil, err
		}
	}
	var all []scaffold.File
	for i := range j.domains {
		domain := &j.domains[i]
		known := scaffold.DispatchData{Project: j.project.Name, Name: domain.StemName(), Domain: domain, Domains: j.domains, Folder: j.folder, Extra: extra}
		files, err := scaffold.Render(path.Join(name, "dispatch"), j.folder, known.Path, known)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	whole := scaffold.DispatchData{Project: j.project.Name, Domains: j.domains, Folder: j.folder, Extra: extra}
	files, err := scaffold.Render(path.Join(name, "dispatch-all"), j.folder, whole.Path, whole)
	return append(all, files...), err
}

// Extra returns what the templates of new services need to know of a folder that
// is in use already; nothing where there is none.
func Extra(dir, folder, language string) map[string]string {
	extra := map[string]string{}
	if language == "go" {
		if module, err := goModule(filepath.Join(dir, filepath.FromSlash(folder))); err == nil {
			extra["module"] = module
		}
	}
	return extra
}
