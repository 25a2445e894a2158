package config

import (
	"reflect"
	"strings"
)

// Key describes one key of the configuration for documentation.
type Key struct {
	Path      string   // "storage.type"; "[]" stands for each entry of a list
	Type      string   // what it holds, for people
	Default   string   // as it would be written; empty for none
	Dev       string   // the default of angz dev, where it is another
	Variables []string // the environment variables that set it, the seed's own first; 0 stands for each entry of a list
	Meaning   string   // complete sentences
	Secret    bool     // never shown
}

// Keys lists every key in the order of the schema.
func Keys() []Key {
	return keysOf(reflect.TypeFor[Config](), "", "")
}

func keysOf(section reflect.Type, path, kind string) []Key {
	var list []Key
	for _, f := range fieldsOf(section, kind) {
		if !f.isFor(kind) {
			continue
		}
		full := join(path, f.key)
		if f.isSection() {
			list = append(list, keysOf(f.typ, full, kind)...)
			continue
		}
		list = append(list, f.describe(full))
		if f.isList() {
			list = append(list, keysOf(f.typ.Elem(), full+"[]", f.tag.Get("kind"))...)
		}
	}
	return list
}

func (f field) describe(path string) Key {
	key := Key{
		Path: path, Type: f.typeName(), Default: f.tag.Get("default") + f.tag.Get("derived"), Dev: f.tag.Get("dev"),
		Meaning: f.tag.Get("doc"), Secret: f.secret(),
	}
	if own := f.tag.Get("env"); own != "" {
		key.Variables = append(key.Variables, own)
	}
	if !f.isList() && !strings.Contains(path, ".rules[]") {
		key.Variables = append(key.Variables, variable(strings.ReplaceAll(path, "[]", ".0")))
	}
	return key
}

// variable returns the name of the variable that sets a key.
func variable(path string) string {
	name := strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
	if strings.Contains(path, ".") {
		return "ANGZARR_" + name
	}
	return "ANGZARR__" + name
}
