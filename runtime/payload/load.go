package payload

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
	"sync"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Problem is one mistake in a .proto file.
type Problem struct {
	File    string // path of the file, under the import path as it was given
	Line    int    // counted from 1; 0 when it is about the file as a whole
	Column  int    // counted from 1
	Text    string // the line, empty when it cannot be read
	Message string
}

// NewProblem describes a mistake in a file, with the line itself where it can be
// read. shown is the file as people know it.
func NewProblem(file, shown string, line, column int, message string) Problem {
	problem := Problem{File: shown, Line: line, Column: column, Message: strings.ReplaceAll(message, "unexpected $end", "the file ends where more is expected")}
	if content, err := os.ReadFile(file); err == nil {
		if lines := strings.Split(string(content), "\n"); line > 0 && line <= len(lines) {
			problem.Text = strings.ReplaceAll(strings.TrimRight(lines[line-1], "\r"), "\t", " ")
		}
	}
	return problem
}

// String shows place, message and the line with a mark below the column.
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	}
	text := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Text != "" {
		margin := fmt.Sprintf("%5d | ", p.Line)
		mark := strings.Repeat(" ", len(margin)-2) + "| " + strings.Repeat(" ", max(0, min(p.Column, len(p.Text)+1)-1)) + "^"
		text += "\n" + margin + p.Text + "\n" + mark
	}
	return text
}

// Invalid lists all that is wrong with the .proto files of a project.
type Invalid struct {
	Problems []Problem
}

func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Load compiles .proto files. An import path is a folder, or a file that holds a
// FileDescriptorSet. files are named relative to the import paths; without any,
// Load takes every .proto file below the folders, except in hidden folders and in
// those of package managers. angzarr/*.proto and google/protobuf/*.proto can always
// be imported, and angz's own copies of them count. Mistakes in the files are
// reported together, as an *Invalid.
func Load(ctx context.Context, importPaths []string, files []string) (*Schema, error) {
	sources, err := openSources(importPaths)
	if err != nil {
		return nil, fmt.Errorf("load schema: %w", err)
	}
	if len(files) == 0 {
		if files, err = sources.list(ctx); err != nil {
			return nil, fmt.Errorf("load schema: %w", err)
		}
	}
	compiled, err := sources.compile(ctx, files)
	if err != nil {
		return nil, err
	}
	sources.sets.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		compiled = append(compiled, file)
		return true
	})
	return newSchema(compiled)
}

// sources are the places where .proto files are looked for.
type sources struct {
	folders []string
	sets    *protoregistry.Files
}

