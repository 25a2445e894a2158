package scaffold

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// data is what templates of a plan know. DispatchData is what those of generated
// code know.
type data struct {
	Project  Name
	Name     Name
	Language string
	Folder   string
	Domain   *Domain  // the new one
	Fields   []Field  // of the new domain's messages
	From, To *Domain  // what a projector or saga reads, and what a saga writes
	Event    *Message // of From, which the sample handles
	Command  *Message // of To, which the sample sends
	Cause    *Message // of From: the command that leads to Event
	Shared   []Field  // of Event that the view or the command has as well
	Sample   []cell   // a row of a table: the view, or the command that leads to Event
	Extra    map[string]string
	Sent     []cell // a row of a table: what of Sample the saga sends on
}

// cell is one value of a sample.
type cell struct{ Column, Cell string }

// DispatchData is what the templates of generated code know.
type DispatchData struct {
	Project Name
	Name    Name     // of the .proto file, which languages name packages after
	Domain  *Domain  // nil for what is written once for all domains
	Domains []Domain // all of them
	Folder  string
	// Extra is what only one language needs to know, such as Go's module.
	Extra map[string]string
}

// path fills in the names in a template's path.
func (d *data) path(text string) string { return replaceNames(text, d.Project, d.Name) }

// Path fills in the names in the path of a template of generated code.
func (d DispatchData) Path(text string) string {
	if d.Domain != nil {
		text = strings.ReplaceAll(text, "@javapath@", strings.ReplaceAll(d.Domain.JavaPackage, ".", "/"))
	}
	return replaceNames(text, d.Project, d.Name)
}

func replaceNames(text string, project, name Name) string {
	return strings.NewReplacer("@snake@", name.Snake(), "@kebab@", name.Kebab(), "@pascal@", name.Pascal(), "@flat@", name.Flat(), "@project@", project.Flat()).Replace(text)
}

func newData(spec Spec) (*data, error) {
	d := &data{Project: spec.Project, Name: spec.Name, Language: spec.Language, Folder: spec.Folder, Extra: map[string]string{"module": spec.Project.Flat()}}
	maps.Copy(d.Extra, spec.Extra)
	switch spec.Kind {
	case KindProject:
		return d, nil
	case KindDomain:
		for i, name := range spec.Fields {
			d.Fields = append(d.Fields, Field{Name: name, Spelling: name.Snake(), Type: "string", Number: i + 1})
		}
		d.Domain = newDomain(spec.Project, spec.Name, d.Fields)
		return d, nil
	case KindProjector, KindSaga:
		return d, d.follow(spec)
	}
	return nil, fmt.Errorf("angz makes no %q, expected %s", spec.Kind, oneOf([]string{"project", "domain", "projector", "saga"}))
}

// newDomain returns what the .proto file of a new domain will say.
func newDomain(project, name Name, fields []Field) *Domain {
	message := func(fields []Field, words ...string) *Message {
		made := &Message{Name: words, Fields: fields}
		made.Spelling = made.Name.Pascal()
		made.FullName = name.Snake() + "." + made.Spelling
		return made
	}
	around := func(before string, after string) []string {
		all := slices.Clone([]string(name))
		if before != "" {
			all = append([]string{before}, all...)
		}
		if after != "" {
			all = append(all, after)
		}
		return all
	}
	return &Domain{
		Name: name, Domain: name.Kebab(), File: name.Snake() + ".proto", Stem: name.Snake(), Package: name.Snake(),
		JavaPackage: project.Flat() + "." + name.Flat(),
		State:       message(fields, around("", "state")...),
		Commands:    []*Message{message(fields, around("create", "")...), message(fields[:1], around("rename", "")...)},
		Events:      []*Message{message(fields, around("", "created")...), message(fields[:1], around("", "renamed")...)},
	}
}

// follow looks up what a projector or a saga follows.
func (d *data) follow(spec Spec) (err error) {
	if d.From, err = spec.domain(spec.From, "--from"); err != nil {
		return err
	}
	if len(d.From.Events) == 0 {
		return fmt.Errorf("%s marks no event of the domain %q; expected a message with option (angzarr.kind) = KIND_EVENT;", d.From.File, spec.From)
	}
	d.Event = d.From.Events[0]
	if spec.Kind == KindProjector {
		d.Shared = slices.DeleteFunc(slices.Clone(d.Event.Fields), func(f Field) bool { return !f.scalar() || f.Spelling == "changes" })
		d.Shared = d.Shared[:min(len(d.Shared), maxShared)]
		d.Sample = sample(d.Shared)
		return nil
	}
	if d.To, err = spec.domain(spec.To, "--to"); err != nil {
		return err
	}
	if len(d.To.Commands) == 0 {
		return fmt.Errorf("%s marks no command of the domain %q; expected a message with option (angzarr.kind) = KIND_COMMAND;", d.To.File, spec.To)
	}
	if len(d.From.Commands) == 0 {
		return fmt.Errorf("%s marks no command of the domain %q; expected a message with option (angzarr.kind) = KIND_COMMAND;", d.From.File, spec.From)
	}
	d.Command, d.Cause = d.To.Commands[0], d.From.Commands[0]
	d.Shared = shared(d.Event, d.Command)
	d.Sample = sample(shared(d.Event, d.Cause))
	d.Sent = sample(d.Shared)
	return nil
}

const maxShared = 14 // what the view has room for before its own field

// domain finds a domain by the name it has in angz.yaml.
func (s Spec) domain(name, flag string) (*Domain, error) {
	var known []string
	for i := range s.Schema {
		if s.Schema[i].Domain == name {
			return &s.Schema[i], nil
		}
		known = append(known, s.Schema[i].Domain)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("a %s needs a domain to follow, and no .proto file describes one; make one first: angz new domain NAME", s.Kind)
	}
	if name == "" {
		return nil, fmt.Errorf("a %s needs %s DOMAIN, one of %s", s.Kind, flag, strings.Join(known, ", "))
	}
	return nil, fmt.Errorf("%s: no .proto file describes the domain %q, expected %s; in its file there must be option (angzarr.domain) = %q;", flag, name, oneOf(known), name)
}

// shared returns the fields of one message that another one has as well, with
// the same type.
func shared(from, to *Message) []Field {
	var both []Field
	for _, field := range from.Fields {
		same := func(other Field) bool {
			return other.Spelling == field.Spelling && other.Type == field.Type && other.scalar()
		}
		if field.scalar() && slices.ContainsFunc(to.Fields, same) {
			both = append(both, field)
		}
	}
	return both
}

// sample makes up a value for each field.
func sample(fields []Field) []cell {
	var row []cell
	for _, field := range fields {
		row = append(row, cell{field.Spelling, sampleValue(field)})
	}
	return row
}

func sampleValue(field Field) string {
	texts := map[string]string{"name": "Alice", "email": "alice@example.com"}
	switch field.Type {
	case "string":
		return cmp.Or(texts[field.Spelling], "some "+field.Name.Kebab())
	case "bool":
		return "true"
	}
	return "1"
}

// literal writes a made-up value of a field as most languages do.
func literal(field Field) string {
	if field.Type == "string" {
		return strconv.Quote(sampleValue(field))
	}
	return sampleValue(field)
}

// StemName returns the name of a .proto file, which languages name their
// packages after: shop/order_item.proto is shop-order-item.
func StemName(file string) Name {
	return words(strings.NewReplacer("/", "-", ".", "-").Replace(strings.TrimSuffix(file, ".proto")))
}

// StemName returns the name of the domain's file, see the function StemName.
func (d Domain) StemName() Name { return StemName(d.File) }
