package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	commandType  = reflect.TypeFor[Command]()
	servicesType = reflect.TypeFor[[]Service]()
	rulesType    = reflect.TypeFor[[]AuthRule]()
	stringsType  = reflect.TypeFor[[]string]()
	mapType      = reflect.TypeFor[map[string]string]()
)

// field is one key of the schema, read from the tags of a struct's field.
type field struct {
	key     string
	alias   string   // another name of the key, or empty
	index   int      // in its struct
	kinds   []string // the kinds of service that have the key; none means all
	options []string // the words allowed
	tag     reflect.StructTag
	typ     reflect.Type
	content *field // what the file holds that the key names; nil for other keys
}

// fieldsOf returns the keys of a section. kind is the kind of service the
// section belongs to, empty for none; keys of other kinds are included.
func fieldsOf(section reflect.Type, kind string) []field {
	var fields []field
	for i := range section.NumField() {
		described := section.Field(i)
		key, ok := described.Tag.Lookup("key")
		if !ok {
			continue
		}
		made := field{
			key: key, alias: described.Tag.Get("alias"), index: i, tag: described.Tag, typ: described.Type,
			kinds: strings.Fields(described.Tag.Get("kinds")), options: strings.Fields(described.Tag.Get("enum")),
		}
		if only := described.Tag.Get("aliaskinds"); only != "" && only != kind {
			made.alias = ""
		}
		fields = append(fields, made)
		if made.secret() && made.typ.Kind() == reflect.String {
			fields = append(fields, made.inFile())
		}
	}
	return fields
}

// inFile returns the key that stands beside a secret one and names a file with
// the secret.
func (f field) inFile() field {
	described := fmt.Sprintf(`format:"path" doc:"A file that holds what %s would, as container platforms mount secrets; seen from the configuration file."`, f.key)
	return field{key: f.key + fileSuffix, index: f.index, kinds: f.kinds, typ: f.typ, tag: reflect.StructTag(described), content: &f}
}

func (f field) secret() bool { return f.tag.Get("secret") == "true" }

// isSection reports whether the key holds further keys.
func (f field) isSection() bool { return f.typ.Kind() == reflect.Struct && f.typ != commandType }

// isList reports whether the key holds entries with further keys.
func (f field) isList() bool { return f.typ == servicesType || f.typ == rulesType }

// isFor reports whether a kind of service has the key.
func (f field) isFor(kind string) bool {
	return len(f.kinds) == 0 || slices.Contains(f.kinds, kind)
}

// names returns the names under which the keys may be written.
func names(fields []field, kind string) []string {
	var all []string
	for _, f := range fields {
		if !f.isFor(kind) || f.content != nil {
			continue
		}
		all = append(all, f.key)
		if f.alias != "" {
			all = append(all, f.alias)
		}
	}
	return all
}

// find returns the key that is written as name.
func find(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.key == name || f.alias == name && name != "" {
			return f, true
		}
	}
	return field{}, false
}

// at returns the value and description of the scalar, list or map at a path of
// sections. The last step is never a section or a list of services.
func at(root reflect.Value, path []string) (reflect.Value, field, bool) {
	for i, step := range path {
		f, ok := find(fieldsOf(root.Type(), ""), step)
		if !ok || f.isList() {
			break
		}
		root = root.Field(f.index)
		if last := i == len(path)-1; last || !f.isSection() {
			return root, f, last && !f.isSection()
		}
	}
	return reflect.Value{}, field{}, false
}

// setDefaults gives every key below root its default.
func setDefaults(root reflect.Value, dev bool) {
	for _, f := range fieldsOf(root.Type(), "") {
		value := root.Field(f.index)
		if f.isSection() {
			setDefaults(value, dev)
			continue
		}
		text := f.tag.Get("default")
		if other, ok := f.tag.Lookup("dev"); ok && dev {
			text = other
		}
		if text != "" {
			f.setText(value, text)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