func openSources(importPaths []string) (sources, error) {
	s := sources{sets: new(protoregistry.Files)}
	for _, path := range importPaths {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return s, fmt.Errorf("%s: there is no such folder or file", path)
		case err != nil:
			return s, err
		case info.IsDir():
			s.folders = append(s.folders, filepath.Clean(path))
		case filepath.Ext(path) == ".proto":
			return s, fmt.Errorf("%s: found a .proto file, expected the folder that imports start from, or a FileDescriptorSet", path)
		default:
			if err := s.addSet(path); err != nil {
				return s, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return s, nil
}

// addSet reads a FileDescriptorSet, such as protoc --include_imports
// --descriptor_set_out and buf build write.
func (s *sources) addSet(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(data, set); err != nil || len(set.File) == 0 {
		return errors.New(`not a FileDescriptorSet; make one with "protoc --include_imports --descriptor_set_out" or "buf build -o FILE.binpb"`)
	}
	return s.register(set.File)
}

// register links the files of a set, in whatever order they come.
func (s *sources) register(files []*descriptorpb.FileDescriptorProto) error {
	pending := map[string]*descriptorpb.FileDescriptorProto{}
	for _, file := range files {
		pending[file.GetName()] = file
	}
	var link func(name string) error
	link = func(name string) error {
		file := pending[name]
		delete(pending, name)
		if file == nil || isBuiltIn(name) {
			return nil
		}
		for _, dependency := range file.Dependency {
			if err := link(dependency); err != nil {
				return err
			}
		}
		if _, err := s.sets.FindFileByPath(name); err == nil {
			return nil
		}
		linked, err := protodesc.NewFile(file, setResolver{s.sets})
		if err != nil {
			return err
		}
		return s.sets.RegisterFile(linked)
	}
	for _, file := range files {
		if err := link(file.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// setResolver finds what a descriptor set imports: angz's own copies first.
type setResolver struct{ sets *protoregistry.Files }

func (r setResolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if !isBuiltIn(path) {
		if file, err := r.sets.FindFileByPath(path); err == nil {
			return file, nil
		}
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (r setResolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if descriptor, err := r.sets.FindDescriptorByName(name); err == nil {
		return descriptor, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// list returns every .proto file below the folders by the name under which it
// is imported. A folder inside another one names its files itself.
func (s *sources) list(ctx context.Context) ([]string, error) {
	var names []string
	for _, root := range s.folders {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err = cmp.Or(err, ctx.Err()); err != nil {
				return err
			}
			if entry.IsDir() {
				if path != root && (slices.Contains(s.folders, path) || isForeign(path)) {
					return fs.SkipDir
				}
				return nil
			}
			if filepath.Ext(path) != ".proto" {
				return nil
			}
			name, err := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(name))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// isForeign reports whether a folder holds other people's files: hidden folders,
// Node's packages and Python's virtual environments.
func isForeign(folder string) bool {
	base := filepath.Base(folder)
	if strings.HasPrefix(base, ".") || base == "node_modules" {
		return true
	}
	_, err := os.Stat(filepath.Join(folder, "pyvenv.cfg"))
	return err == nil
}

func (s *sources) compile(ctx context.Context, names []string) ([]protoreflect.FileDescriptor, error) {
	linked, problems, err := s.compileTogether(ctx, names)
	if err == nil {
		return linked, nil
	}
	// The compiler stops at the first import that is missing. One file at a
	// time, it gets to all of them.
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_, more, _ := s.compileTogether(ctx, []string{name})
		problems = append(problems, more...)
	}
	if len(problems) == 0 {
		return nil, fmt.Errorf("load schema: %w", err)
	}
	return nil, &Invalid{sorted(problems)}
}

func (s *sources) compileTogether(ctx context.Context, names []string) ([]protoreflect.FileDescriptor, []Problem, error) {
	var (
		mu       sync.Mutex // when ctx ends, the compiler's goroutines may outlive the call
		problems []Problem
	)
	compiler := protocompile.Compiler{
		Resolver: protocompile.ResolverFunc(s.find),
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, s.problem(err))
			return nil // go on, to report everything at once
		}, nil),
	}
	linked, err := compiler.Compile(ctx, names...)
	mu.Lock()
	defer mu.Unlock()
	var missing reporter.ErrorWithPos
	if errors.As(err, &missing) {
		problems = append(problems, s.problem(missing))
	}
	files := make([]protoreflect.FileDescriptor, len(linked))
	for i, file := range linked {
		files[i] = file
	}
	return files, problems, err
}

// find answers the compiler: angz's own copies first, then the project's files,
// its descriptor sets, and last what happens to be linked into angz.
func (s *sources) find(name string) (protocompile.SearchResult, error) {
	if !isBuiltIn(name) {
		if file, err := s.open(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return protocompile.SearchResult{Source: file}, err
		}
	}
	file, err := setResolver{s.sets}.FindFileByPath(name)
	if err != nil {
		return protocompile.SearchResult{}, fmt.Errorf("%s: there is no such file in %s", name, strings.Join(s.folders, ", "))
	}
	return protocompile.SearchResult{Desc: file}, nil
}

func (s *sources) open(name string) (*os.File, error) {
	for _, folder := range s.folders {
		file, err := os.Open(filepath.Join(folder, filepath.FromSlash(name)))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, fs.ErrNotExist
}

// problem names a mistake by the file's path on disk, so that terminals and
// editors can open it.
func (s *sources) problem(err reporter.ErrorWithPos) Problem {
	at := err.GetPosition()
	path := at.Filename
	for _, folder := range s.folders {
		candidate := filepath.Join(folder, filepath.FromSlash(at.Filename))
		if _, statErr := os.Stat(candidate); statErr == nil {
			path = candidate
			break
		}
	}
	return NewProblem(path, path, at.Line, at.Col, err.Unwrap().Error())
}

func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(problems)
}
