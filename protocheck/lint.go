package protocheck

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Rules are what Lint looks at, with what each is about.
var Rules = map[string]string{
	"domain-missing":   "a file with commands, events or a state says which domain it describes",
	"domain-unknown":   "the domain of a file is one of angz.yaml",
	"domain-files":     "one file describes a domain",
	"domain-state":     "a domain has one state, and only one",
	"kind-nested":      "commands, events and states are not inside of other messages",
	"package-domain":   "the package of a file is called as its domain",
	"package-reserved": "the packages angzarr and google are not the project's",
	"message-name":     "messages are called LikeThis",
	"field-name":       "fields are called like_this",
	"event-name":       "what has happened is not called a command, nor an order an event",
	"enum-zero":        "the first value of an enum says that nothing is said",
	"enum-value-name":  "values of enums are called LIKE_THIS",
	"field-required":   "no field is required for ever",
	"unmarked":         "a message that is no part of others is marked as what it is (a hint)",
	"ignore-unknown":   "angz:ignore names rules that there are",
}

// ignoreMark stands in a comment above what is meant to be as it is.
const ignoreMark = "angz:ignore"

// Lint finds what angz, or the code that it generates, cannot work with or what
// people will regret. domains are those of angz.yaml; none means that they are
// not known. A comment "angz:ignore RULE" above something, or above a message or
// file for all that is in it, silences a rule.
func Lint(schema *Schema, domains []string) []Finding {
	l := &linter{schema: schema, domains: domains, described: map[string]protoreflect.FileDescriptor{}, parts: schema.parts()}
	for _, file := range schema.files {
		l.file(file)
	}
	return sorted(l.findings)
}

type linter struct {
	schema    *Schema
	domains   []string
	described map[string]protoreflect.FileDescriptor // by domain
	parts     map[protoreflect.FullName]bool         // messages that others consist of, or that services take
	findings  []Finding
}

// parts returns the messages that are used in fields or by services.
func (s *Schema) parts() map[protoreflect.FullName]bool {
	parts := map[protoreflect.FullName]bool{}
	for _, message := range s.messages {
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			if field.IsMap() {
				field = field.MapValue()
			}
			if part := field.Message(); part != nil {
				parts[part.FullName()] = true
			}
		}
	}
	for _, file := range s.files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				parts[methods.Get(j).Input().FullName()] = true
				parts[methods.Get(j).Output().FullName()] = true
			}
		}
	}
	return parts
}

// report adds a finding about something, unless a comment says that it is meant.
func (l *linter) report(rule, message, advice string, about protoreflect.Descriptor) {
	if ignores(about, rule) {
		return
	}
	f := Finding{Rule: rule, Severity: Error, Message: message, Advice: advice}
	if rule == "unmarked" {
		f.Severity = Hint
	}
	l.findings = append(l.findings, l.place(f, about))
}

// The parts of a file that have a place and a comment, as FileDescriptorProto
// numbers them.
var (
	packagePath = protoreflect.SourcePath{2}
	syntaxPath  = protoreflect.SourcePath{12}
)

// place gives a finding its place; what is about a file is at its package.
func (l *linter) place(f Finding, about protoreflect.Descriptor) Finding {
	file, whole := about.(protoreflect.FileDescriptor)
	if !whole {
		return l.schema.of(f, about)
	}
	f.Name = string(file.Package())
	for _, path := range []protoreflect.SourcePath{packagePath, syntaxPath} {
		if at := file.SourceLocations().ByPath(path); at.Path != nil {
			return l.schema.at(f, file.Path(), at.StartLine+1, at.StartColumn+1)
		}
	}
	return l.schema.at(f, file.Path(), 1, 1)
}

// ignores reports whether a comment at something, or around it, names a rule.
func ignores(about protoreflect.Descriptor, rule string) bool {
	for ; about != nil; about = about.Parent() {
		if slices.Contains(ignored(about), rule) {
			return true
		}
	}
	return false
}

// ignored returns the rules that the comments above something name.
func ignored(about protoreflect.Descriptor) (rules []string) {
	for _, comment := range comments(about) {
		for line := range strings.Lines(comment) {
			after, found := strings.CutPrefix(strings.TrimSpace(line), ignoreMark)
			if found {
				rules = append(rules, strings.FieldsFunc(after, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })...)
			}
		}
	}
	return rules
}

