package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	protofiles "github.com/angz-dev/angz/proto"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/scaffold"
)

// Faults are all that is wrong with the .proto files of a project.
type Faults struct{ Faults []Fault }

// Fault is one mistake in a .proto file. Its file is the path from the project's
// folder where the file is there, else as it is imported.
type Fault = payload.Problem

func (e *Faults) Error() string {
	texts := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		texts[i] = fault.String()
	}
	return strings.Join(texts, "\n")
}

// compiled are the .proto files of a project.
type compiled struct {
	project Project
	sources sources
	request *pluginpb.CodeGeneratorRequest
	domains []scaffold.Domain
}

// sources are where .proto files are found.
type sources struct {
	dir     string
	folders []string // absolute
}

func newSources(project Project) sources {
	s := sources{dir: project.Dir}
	for _, folder := range project.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(project.Dir, folder)
		}
		s.folders = append(s.folders, folder)
	}
	return s
}

func compile(ctx context.Context, project Project) (*compiled, error) {
	s := newSources(project)
	names, err := s.list()
	if err != nil {
		return nil, err
	}
	files, err := s.compile(ctx, names)
	if err != nil {
		return nil, err
	}
	domains, err := scaffold.Describe(files)
	if fault := (*scaffold.Fault)(nil); errors.As(err, &fault) {
		return nil, &Faults{[]Fault{s.fault(fault.File, fault.Line, fault.Column, fault.Message)}}
	}
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	seen := map[string]bool{}
	for _, file := range files {
		request.ProtoFile = appendWithImports(request.ProtoFile, file, seen)
	}
	return &compiled{project: project, sources: s, request: request, domains: domains}, nil
}

// checkStates finds domains that code cannot be generated for.
func (c *compiled) checkStates() error {
	var faults []Fault
	for _, domain := range c.domains {
		if domain.State == nil {
			faults = append(faults, c.sources.fault(domain.File, 0, 0, fmt.Sprintf("the domain %q has no state; expected a message with option (angzarr.kind) = KIND_STATE;", domain.Domain)))
		}
	}
	if faults == nil {
		return nil
	}
	return &Faults{faults}
}

// Describe compiles the .proto files of a project and returns the domains that
// they describe. Mistakes are a *Faults.
func Describe(ctx context.Context, project Project) ([]scaffold.Domain, error) {
	compiled, err := compile(ctx, project)
	if err != nil {
		return nil, err
	}
	return compiled.domains, nil
}

// list returns the names by which the project's files and angz's own are
// imported, sorted.
func (s sources) list() ([]string, error) {
	var names []string
	for _, folder := range s.folders {
		err := filepath.WalkDir(folder, func(place string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return fmt.Errorf("look for .proto files: %w", err)
			case entry.IsDir() && place != folder && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
				return fs.SkipDir
			case entry.IsDir() || filepath.Ext(place) != ".proto":
				return nil
			}
			name, err := filepath.Rel(folder, place)
			if name = filepath.ToSlash(name); !strings.HasPrefix(name, "angzarr/") {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, file := range scaffold.Contract() {
		names = append(names, strings.TrimPrefix(file.Path, "proto/"))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// open finds a file by the name it is imported by. angz's own files are those
// that angz was built with.
func (s sources) open(name string) (protocompile.SearchResult, error) {
	if content, err := protofiles.Files.ReadFile(name); err == nil {
		return protocompile.SearchResult{Source: bytes.NewReader(content)}, nil
	}
	for _, folder := range s.folders {
		content, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
		if err == nil {
			return protocompile.SearchResult{Source: bytes.NewReader(content)}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return protocompile.SearchResult{}, err
		}
	}
	return protocompile.SearchResult{}, fmt.Errorf("there is no %s in %s", name, strings.Join(s.shown(), ", "))
}

// shown returns the folders as people know them.
func (s sources) shown() []string {
	var shown []string
	for _, folder := range s.folders {
		shown = append(shown, s.relative(folder))
	}
	return shown
}

func (s sources) relative(place string) string {
	if name, err := filepath.Rel(s.dir, place); err == nil && filepath.IsLocal(name) {
		return filepath.ToSlash(name)
	}
	return place
}

// compile reports every mistake at once. The compiler stops at the first import
// that is missing; one file at a time it gets to all of them.
func (s sources) compile(ctx context.Context, names []string) ([]protoreflect.FileDescriptor, error) {
	files, faults, err := s.together(ctx, names)
	if err == nil && len(faults) == 0 {
		return files, nil
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_, more, _ := s.together(ctx, []string{name})
		faults = append(faults, more...)
	}
	if len(faults) == 0 {
		return nil, fmt.Errorf("compile the .proto files: %w", err)
	}
	slices.SortFunc(faults, func(a, b Fault) int {
		return strings.Compare(fmt.Sprintf("%s %9d %9d %s", a.File, a.Line, a.Column, a.Message), fmt.Sprintf("%s %9d %9d %s", b.File, b.Line, b.Column, b.Message))
	})
	return nil, &Faults{slices.Compact(faults)}
}

func (s sources) together(ctx context.Context, names []string) ([]protoreflect.FileDescriptor, []Fault, error) {
	var (
		mu     sync.Mutex // when ctx ends, the compiler's goroutines may outlive the call
		faults []Fault
	)
	add := func(err reporter.ErrorWithPos) {
		at := err.GetPosition()
		faults = append(faults, s.fault(at.Filename, at.Line, at.Col, err.Unwrap().Error()))
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(protocompile.ResolverFunc(s.open)),
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			mu.Lock()
			defer mu.Unlock()
			add(err)
			return nil // go on, to report everything at once
		}, nil),
	}
	linked, err := compiler.Compile(ctx, names...)
	mu.Lock()
	defer mu.Unlock()
	if missing := reporter.ErrorWithPos(nil); errors.As(err, &missing) {
		add(missing)
	}
	files := make([]protoreflect.FileDescriptor, len(linked))
	for i, file := range linked {
		files[i] = file
	}
	return files, faults, err
}

// fault shows a mistake with the file's path in the project and the line itself.
func (s sources) fault(name string, line, column int, message string) Fault {
	for _, folder := range s.folders {
		place := filepath.Join(folder, filepath.FromSlash(name))
		if _, err := os.Stat(place); err == nil {
			return payload.NewProblem(place, s.relative(place), line, column, message)
		}
	}
	return payload.NewProblem("", name, line, column, message)
}

// appendWithImports appends file after everything it imports, each once.
func appendWithImports(list []*descriptorpb.FileDescriptorProto, file protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return list
	}
	seen[file.Path()] = true
	for i := range file.Imports().Len() {
		list = appendWithImports(list, file.Imports().Get(i).FileDescriptor, seen)
	}
	return append(list, protoutil.ProtoFromFileDescriptor(file))
}
