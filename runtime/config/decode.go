package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the work on one file: aliases let a short file name much more
// than it holds.
const maxNodes = 50_000

// maxMistakes bounds those that are remembered of a file that is something else.
const maxMistakes = 500

// loader builds one configuration and collects what is wrong on the way.
type loader struct {
	options  Options
	config   *Config
	doc      *document
	mistakes []*Error
	origins  map[string]place // where the value of each key came from
	settled  map[string]bool  // the keys about which enough has been said
	nodes    int
}

// complain reports a mistake about a key, at most one for each, and each place
// of the file once, however many keys an alias makes of it.
func (l *loader) complain(key string, at place, message string) {
	if len(l.mistakes) >= maxMistakes {
		return
	}
	spot := fmt.Sprintf("%d:%d %s", at.line, at.column, strings.TrimPrefix(message, key+": "))
	if l.settled[key] || at.line > 0 && l.settled[spot] {
		l.settled[key] = true
		return
	}
	l.settled[key], l.settled[spot] = true, true
	doc := l.doc
	if doc == nil {
		doc = &document{}
	}
	l.mistakes = append(l.mistakes, doc.mistake(at, message))
}

// part is a piece of the file with the key it belongs to.
type part struct {
	node *yaml.Node
	at   place
	path string
	kind string // the kind of service around it, if any
}

// child returns the part below a key.
func (p part) child(key string, value *yaml.Node) part {
	return part{node: value, at: place{line: value.Line, column: value.Column}, path: join(p.path, key), kind: p.kind}
}

// item returns the part of one entry of a list.
func (p part) item(index int) part {
	child := p.child("", p.node.Content[index])
	child.path = fmt.Sprintf("%s[%d]", p.path, index)
	return child
}

// resolved follows an alias to what it stands for.
func (p part) resolved() part {
	for p.node.Kind == yaml.AliasNode && p.node.Alias != nil {
		p.node = p.node.Alias
	}
	return p
}

func (p part) isNull() bool { return p.node.Kind == yaml.ScalarNode && p.node.ShortTag() == "!!null" }

// wrongType reports that a part is of another shape than its key needs.
func (l *loader) wrongType(p part, f field, expected string) {
	found := "a list"
	switch p.node.Kind {
	case yaml.MappingNode:
		found = "a mapping"
	case yaml.ScalarNode:
		found = quoted(p.node.Value)
		if f.secret() || f.content != nil { // people write secrets where their files belong
			found = "a value"
		}
		if p.isNull() {
			found = "nothing"
		}
	}
	p.at.secret = f.secret()
	l.complain(p.path, p.at, label(p.path)+": found "+found+", expected "+expected)
}

// label names a key in a message.
func label(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// section reads a mapping into a struct.
func (l *loader) section(p part, into reflect.Value) {
	p = p.resolved()
	fields := fieldsOf(into.Type(), p.kind)
	if p.isNull() {
		return
	}
	if p.node.Kind != yaml.MappingNode {
		holdsSecrets := field{}
		if slices.ContainsFunc(fields, field.secret) {
			holdsSecrets.tag = `secret:"true"`
		}
		l.wrongType(p, holdsSecrets, "a mapping with the keys "+strings.Join(names(fields, p.kind), ", "))
		return
	}
	for _, entry := range l.entries(p, fields) {
		f, known := find(fields, entry.key)
		if !known || !f.isFor(p.kind) {
			l.unknownKey(p, entry, fields)
			continue
		}
		child := p.child(f.key, entry.value)
		child.at.secret = f.secret()
		if f.typ == servicesType {
			child.path = entry.key // of two names the one that its writer knows
			l.config.written[f.key] = entry.key
		}
		l.value(child, f, into.Field(f.index))
	}
	l.checkFiles(p, fields)
}

// value reads what a key holds.
func (l *loader) value(p part, f field, into reflect.Value) {
	if l.tooMany(p, 1) {
		return
	}
	l.origins[p.path] = p.at
	p = p.resolved()
	switch {
	case f.typ == commandType:
		l.command(p, into)
	case f.isSection():
		l.section(p, into)
	case p.isNull():
		if f.tag.Get("null") == "empty" {
			into.SetZero()
			return
		}
		delete(l.origins, p.path) // nothing was said
	case f.isList():
		p.kind = f.tag.Get("kind")
		l.services(p, f, into)
	case f.typ == stringsType:
		l.list(p, f, into)
	case f.typ == mapType:
		l.mapping(p, f, into)
	default:
		l.scalar(p, f, func(text string) *complaint { return l.set(f, into, text, p.path, p.at) })
	}
}

// scalar reads a text, a number or a truth value. Quotes do not matter, since
// the key says which of them is meant.
func (l *loader) scalar(p part, f field, set func(text string) *complaint) {
	if p.node.Kind != yaml.ScalarNode {
		l.wrongType(p, f, f.typeName())
		return
	}
	tags := []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}
	if tag := p.node.ShortTag(); !slices.Contains(tags, tag) {
		l.wrongType(p, f, f.typeName()+" without the tag "+quoted(tag))
		return
	}
	if wrong := set(p.node.Value); wrong != nil {
		l.complain(p.path, p.at, p.path+": "+wrong.message())
	}
}

