package protocheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	protofiles "github.com/angz-dev/angz/proto"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Schema are compiled .proto files. It never changes and may be shared.
type Schema struct {
	source   Source
	files    []protoreflect.FileDescriptor // the project's own, by name
	messages map[protoreflect.FullName]protoreflect.MessageDescriptor
	enums    map[protoreflect.FullName]protoreflect.EnumDescriptor
}

// Compile compiles .proto files. angz's own and Google's can be imported, and
// those that angz was built with count. Mistakes are reported together, as a
// *Broken.
func Compile(ctx context.Context, source Source) (*Schema, error) {
	s := &Schema{source: source, messages: map[protoreflect.FullName]protoreflect.MessageDescriptor{}, enums: map[protoreflect.FullName]protoreflect.EnumDescriptor{}}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(source)), isBuiltIn)
	files, findings, err := s.compile(ctx, names)
	if err != nil && ctx.Err() == nil {
		// The compiler stops at the first import that is missing. One file at
		// a time, it gets to all of them.
		for _, name := range names {
			_, more, _ := s.compile(ctx, []string{name})
			findings = append(findings, more...)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(findings) > 0:
		return nil, &Broken{sorted(findings)}
	case err != nil:
		return nil, fmt.Errorf("compile the .proto files: %w", err)
	}
	s.files = files
	for _, file := range files {
		s.index(file)
	}
	return s, nil
}

// isBuiltIn reports whether angz has its own copy of a file.
func isBuiltIn(name string) bool {
	return strings.HasPrefix(name, "angzarr/") || strings.HasPrefix(name, "google/protobuf/")
}

func (s *Schema) compile(ctx context.Context, names []string) ([]protoreflect.FileDescriptor, []Finding, error) {
	var (
		mu       sync.Mutex // when ctx ends, the compiler's goroutines may outlive the call
		findings []Finding
	)
	add := func(err reporter.ErrorWithPos) {
		at := err.GetPosition()
		message := strings.ReplaceAll(err.Unwrap().Error(), "unexpected $end", "the file ends where more is expected")
		findings = append(findings, s.at(Finding{Rule: "compile", Severity: Error, Message: message}, at.Filename, at.Line, at.Col))
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
	return files, findings, err
}

// open finds a file by the name it is imported by.
func (s *Schema) open(name string) (protocompile.SearchResult, error) {
	if content, err := protofiles.Files.ReadFile(name); err == nil {
		return protocompile.SearchResult{Source: bytes.NewReader(content)}, nil
	}
	if file, known := s.source[name]; known && !strings.HasPrefix(name, "google/protobuf/") {
		return protocompile.SearchResult{Source: bytes.NewReader(file.Content)}, nil
	}
	return protocompile.SearchResult{}, fmt.Errorf("there is no %s in the project's folders of .proto files", name)
}

// descriptors are what has messages and enums in it: files and messages.
type container interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
}

func (s *Schema) index(in container) {
	for i := range in.Enums().Len() {
		s.enums[in.Enums().Get(i).FullName()] = in.Enums().Get(i)
	}
	for i := range in.Messages().Len() {
		message := in.Messages().Get(i)
		if !message.IsMapEntry() {
			s.messages[message.FullName()] = message
			s.index(message)
		}
	}
}

// at gives a finding a place.
func (s *Schema) at(f Finding, name string, line, column int) Finding {
	f.File, f.Line, f.Column = name, line, column
	file, known := s.source[name]
	if !known {
		return f
	}
	f.File = file.Shown
	if lines := strings.Split(string(file.Content), "\n"); line > 0 && line <= len(lines) {
		f.Text = strings.ReplaceAll(strings.TrimRight(lines[line-1], "\r"), "\t", " ")
	}
	return f
}

// of gives a finding the place of what it is about.
func (s *Schema) of(f Finding, about protoreflect.Descriptor) Finding {
	if f.Name == "" {
		f.Name = string(about.FullName())
	}
	location := about.ParentFile().SourceLocations().ByDescriptor(about)
	if location.Path == nil {
		return s.at(f, about.ParentFile().Path(), 0, 0)
	}
	return s.at(f, about.ParentFile().Path(), location.StartLine+1, location.StartColumn+1)
}

// kind returns what a message is to its domain.
func kind(message protoreflect.MessageDescriptor) pb.Kind {
	options := &descriptorpb.MessageOptions{}
	if !known(message.Options(), options) {
		return pb.Kind_KIND_UNSPECIFIED
	}
	return proto.GetExtension(options, pb.E_Kind).(pb.Kind)
}

// domain returns which domain a file describes, empty for none.
func domain(file protoreflect.FileDescriptor) string {
	options := &descriptorpb.FileOptions{}
	if !known(file.Options(), options) {
		return ""
	}
	return proto.GetExtension(options, pb.E_Domain).(string)
}

// known reads options anew, so that angz's own extensions are found whichever way
// the file was compiled.
func known(options, into proto.Message) bool {
	encoded, err := proto.Marshal(options)
	return err == nil && proto.Unmarshal(encoded, into) == nil
}

// isKept reports whether messages of a kind are stored.
func isKept(kind pb.Kind) bool { return kind == pb.Kind_KIND_EVENT || kind == pb.Kind_KIND_STATE }

// kindName is a kind in a word.
func kindName(kind pb.Kind) string {
	return strings.ToLower(strings.TrimPrefix(kind.String(), "KIND_"))
}
