package payload

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// checker compares a JSON value with a type and collects what does not fit. It
// runs only after protojson has refused, so it may be slow and may overlook
// things, but it must not blame what protojson accepts.
type checker struct {
	resolver typeResolver
	problems []FieldProblem
}

func (c *checker) report(path string, found any, want string) {
	c.problems = append(c.problems, FieldProblem{path, shown(found), want})
}

func (c *checker) message(path string, descriptor protoreflect.MessageDescriptor, value any) {
	if isWellKnown(descriptor.FullName()) {
		c.wellKnown(path, descriptor, value)
		return
	}
	object, ok := value.(map[string]any)
	if !ok {
		c.report(path, value, "a JSON object: "+string(descriptor.FullName()))
		return
	}
	if descriptor.FullName() == "google.protobuf.Any" {
		c.any(path, object)
		return
	}
	c.members(path, descriptor, object)
}

func (c *checker) members(path string, descriptor protoreflect.MessageDescriptor, object map[string]any) {
	chosen := map[protoreflect.Name]string{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value, at := object[name], join(path, name)
		field := fieldNamed(descriptor, name)
		if field == nil {
			if !strings.HasPrefix(name, "[") {
				c.unknown(at, name, descriptor)
			}
			continue
		}
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && value != nil {
			if other, taken := chosen[oneof.Name()]; taken {
				c.problems = append(c.problems, FieldProblem{at, fmt.Sprintf("both %q and %q", other, name), "only one of the two"})
			}
			chosen[oneof.Name()] = name
		}
		c.field(at, field, value)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func fieldNamed(descriptor protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if field := descriptor.Fields().ByJSONName(name); field != nil {
		return field
	}
	return descriptor.Fields().ByTextName(name)
}

func (c *checker) unknown(path, name string, descriptor protoreflect.MessageDescriptor) {
	var names []string
	for i := range descriptor.Fields().Len() {
		names = append(names, descriptor.Fields().Get(i).TextName())
	}
	want := fmt.Sprintf("a field of %s: %s", descriptor.FullName(), strings.Join(names, ", "))
	if near := nearestWords(name, names); len(near) > 0 {
		want = fmt.Sprintf("a field of %s such as %q", descriptor.FullName(), near[0])
	} else if len(names) == 0 {
		want = fmt.Sprintf("nothing, because %s has no fields", descriptor.FullName())
	}
	c.problems = append(c.problems, FieldProblem{path, fmt.Sprintf("the unknown field %q", name), want})
}

func (c *checker) field(path string, field protoreflect.FieldDescriptor, value any) {
	switch {
	case value == nil:
		return
	case field.IsMap():
		c.entries(path, field, value)
	case field.IsList():
		list, ok := value.([]any)
		if !ok {
			c.report(path, value, "an array: of "+expected(field))
		}
		for i, element := range list {
			c.value(fmt.Sprintf("%s[%d]", path, i), field, element)
		}
	default:
		c.value(path, field, value)
	}
}

func (c *checker) entries(path string, field protoreflect.FieldDescriptor, value any) {
	object, ok := value.(map[string]any)
	if !ok {
		c.report(path, value, "an object whose values are each "+expected(field.MapValue()))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		at := fmt.Sprintf("%s[%q]", path, key)
		if kind := field.MapKey().Kind(); kind != protoreflect.StringKind && kind != protoreflect.BoolKind && !isInteger(kind, key) {
			c.report(at, key, "as key "+expected(field.MapKey()))
		}
		c.value(at, field.MapValue(), object[key])
	}
}

func (c *checker) value(path string, field protoreflect.FieldDescriptor, value any) {
	if message := field.Message(); message != nil {
		c.message(path, message, value)
		return
	}
	if !fits(field, value) {
		c.report(path, value, expected(field))
	}
}

// fits reports whether a JSON value can stand for one scalar.
func fits(field protoreflect.FieldDescriptor, value any) bool {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	switch kind := field.Kind(); kind {
	case protoreflect.BoolKind:
		_, ok := value.(bool)
		return ok
	case protoreflect.StringKind:
		return isText
	case protoreflect.BytesKind:
		return isText && isBase64(text)
	case protoreflect.EnumKind:
		return isNumber || isText && field.Enum().Values().ByName(protoreflect.Name(text)) != nil ||
			value == nil && field.Enum().FullName() == "google.protobuf.NullValue"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return isNumber || isText && isFloat(text)
	default:
		return isNumber && isInteger(kind, number.String()) || isText && isInteger(kind, text)
	}
}

func isBase64(text string) bool {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	_, err := base64.RawStdEncoding.DecodeString(text)
	return err == nil
}

func isFloat(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// isInteger reports whether text is a whole number of the kind, also when it is
// written like 1.0 or 1e3.
func isInteger(kind protoreflect.Kind, text string) bool {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return inRange(text, math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return inRange(text, 0, math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return inRange(text, 0, math.MaxUint64)
	}
	return inRange(text, math.MinInt64, math.MaxInt64)
}

func inRange(text string, least, most float64) bool {
	number, err := strconv.ParseFloat(text, 64)
	return err == nil && number == math.Trunc(number) && number >= least && number <= most
}

func (c *checker) any(path string, object map[string]any) {
	typeURL, ok := object["@type"].(string)
	if !ok {
		if len(object) > 0 {
			c.problems = append(c.problems, FieldProblem{join(path, "@type"), "nothing", "the type URL of the message in this Any"})
		}
		return
	}
	descriptor, ok := c.resolver.lookup(typeURL)
	if !ok {
		c.report(join(path, "@type"), typeURL, "a type of the schema")
		return
	}
	if isWellKnown(descriptor.FullName()) {
		c.wellKnown(join(path, "value"), descriptor, object["value"])
		return
	}
	members := maps.Clone(object)
	delete(members, "@type")
	c.message(path, descriptor, members)
}

// wellKnown asks protojson, which knows the forms these types have in JSON.
func (c *checker) wellKnown(path string, descriptor protoreflect.MessageDescriptor, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		return
	}
	if err := protojson.Unmarshal(text, dynamicpb.NewMessage(descriptor)); err != nil {
		c.report(path, value, expectedMessage(descriptor))
	}
}

// expected describes what a field, or one element of it, takes.
func expected(field protoreflect.FieldDescriptor) string {
	switch kind := field.Kind(); kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return expectedMessage(field.Message())
	case protoreflect.EnumKind:
		return "one of " + strings.Join(enumNames(field.Enum()), ", ")
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind:
		return "a string"
	case protoreflect.BytesKind:
		return "bytes as a base64 string"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return fmt.Sprintf("a number (%s)", kind)
	default:
		return fmt.Sprintf("a whole number (%s)", kind)
	}
}

func enumNames(enum protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range min(enum.Values().Len(), 2*maxListed) {
		names = append(names, string(enum.Values().Get(i).Name()))
	}
	if len(names) < enum.Values().Len() {
		names = append(names, "…")
	}
	return names
}

func expectedMessage(message protoreflect.MessageDescriptor) string {
	switch message.FullName() {
	case "google.protobuf.Timestamp":
		return `a time such as "2026-01-31T12:00:00Z"`
	case "google.protobuf.Duration":
		return `a duration in seconds such as "1.5s"`
	case "google.protobuf.FieldMask":
		return `field paths such as "name,address.city"`
	}
	if wrapped := message.Fields().ByName("value"); isWellKnown(message.FullName()) && wrapped != nil {
		return expected(wrapped)
	}
	return "a JSON object: " + string(message.FullName())
}

// shown returns a JSON value as people typed it, shortened.
func shown(value any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "something else"
	}
	const most = 60
	runes := []rune(strings.TrimSpace(text.String()))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return string(runes)
}
