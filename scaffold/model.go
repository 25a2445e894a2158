package scaffold

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Domain is what the .proto files say about one domain.
type Domain struct {
	Name        Name
	Domain      string // as it is written in the option
	File        string // as it is imported: customer.proto
	Stem        string // without its ending: customer
	Package     string // of the messages; may be empty
	JavaPackage string
	State       *Message // nil when no message is marked so
	Commands    []*Message
	Events      []*Message
}

// Message is a message of a domain.
type Message struct {
	Name     Name
	Spelling string // as in the .proto; Name.Pascal where that follows the conventions
	FullName string
	Doc      string // the comment above it, without a line break at the end
	Fields   []Field
}

// Field is a field of a message.
type Field struct {
	Name     Name
	Spelling string // as in the .proto
	Type     string // the scalar's name; "message", "enum", "map" for others
	Repeated bool
	Number   int
}

// scalar reports whether a field can be copied as it is in every language.
func (f Field) scalar() bool {
	return !f.Repeated && !slices.Contains([]string{"message", "enum", "map", "bytes", "group"}, f.Type)
}

// Fault is something in a .proto file that angz cannot make sense of.
type Fault struct {
	File         string // as it is imported
	Line, Column int    // counted from 1; 0 when it is about the file as a whole
	Message      string
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// Describe reads which messages are commands, events and state of which domain,
// from the options that angz gives to .proto files. Domains come in the order of
// their names. The error is a *Fault.
func Describe(files []protoreflect.FileDescriptor) ([]Domain, error) {
	var domains []Domain
	for _, file := range files {
		domain, err := describeFile(file)
		if err != nil {
			return nil, err
		}
		if domain == nil {
			continue
		}
		if i := slices.IndexFunc(domains, func(d Domain) bool { return d.Domain == domain.Domain }); i >= 0 {
			return nil, &Fault{File: file.Path(), Message: fmt.Sprintf("the domain %q is described in %s already; expected all its messages in one file", domain.Domain, domains[i].File)}
		}
		domains = append(domains, *domain)
	}
	slices.SortFunc(domains, func(a, b Domain) int { return strings.Compare(a.Domain, b.Domain) })
	return domains, nil
}

// describeFile returns nil for a file that describes no domain.
func describeFile(file protoreflect.FileDescriptor) (*Domain, error) {
	options := &descriptorpb.FileOptions{}
	if err := known(file.Options(), options); err != nil {
		return nil, &Fault{File: file.Path(), Message: err.Error()}
	}
	domain := Domain{
		Domain: proto.GetExtension(options, pb.E_Domain).(string),
		File:   file.Path(), Stem: strings.TrimSuffix(file.Path(), ".proto"),
		Package: string(file.Package()), JavaPackage: options.GetJavaPackage(),
	}
	if domain.JavaPackage == "" {
		domain.JavaPackage = domain.Package
	}
	domain.Name = words(strings.ReplaceAll(domain.Domain, ".", "-"))
	for i := range file.Messages().Len() {
		if err := domain.add(file.Messages().Get(i)); err != nil {
			return nil, err
		}
	}
	if domain.Domain == "" {
		return nil, nil
	}
	return &domain, nil
}

// add sorts a message in by its kind.
func (d *Domain) add(message protoreflect.MessageDescriptor) error {
	options := &descriptorpb.MessageOptions{}
	if err := known(message.Options(), options); err != nil {
		return fault(message, err.Error())
	}
	kind := proto.GetExtension(options, pb.E_Kind).(pb.Kind)
	if kind == pb.Kind_KIND_UNSPECIFIED {
		return nil
	}
	if d.Domain == "" {
		return fault(message, fmt.Sprintf("%s is marked %s, but its file belongs to no domain; expected option (angzarr.domain) = \"NAME\"; at the top of the file", message.Name(), kind))
	}
	made := newMessage(message)
	if made.Spelling != made.Name.Pascal() && !strings.EqualFold(made.Spelling, made.Name.Pascal()) || strings.ToUpper(made.Spelling[:1]) != made.Spelling[:1] {
		return fault(message, fmt.Sprintf("%s is marked %s, and functions are named after it; expected words that begin with capitals, as in %s", message.Name(), kind, made.Name.Pascal()))
	}
	switch kind {
	case pb.Kind_KIND_COMMAND:
		d.Commands = append(d.Commands, made)
	case pb.Kind_KIND_EVENT:
		d.Events = append(d.Events, made)
	case pb.Kind_KIND_STATE:
		if d.State != nil {
			return fault(message, fmt.Sprintf("%s is marked KIND_STATE, and so is %s; expected one state in the domain %q", message.Name(), d.State.Spelling, d.Domain))
		}
		d.State = made
	default:
		return fault(message, fmt.Sprintf("%s has the kind %d, which this angz does not know; expected KIND_COMMAND, KIND_EVENT or KIND_STATE", message.Name(), kind))
	}
	return nil
}

// known reads options anew, so that angz's own extensions are found whichever way
// the file was compiled.
func known(options proto.Message, into proto.Message) error {
	encoded, err := proto.Marshal(options)
	if err != nil {
		return fmt.Errorf("read the options: %w", err)
	}
	if err := proto.Unmarshal(encoded, into); err != nil {
		return fmt.Errorf("read the options: %w", err)
	}
	return nil
}

func fault(at protoreflect.Descriptor, message string) *Fault {
	f := &Fault{File: at.ParentFile().Path(), Message: message}
	if location := at.ParentFile().SourceLocations().ByDescriptor(at); location.Path != nil {
		f.Line, f.Column = location.StartLine+1, location.StartColumn+1
	}
	return f
}

func newMessage(message protoreflect.MessageDescriptor) *Message {
	made := &Message{
		Name: words(string(message.Name())), Spelling: string(message.Name()), FullName: string(message.FullName()),
		Doc: strings.TrimSpace(message.ParentFile().SourceLocations().ByDescriptor(message).LeadingComments),
	}
	for i := range message.Fields().Len() {
		made.Fields = append(made.Fields, newField(message.Fields().Get(i)))
	}
	return made
}

func newField(field protoreflect.FieldDescriptor) Field {
	made := Field{Name: words(string(field.Name())), Spelling: string(field.Name()), Type: field.Kind().String(), Repeated: field.IsList(), Number: int(field.Number())}
	if field.IsMap() {
		made.Type = "map"
	}
	if field.ContainingOneof() != nil { // also optional ones: they need a question first
		made.Type = "message"
	}
	return made
}
