package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// The patterns say of texts about what value.go says: enough for an editor to
// point at a slip while it is written.
const (
	namePattern     = `[\p{L}\p{Nd}._-]+`
	addressPattern  = `(unix:\S+|\.?/\S+|(https?://)?[^\s/?#@|]+:[0-9]{1,5}/?)`
	durationPattern = `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`
)

// schema is one JSON Schema, or a part of one.
type schema map[string]any

// JSONSchema returns the JSON Schema (draft 2020-12) of the configuration file,
// by which editors complete and check it. It accepts what Load reads; what only
// fits or does not fit together is for Load to say.
func JSONSchema() ([]byte, error) {
	root := sectionSchema(reflect.TypeFor[Config](), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "angz.yaml"
	root["description"] = "The configuration of a system that angz runs."
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// ShownSchema returns the JSON Schema, under a name, of what WriteJSON writes.
func ShownSchema(id string) ([]byte, error) {
	text, err := json.MarshalIndent(schema{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id, "title": "angz config",
		"description": "The configuration that counts, after the defaults, the file and the variables, without secrets.",
		"anyOf":       []schema{{"$ref": "#/$defs/config"}, {"$ref": "#/$defs/origins"}},
		"$defs": schema{
			"config": sectionSchema(reflect.TypeFor[Config](), ""),
			"origins": schema{
				"description": "What --origin shows.", "type": "object", "additionalProperties": false, "required": []string{"config", "origins"},
				"properties": schema{
					"config": schema{"description": "The configuration.", "$ref": "#/$defs/config"},
					"origins": schema{
						"description": "By the full name of each key, where its value came from: default, FILE:LINE:COLUMN, or a variable.",
						"type":        "object", "additionalProperties": schema{"type": "string"},
					},
				},
			},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// sectionSchema returns the schema of a mapping.
func sectionSchema(section reflect.Type, kind string) schema {
	properties := schema{}
	for _, f := range fieldsOf(section, kind) {
		if !f.isFor(kind) {
			continue
		}
		made := f.schema(kind)
		properties[f.key] = made
		if f.alias != "" {
			properties[f.alias] = made
		}
	}
	return schema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// schema returns the schema of what a key holds.
func (f field) schema(kind string) schema {
	if f.isSection() {
		return sectionSchema(f.typ, kind)
	}
	made := f.valueSchema()
	if meaning := f.tag.Get("doc"); meaning != "" {
		made["description"] = meaning
	}
	if value, ok := f.defaultValue(); ok {
		made["default"] = value
	}
	return made
}

// valueSchema returns the schema of a value. Quotes around numbers do not matter
// to Load, and a key without a value is as good as none.
func (f field) valueSchema() schema {
	switch {
	case f.isList():
		return f.servicesSchema()
	case f.typ == durationType:
		return textSchema(durationPattern)
	case f.typ == commandType:
		return schema{"anyOf": []schema{{"type": []string{"string", "null"}}, {"type": "array", "items": schema{"type": "string"}, "minItems": 1}}}
	case f.typ == stringsType && f.tag.Get("single") == "true":
		word := "(" + strings.Join(f.options, "|") + ")"
		return schema{"anyOf": []schema{{"type": []string{"array", "null"}, "items": f.textSchema()}, {"type": "string", "pattern": `^\s*` + word + `(\s*,\s*` + word + `)*\s*$`}}}
	case f.typ == stringsType:
		return schema{"type": []string{"array", "null"}, "items": f.textSchema()}
	case f.typ == mapType:
		return f.mapSchema()
	case f.typ.Kind() == reflect.Bool:
		return schema{"anyOf": []schema{{"type": []string{"boolean", "null"}}, {"type": "string", "pattern": "^(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"}}}
	case f.typ.Kind() == reflect.Int:
		return f.intSchema()
	}
	return f.textSchema()
}

func textSchema(pattern string) schema {
	return schema{"type": []string{"string", "null"}, "pattern": pattern}
}

// textSchema returns the schema of one text.
func (f field) textSchema() schema {
	if len(f.options) > 0 {
		allowed := []any{}
		for _, option := range f.options {
			allowed = append(allowed, option)
		}
		return schema{"enum": append(allowed, nil)}
	}
	switch f.tag.Get("format") {
	case "name":
		return textSchema("^" + namePattern + "$")
	case "address":
		return textSchema("^" + addressPattern + "$")
	case "addresses":
		return textSchema(`^\s*` + addressPattern + `(\s*\|\s*` + addressPattern + `)*\s*$`)
	case "listen":
		return textSchema(`^(off|.*:[0-9]+)$`)
	case "path", "host":
		return textSchema(".")
	}
	return schema{"type": []string{"string", "number", "boolean", "null"}}
}

// intSchema returns the schema of a whole number, in bytes also with a unit.
func (f field) intSchema() schema {
	number := schema{"type": []string{"integer", "null"}}
	for bound, word := range map[string]string{"min": "minimum", "max": "maximum"} {
		if value, err := strconv.ParseInt(f.tag.Get(bound), 10, 64); err == nil {
			number[word] = value
		}
	}
	quoted := "^[0-9]+$"
	if f.tag.Get("format") == "bytes" {
		quoted = "^[0-9]+ *([KMG]iB)?$"
	}
	return schema{"anyOf": []schema{number, {"type": "string", "pattern": quoted}}}
}

// mapSchema returns the schema of names with their texts.
func (f field) mapSchema() schema {
	made := schema{"type": []string{"object", "null"}, "additionalProperties": f.textSchema()}
	if f.tag.Get("format") == "addresses" {
		made["propertyNames"] = schema{"pattern": `^(\*|` + namePattern + ")$"}
	}
	return made
}

// servicesSchema returns the schema of a list of services.
func (f field) servicesSchema() schema {
	entry := sectionSchema(f.typ.Elem(), f.tag.Get("kind"))
	entry["type"] = "object"
	if f.typ == rulesType {
		entry["required"] = []string{"identity"}
		return schema{"type": []string{"array", "null"}, "items": entry}
	}
	named := []schema{{"required": []string{"name"}}}
	if f.tag.Get("kind") == "domain" {
		named = append(named, schema{"required": []string{"domain"}})
	}
	entry["oneOf"] = named
	return schema{"type": []string{"array", "null"}, "items": entry}
}

// defaultValue returns the default of a key as JSON holds it.
func (f field) defaultValue() (any, bool) {
	value, said := f.tag.Lookup("default")
	if !said {
		return nil, false
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return strings.EqualFold(value, "true"), true
	case reflect.Int:
		if number, err := strconv.Atoi(value); err == nil && f.typ != durationType {
			return number, true
		}
	}
	return value, true
}