func comments(about protoreflect.Descriptor) []string {
	locations := about.ParentFile().SourceLocations()
	if _, whole := about.(protoreflect.FileDescriptor); !whole {
		return []string{locations.ByDescriptor(about).LeadingComments}
	}
	var all []string
	for _, path := range []protoreflect.SourcePath{syntaxPath, packagePath} {
		at := locations.ByPath(path)
		all = append(append(all, at.LeadingDetachedComments...), at.LeadingComments)
	}
	return all
}

func (l *linter) file(file protoreflect.FileDescriptor) {
	l.ignoring(file)
	l.packageName(file)
	described := domain(file)
	if described != "" {
		l.domain(file, described)
	}
	l.messages(file, file)
	l.enums(file)
	states := 0
	for i := range file.Messages().Len() {
		message := file.Messages().Get(i)
		is := kind(message)
		switch {
		case is == pb.Kind_KIND_UNSPECIFIED:
			if described != "" && !l.parts[message.FullName()] {
				l.report("unmarked", fmt.Sprintf("%s is neither command, event nor state, and no part of one", message.Name()),
					"write option (angzarr.kind) = KIND_COMMAND; (or KIND_EVENT, KIND_STATE) in it if it is one", message)
			}
		case described == "":
			l.report("domain-missing", fmt.Sprintf("%s is marked %s, and its file says no domain", message.Name(), kindName(is)),
				fmt.Sprintf("write option (angzarr.domain) = %q; below the package", l.likely(file)), message)
		case is == pb.Kind_KIND_STATE:
			if states++; states > 1 {
				l.report("domain-state", fmt.Sprintf("%s is marked state, and the domain %q has one already", message.Name(), described),
					"leave one of them marked, and make the other a part of it", message)
			}
		}
	}
	if described != "" && states == 0 {
		l.report("domain-state", fmt.Sprintf("the domain %q has no state", described),
			"write a message with option (angzarr.kind) = KIND_STATE; for what its events add up to", file)
	}
}

// likely guesses the domain of a file.
func (l *linter) likely(file protoreflect.FileDescriptor) string {
	name := strings.TrimSuffix(path.Base(file.Path()), ".proto")
	for _, domain := range l.domains {
		if snake(domain) == snake(name) || snake(domain) == snake(string(file.Package())) {
			return domain
		}
	}
	return name
}

func snake(domain string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(domain) }

func (l *linter) ignoring(about protoreflect.Descriptor) {
	for _, rule := range ignored(about) {
		if _, known := Rules[rule]; !known {
			l.findings = append(l.findings, l.place(Finding{Rule: "ignore-unknown", Severity: Error,
				Message: fmt.Sprintf("%s names %q, and there is no such rule", ignoreMark, rule),
				Advice:  "name one of " + strings.Join(slices.Sorted(maps.Keys(Rules)), ", ")}, about))
		}
	}
}

func (l *linter) packageName(file protoreflect.FileDescriptor) {
	first, _, _ := strings.Cut(string(file.Package()), ".")
	if first == "angzarr" || first == "google" {
		l.report("package-reserved", fmt.Sprintf("the package %s belongs to %s", file.Package(), map[string]string{"angzarr": "angz", "google": "protobuf"}[first]),
			"take a package of the project's own", file)
	}
}

func (l *linter) domain(file protoreflect.FileDescriptor, described string) {
	if other := l.described[described]; other != nil {
		l.report("domain-files", fmt.Sprintf("the domain %q is described in %s already", described, l.schema.source[other.Path()].Shown),
			"put all messages of a domain into one file", file)
	} else {
		l.described[described] = file
	}
	if len(l.domains) > 0 && !slices.Contains(l.domains, described) {
		l.report("domain-unknown", fmt.Sprintf("angz.yaml has no domain %q; it has %s", described, strings.Join(l.domains, ", ")),
			fmt.Sprintf("correct the option angzarr.domain, or add the service: angz new domain %s", described), file)
	}
	// shop.customer and customer.v1 are called after the domain as well.
	in := "." + string(file.Package()) + "."
	if !strings.Contains(in, "."+snake(described)+".") && !strings.Contains(in, "."+described+".") {
		found := string(file.Package())
		if found == "" {
			found = "nothing"
		}
		l.report("package-domain", fmt.Sprintf("the file describes the domain %q, and its package is %s", described, found),
			fmt.Sprintf("write package %s; as long as nothing of it is stored: events are stored under their full names", snake(described)), file)
	}
}