// tooMany counts values and reports when a file names more than any
// configuration needs.
func (l *loader) tooMany(p part, more int) bool {
	if l.nodes += more; l.nodes <= maxNodes {
		return false
	}
	l.complain("", p.at, fmt.Sprintf("found more than %d values, expected a configuration file", maxNodes))
	return true
}

// services reads a list of services or rules.
func (l *loader) services(p part, f field, into reflect.Value) {
	if p.node.Kind != yaml.SequenceNode {
		l.wrongType(p, f, "a list, each entry beginning with - "+fieldsOf(f.typ.Elem(), p.kind)[0].key+":")
		return
	}
	if l.tooMany(p, len(p.node.Content)) {
		return
	}
	list := reflect.MakeSlice(f.typ, len(p.node.Content), len(p.node.Content))
	for i := range list.Len() {
		setDefaults(list.Index(i), l.options.Dev)
		item := p.item(i)
		l.origins[item.path] = item.at
		if item.resolved().isNull() {
			l.wrongType(item, field{}, "the keys of a "+p.kind)
			continue
		}
		l.section(item, list.Index(i))
	}
	into.Set(list)
}

// list reads a list of texts.
func (l *loader) list(p part, f field, into reflect.Value) {
	if p.node.Kind == yaml.ScalarNode && f.tag.Get("single") == "true" {
		l.scalar(p, f, func(text string) *complaint { return f.setText(into, text) })
		return
	}
	if p.node.Kind != yaml.SequenceNode {
		expected := "a list"
		if p.node.Kind == yaml.ScalarNode && !f.secret() {
			expected = fmt.Sprintf("a list, such as [%s]", maskCredentials(p.node.Value))
		}
		l.wrongType(p, f, expected)
		return
	}
	if l.tooMany(p, len(p.node.Content)) {
		return
	}
	list := make([]string, 0, len(p.node.Content))
	for i := range p.node.Content {
		item := p.item(i)
		l.origins[item.path] = item.at
		l.scalar(item.resolved(), field{typ: reflect.TypeFor[string]()}, func(text string) *complaint {
			list = append(list, text)
			wrong := f.checkText(text)
			if wrong != nil && text == "*" {
				wrong.hint = "leave the key out to mean all"
			}
			return wrong
		})
	}
	into.Set(reflect.ValueOf(list))
}

// mapping reads names with their texts.
func (l *loader) mapping(p part, f field, into reflect.Value) {
	if p.node.Kind != yaml.MappingNode {
		l.wrongType(p, f, "a mapping of names to texts")
		return
	}
	if l.tooMany(p, len(p.node.Content)) {
		return
	}
	entries := map[string]string{}
	for _, entry := range l.entries(p, nil) {
		child := p.child(entry.key, entry.value)
		child.at.secret = f.secret()
		l.origins[child.path] = child.at
		child = child.resolved()
		if child.isNull() && f.secret() {
			entries[entry.key] = "" // an empty variable
			continue
		}
		l.scalar(child, field{typ: reflect.TypeFor[string](), tag: f.tag}, func(text string) *complaint {
			entries[entry.key] = text
			wrong := f.checkEntry(entry.key, text)
			if wrong != nil && f.secret() && entry.key != "" {
				wrong.found = "a value that is not shown here"
			}
			return wrong
		})
	}
	into.Set(reflect.ValueOf(entries))
}

// commandsAre says what is expected of a command.
const commandsAre = "a command: a line such as go run ., or a list of words"

// command reads a line for the shell or a list of words.
func (l *loader) command(p part, into reflect.Value) {
	switch {
	case p.isNull():
	case p.node.Kind == yaml.ScalarNode:
		l.scalar(p, field{typ: reflect.TypeFor[string]()}, func(text string) *complaint { return setCommand(into, text) })
	case p.node.Kind == yaml.SequenceNode && len(p.node.Content) > 0:
		var words []string
		l.list(p, field{typ: stringsType}, reflect.ValueOf(&words).Elem())
		if len(words) > 0 && words[0] == "" {
			l.complain(p.path, p.at, p.path+": found an empty first word, expected the program to run")
		}
		into.Set(reflect.ValueOf(Command{Argv: words}))
	default:
		l.wrongType(p, field{}, commandsAre)
	}
}

// typeName says what a key holds, for people.
func (f field) typeName() string {
	switch {
	case f.typ == commandType:
		return "command"
	case f.typ == durationType:
		return "duration"
	case f.typ == servicesType:
		return "list of services"
	case f.isList():
		return "list of rules"
	case f.typ == stringsType:
		return "list of texts"
	case f.typ == mapType:
		return "mapping of texts"
	case f.typ.Kind() == reflect.Bool:
		return "true or false"
	case f.typ.Kind() == reflect.Int:
		return "number"
	case len(f.options) > 0:
		return oneOf(f.options)
	}
	return "text"
}
