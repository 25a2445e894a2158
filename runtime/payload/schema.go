// Package payload knows the types that travel inside google.protobuf.Any: it
// compiles a project's .proto files in process and turns payloads into JSON for
// people and back again. Nothing else in angz looks into a payload; the runtime
// only carries them.
package payload

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	_ "github.com/angz-dev/angz/proto/angzarrpb" // the contract's own messages, for the lookups below
	"github.com/angz-dev/angz/runtime/book"
)

// defaultPrefix makes a type URL of a bare message name.
const defaultPrefix = "type.googleapis.com/"

// Schema is a set of message types. It never changes and may be shared between
// goroutines. The zero Schema, and a nil one, know only what is built into angz:
// the wire contract and the well-known types.
type Schema struct {
	files    *protoregistry.Files
	types    *dynamicpb.Types // the extensions in files
	messages map[protoreflect.FullName]protoreflect.MessageDescriptor
	// own lists the project's messages, without those of angz and of Google,
	// under their short names.
	own map[string][]protoreflect.MessageDescriptor
}

// newSchema indexes files that have been linked with each other.
func newSchema(files []protoreflect.FileDescriptor) (*Schema, error) {
	s := &Schema{
		files:    new(protoregistry.Files),
		messages: map[protoreflect.FullName]protoreflect.MessageDescriptor{},
		own:      map[string][]protoreflect.MessageDescriptor{},
	}
	for _, file := range files {
		if err := s.add(file); err != nil {
			return nil, err
		}
	}
	s.types = dynamicpb.NewTypes(s.files)
	return s, nil
}

func (s *Schema) add(file protoreflect.FileDescriptor) error {
	if _, err := s.files.FindFileByPath(file.Path()); err == nil {
		return nil
	}
	imports := file.Imports()
	for i := range imports.Len() {
		if imported := imports.Get(i); !imported.IsPlaceholder() {
			if err := s.add(imported.FileDescriptor); err != nil {
				return err
			}
		}
	}
	if err := s.files.RegisterFile(file); err != nil {
		return fmt.Errorf("load schema: %s: %w", file.Path(), err)
	}
	s.index(file.Messages(), isBuiltIn(file.Path()))
	return nil
}

func (s *Schema) index(messages protoreflect.MessageDescriptors, builtIn bool) {
	for i := range messages.Len() {
		message := messages.Get(i)
		if message.IsMapEntry() {
			continue
		}
		s.messages[message.FullName()] = message
		if !builtIn {
			short := string(message.Name())
			s.own[short] = append(s.own[short], message)
		}
		s.index(message.Messages(), builtIn)
	}
}

// Empty reports whether the schema knows no types of a project.
func (s *Schema) Empty() bool { return s == nil || len(s.own) == 0 }

// Message returns the type that a type URL, whatever its prefix, or a full
// message name stands for.
func (s *Schema) Message(typeURLOrName string) (protoreflect.MessageDescriptor, bool) {
	name := protoreflect.FullName(book.TypeName(typeURLOrName))
	if message, ok := builtIn(name); ok {
		return message, true
	}
	if s != nil {
		if message, ok := s.messages[name]; ok {
			return message, true
		}
	}
	return linked(name)
}

// JSON returns a payload as one line of JSON: the protobuf JSON mapping, fields
// in the order of their declaration, 64-bit integers exact as strings. A payload,
// or one nested in it, whose type is unknown or whose bytes are not of its type
// is shown as {"@type": …, "@value": base64}; known says whether the outermost
// one was decoded. The error is always nil; other sources of types may fail.
func (s *Schema) JSON(message *anypb.Any) (json []byte, known bool, err error) {
	json, known = encodeJSON(message, s.Message, s.extensions())
	return json, known, nil
}

// Encode makes a payload of JSON text by the protobuf JSON mapping. typeName is
// anything Find takes; a type URL keeps its prefix. No text at all is an empty
// message. Errors: those of Find, and *BadJSON.
func (s *Schema) Encode(domain, typeName string, json []byte) (*anypb.Any, error) {
	message, err := s.Find(domain, typeName)
	if err != nil {
		return nil, err
	}
	value, err := decodeJSON(json, message, typeResolver{s.Message, s.extensions()})
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: typeURL(typeName, message), Value: value}, nil
}

// typeURL returns the URL under which a payload is stored: what was asked for,
// if that was a URL.
func typeURL(asked string, message protoreflect.MessageDescriptor) string {
	if name := book.TypeName(asked); name != asked && name == string(message.FullName()) {
		return asked
	}
	return defaultPrefix + string(message.FullName())
}

// Descriptors returns the schema's files and everything linked into angz, as
// gRPC reflection wants them. Where both have a file or name, angz's own counts,
// so that its services are described as they are.
func (s *Schema) Descriptors() protodesc.Resolver { return descriptors{s} }

type descriptors struct{ schema *Schema }

func (d descriptors) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err == nil || d.schema == nil || d.schema.files == nil {
		return file, err
	}
	return d.schema.files.FindFileByPath(path)
}

func (d descriptors) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err == nil || d.schema == nil || d.schema.files == nil {
		return descriptor, err
	}
	return d.schema.files.FindDescriptorByName(name)
}

// extensions returns the schema's proto2 extensions.
func (s *Schema) extensions() protoregistry.ExtensionTypeResolver {
	if s == nil || s.types == nil {
		return protoregistry.GlobalTypes
	}
	return s.types
}

// typeResolver lets protobuf's JSON decoder look up the types of nested Anys.
type typeResolver struct {
	lookup func(name string) (protoreflect.MessageDescriptor, bool)
	protoregistry.ExtensionTypeResolver
}

func (r typeResolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return r.FindMessageByURL(string(name))
}

func (r typeResolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	message, ok := r.lookup(url)
	if !ok {
		return nil, protoregistry.NotFound
	}
	return dynamicpb.NewMessageType(message), nil
}

// Files lists the project's files, without those of angz and of Google, in the
// order of their paths.
func (s *Schema) Files() (files []protoreflect.FileDescriptor) {
	if s == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, messages := range s.own {
		for _, message := range messages {
			if file := message.ParentFile(); !seen[file.Path()] {
				seen[file.Path()] = true
				files = append(files, file)
			}
		}
	}
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files
}