// messages looks at messages that are declared in a file or in another message.
func (l *linter) messages(file protoreflect.FileDescriptor, in container) {
	for i := range in.Messages().Len() {
		message := in.Messages().Get(i)
		if message.IsMapEntry() {
			continue
		}
		l.ignoring(message)
		l.message(file, message)
		l.enums(message)
		l.messages(file, message)
	}
}

func (l *linter) message(file protoreflect.FileDescriptor, message protoreflect.MessageDescriptor) {
	name := string(message.Name())
	if !isPascal(name) {
		l.report("message-name", fmt.Sprintf("the message %s is not called LikeThis", name), "write message "+pascal(name), message)
	}
	is := kind(message)
	if _, outermost := message.Parent().(protoreflect.FileDescriptor); !outermost && is != pb.Kind_KIND_UNSPECIFIED {
		l.report("kind-nested", fmt.Sprintf("%s is marked %s inside of %s, where no code is generated for it", name, kindName(is), message.Parent().Name()),
			"move it out of the other message", message)
	}
	for kind, wrong := range map[pb.Kind]string{pb.Kind_KIND_EVENT: "Command", pb.Kind_KIND_COMMAND: "Event"} {
		if is == kind && strings.HasSuffix(name, wrong) {
			l.report("event-name", fmt.Sprintf("%s is marked %s, and its name says %s", name, kindName(is), strings.ToLower(wrong)),
				map[pb.Kind]string{pb.Kind_KIND_EVENT: "name events in the past, as in CustomerCreated", pb.Kind_KIND_COMMAND: "name commands as orders, as in CreateCustomer"}[is], message)
		}
	}
	for i := range message.Fields().Len() {
		l.field(message.Fields().Get(i))
	}
}

func (l *linter) field(field protoreflect.FieldDescriptor) {
	l.ignoring(field)
	if name := string(field.Name()); !isSnake(name) && field.Kind() != protoreflect.GroupKind {
		l.report("field-name", fmt.Sprintf("the field %s is not called like_this", name), fmt.Sprintf("write %s = %d;", lowerSnake(name), field.Number()), field)
	}
	if field.Cardinality() == protoreflect.Required {
		l.report("field-required", fmt.Sprintf("the field %s is required", field.Name()), "write optional: what is stored without it could never be read again, nor could it ever be removed", field)
	}
}

func (l *linter) enums(in container) {
	for i := range in.Enums().Len() {
		enum := in.Enums().Get(i)
		l.ignoring(enum)
		prefix := strings.ToUpper(lowerSnake(string(enum.Name())))
		if first := enum.Values().Get(0); !saysNothing(string(first.Name())) || first.Number() != 0 {
			l.report("enum-zero", fmt.Sprintf("%s = %d is what every event says of %s that says nothing", first.Name(), first.Number(), enum.Name()),
				fmt.Sprintf("write %s_UNSPECIFIED = 0; first, as long as nothing of it is stored", prefix), first)
		}
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			if name := string(value.Name()); name != strings.ToUpper(name) {
				l.report("enum-value-name", fmt.Sprintf("the value %s is not called LIKE_THIS", name), fmt.Sprintf("write %s = %d;", strings.ToUpper(lowerSnake(name)), value.Number()), value)
			}
		}
	}
}

// saysNothing reports whether the name of a value is one for "not said".
func saysNothing(name string) bool {
	return slices.ContainsFunc([]string{"UNSPECIFIED", "UNKNOWN", "NONE", "UNDEFINED", "UNSET", "INVALID"}, func(ending string) bool {
		return strings.HasSuffix(strings.ToUpper(name), ending)
	})
}

func isPascal(name string) bool {
	return unicode.IsUpper(rune(name[0])) && !strings.Contains(name, "_")
}

func isSnake(name string) bool {
	return name == strings.ToLower(name) && !strings.HasPrefix(name, "_") && !strings.HasSuffix(name, "_") && !strings.Contains(name, "__")
}

// pascal writes a name LikeThis.
func pascal(name string) string {
	var made strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			made.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return made.String()
}

// lowerSnake writes a name like_this.
func lowerSnake(name string) string {
	var made strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && name[i-1] != '_' && (!unicode.IsUpper(rune(name[i-1])) || i+1 < len(name) && unicode.IsLower(rune(name[i+1]))) {
			made.WriteByte('_')
		}
		made.WriteRune(unicode.ToLower(r))
	}
	return strings.Trim(strings.ReplaceAll(made.String(), "__", "_"), "_")
}
