// Package schemas describes the documents that angz prints by JSON Schema (draft
// 2020-12), read from the Go structs that are printed. The files beside it are
// what "angz schema" prints, for people and for those who review a change.
package schemas

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Address is what the $id of every schema begins with. It is a name, not a place:
// nothing is read from it.
const Address = "https://github.com/angz-dev/angz/schemas/"

// Document is a kind of document.
type Document struct {
	Name  string // such as "dead-letter"
	Title string // one sentence
	Type  reflect.Type
	Forms []reflect.Type // instead of Type, where a document is one of several
}

// ID returns the document's $id.
func (d Document) ID() string { return Address + d.Name + ".json" }

// Schema returns the schema of what encoding/json writes of the document's type, a
// struct, or of its forms. Every field says in its tag "doc" what it means; "format" names a format
// of JSON Schema, and "enum" the texts that there are, with | between them. A field
// without "omitempty" is required. A struct without a field's description, or with
// a type that has no schema, is an error.
func (d Document) Schema() ([]byte, error) {
	w := &writer{}
	root, err := w.root(d)
	if err != nil {
		return nil, fmt.Errorf("the schema of %s: %w", d.Name, err)
	}
	schema := append(object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"$id", d.ID()}, {"title", "angz " + d.Name}, {"description", d.Title},
	}, root...)
	if len(w.parts) > 0 {
		schema = append(schema, member{"$defs", w.parts})
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the schema of %s: %w", d.Name, err)
	}
	return append(text, '\n'), nil
}

// object is a JSON object whose members stay in their order, as a person would
// write it.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, name...), ':'), value...)
	}
	return append(text, '}'), nil
}

// writer writes one schema. Structs inside of the document are parts, written once
// each, so that a part may hold itself.
type writer struct {
	parts object
	types []reflect.Type // of the parts, in the same order
}

// root returns the schema of the document itself.
func (w *writer) root(d Document) (object, error) {
	if d.Type != nil {
		return w.object(d.Type)
	}
	var forms []object
	for _, form := range d.Forms {
		reference, err := w.part(form)
		if err != nil {
			return nil, err
		}
		forms = append(forms, reference)
	}
	return object{{"anyOf", forms}}, nil
}

// object returns the schema of a struct.
func (w *writer) object(of reflect.Type) (object, error) {
	properties, required := object{}, []string{}
	for field := range fields(of) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			return nil, fmt.Errorf("%s.%s has no name in JSON", of.Name(), field.Name)
		}
		described, err := w.field(field)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", of.Name(), field.Name, err)
		}
		properties = append(properties, member{name, described})
		if !slices.Contains(strings.Split(options, ","), "omitempty") {
			required = append(required, name)
		}
	}
	return object{{"type", "object"}, {"properties", properties}, {"required", required}, {"additionalProperties", false}}, nil
}

// fields ranges over the fields of a struct that are printed, those of embedded
// structs in their place.
func fields(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(of) {
			embedded := field.Anonymous && field.Tag.Get("json") == ""
			if embedded || !field.IsExported() || field.Tag.Get("json") == "-" {
				continue
			}
			if !yield(field) {
				return
			}
		}
	}
}

func (w *writer) field(field reflect.StructField) (object, error) {
	meaning := field.Tag.Get("doc")
	if meaning == "" {
		return nil, fmt.Errorf("its meaning is missing: say it in the tag doc")
	}
	shape, err := w.value(field.Type)
	if err != nil {
		return nil, err
	}
	if format := field.Tag.Get("format"); format != "" {
		shape = append(shape, member{"format", format})
	}
	if words := field.Tag.Get("enum"); words != "" {
		shape = append(shape, member{"enum", strings.Split(words, "|")})
	}
	return append(object{{"description", meaning}}, shape...), nil
}

var anyJSON = reflect.TypeFor[json.RawMessage]()

// value returns the schema of what a field holds.
func (w *writer) value(of reflect.Type) (object, error) {
	if of == anyJSON {
		return object{}, nil
	}
	switch of.Kind() {
	case reflect.String:
		return object{{"type", "string"}}, nil
	case reflect.Bool:
		return object{{"type", "boolean"}}, nil
	case reflect.Float64:
		return object{{"type", "number"}}, nil
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return object{{"type", "integer"}, {"minimum", 0}}, nil // everything that is counted
	case reflect.Pointer:
		return w.value(of.Elem())
	case reflect.Slice:
		items, err := w.value(of.Elem())
		return object{{"type", "array"}, {"items", items}}, err
	case reflect.Map:
		values, err := w.value(of.Elem())
		return object{{"type", "object"}, {"additionalProperties", values}}, err
	case reflect.Struct:
		return w.part(of)
	}
	return nil, fmt.Errorf("there is no schema for %s", of)
}

// part returns a reference to a struct, which it describes once.
func (w *writer) part(of reflect.Type) (object, error) {
	name := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(of.Name(), "Document"), "Line"))
	reference := object{{"$ref", "#/$defs/" + name}}
	if slices.Contains(w.types, of) {
		return reference, nil
	}
	if slices.ContainsFunc(w.parts, func(m member) bool { return m.name == name }) {
		return nil, fmt.Errorf("two parts are called %s", name)
	}
	at := len(w.parts)
	w.types, w.parts = append(w.types, of), append(w.parts, member{name, nil})
	described, err := w.object(of)
	w.parts[at].value = described
	return reference, err
}
