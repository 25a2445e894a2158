package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Template writes the fields of a command as JSON with comments, for a person to
// complete in an editor: each with what is expected behind it, those that may be
// left out as comments. given are values to begin with, by the names of .proto or of
// JSON; what is no field stays, for the system to complain about. Commas may follow
// the last member.
func Template(message protoreflect.MessageDescriptor, given map[string]json.RawMessage, now time.Time) string {
	var text strings.Builder
	text.WriteString("{\n")
	known := map[string]bool{}
	for _, field := range Fields(message) {
		known[field.Name], known[field.JSON] = true, true
		value, is := given[field.Name]
		if !is {
			value, is = given[field.JSON]
		}
		lead := "  "
		if !is {
			value = json.RawMessage(skeleton(field.field, now, 0))
			if field.field.HasPresence() {
				lead = "  // "
			}
		}
		fmt.Fprintf(&text, "%s%s: %s, // %s\n", lead, jsonText(field.Name), value, field.describe())
	}
	for name, value := range given {
		if !known[name] {
			fmt.Fprintf(&text, "  %s: %s,\n", jsonText(name), value)
		}
	}
	text.WriteString("}\n")
	return text.String()
}

// describe says on one line what is expected.
func (f Field) describe() string {
	hint := f.Hint
	switch {
	case f.field.IsList():
		hint = "a list such as [" + exampleOf(f.field) + "]"
	case f.field.IsMap() || f.field.Message() == nil:
	case f.field.Message().FullName() == timestamp:
		hint = "a time, to the second or finer"
	case f.field.Message().FullName() == duration:
		hint = "a duration in seconds, such as \"1.5s\""
	}
	if f.Oneof != "" {
		hint += "; one of " + f.Oneof
	} else if f.field.HasPresence() {
		hint += "; may be left out"
	}
	return hint
}

// deepest bounds how far messages in messages are written out: they may contain
// themselves.
const deepest = 3

// skeleton is what a field holds when nothing is known of it.
func skeleton(field protoreflect.FieldDescriptor, now time.Time, depth int) string {
	switch {
	case field.IsMap():
		return "{}"
	case field.IsList():
		return "[]"
	}
	switch field.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return `""`
	case protoreflect.BoolKind:
		return "false"
	case protoreflect.EnumKind:
		return string(jsonText(string(field.Enum().Values().Get(0).Name())))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageSkeleton(field.Message(), now, depth)
	}
	return "0"
}

func messageSkeleton(message protoreflect.MessageDescriptor, now time.Time, depth int) string {
	switch message.FullName() {
	case timestamp:
		return string(jsonText(now.UTC().Format(time.RFC3339)))
	case duration:
		return `"0s"`
	}
	if depth == deepest || strings.HasPrefix(string(message.FullName()), "google.protobuf.") {
		return "null"
	}
	var members []string
	fields := message.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if one := field.ContainingOneof(); one != nil {
			continue // may be left out
		}
		members = append(members, fmt.Sprintf("%s: %s", jsonText(string(field.Name())), skeleton(field, now, depth+1)))
	}
	return "{" + strings.Join(members, ", ") + "}"
}
