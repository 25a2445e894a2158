package payload

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxNestedAnys bounds how deep an Any may sit in other Anys and still be
// decoded. Each level copies what is below it, so that hostile bytes would
// otherwise cost the square of their size.
const maxNestedAnys = 16

// encoder writes messages as JSON. protojson cannot be used for whole messages:
// it fails on a nested Any it cannot decode, where people want to see the rest.
type encoder struct {
	out        []byte
	lookup     func(name string) (protoreflect.MessageDescriptor, bool)
	extensions protoregistry.ExtensionTypeResolver
	anys       int
}

func encodeJSON(message *anypb.Any, lookup func(string) (protoreflect.MessageDescriptor, bool), extensions protoregistry.ExtensionTypeResolver) ([]byte, bool) {
	e := &encoder{lookup: lookup, extensions: extensions}
	decoded, ok := e.decode(message.GetTypeUrl(), message.GetValue())
	if !ok {
		e.opaque(message.GetTypeUrl(), message.GetValue())
		return e.out, false
	}
	e.message(decoded)
	return e.out, true
}

// decode returns the message in an Any, if its type is known and its bytes are
// of that type.
func (e *encoder) decode(typeURL string, value []byte) (protoreflect.Message, bool) {
	descriptor, ok := e.lookup(typeURL)
	if !ok {
		return nil, false
	}
	message, err := unmarshal(descriptor, value, typeResolver{e.lookup, e.extensions})
	return message, err == nil
}

// Check reports whether bytes are an encoded message of a type.
func Check(descriptor protoreflect.MessageDescriptor, value []byte) error {
	_, err := unmarshal(descriptor, value, protoregistry.GlobalTypes)
	return err
}

// resolver is what protobuf's decoder wants to know about extensions.
type resolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// unmarshal decodes bytes from outside. protobuf's decoder for messages without
// generated code panics on some malformed map entries (one whose key comes twice,
// the second time with a wrong wire type), which here is just another way of not
// being a message.
func unmarshal(descriptor protoreflect.MessageDescriptor, value []byte, types resolver) (message protoreflect.Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decode a %s: %v", descriptor.FullName(), cause)
		}
	}()
	dynamic := dynamicpb.NewMessage(descriptor)
	options := proto.UnmarshalOptions{AllowPartial: true, Resolver: types}
	if err := options.Unmarshal(value, dynamic); err != nil {
		return nil, fmt.Errorf("decode a %s: %s", descriptor.FullName(), cleaned(err))
	}
	return dynamic, nil
}

func (e *encoder) opaque(typeURL string, value []byte) {
	e.raw(`{"@type":`)
	e.text(typeURL)
	e.raw(`,"@value":`)
	e.text(base64.StdEncoding.EncodeToString(value))
	e.raw(`}`)
}

func (e *encoder) raw(text string) { e.out = append(e.out, text...) }

func (e *encoder) text(text string) {
	var quoted bytes.Buffer
	writer := json.NewEncoder(&quoted)
	writer.SetEscapeHTML(false)
	// Strings always have a JSON form; invalid UTF-8 becomes U+FFFD.
	_ = writer.Encode(text)
	e.out = append(e.out, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}

func (e *encoder) message(message protoreflect.Message) {
	switch name := message.Descriptor().FullName(); {
	case name == "google.protobuf.Any":
		e.any(message)
	case !isWellKnown(name) || !e.wellKnown(message):
		e.raw("{")
		e.fields(message, true)
		e.raw("}")
	}
}

// isWellKnown reports whether a message has a JSON form of its own.
func isWellKnown(name protoreflect.FullName) bool {
	if name.Parent() != "google.protobuf" {
		return false
	}
	switch name.Name() {
	case "Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "BoolValue", "Int32Value", "Int64Value",
		"UInt32Value", "UInt64Value", "FloatValue", "DoubleValue", "StringValue", "BytesValue":
		return true
	}
	return false
}

// wellKnown writes a message in its own JSON form, unless its content has none,
// such as a Timestamp in the year 10,000.
func (e *encoder) wellKnown(message protoreflect.Message) bool {
	text, err := protojson.MarshalOptions{AllowPartial: true}.Marshal(message.Interface())
	if err != nil {
		return false
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return false
	}
	e.out = append(e.out, compact.Bytes()...)
	return true
}

func (e *encoder) any(message protoreflect.Message) {
	fields := message.Descriptor().Fields()
	typeURL := message.Get(fields.ByNumber(1)).String()
	value := message.Get(fields.ByNumber(2)).Bytes()
	if typeURL == "" && len(value) == 0 {
		e.raw("{}")
		return
	}
	if e.anys >= maxNestedAnys {
		e.opaque(typeURL, value)
		return
	}
	content, ok := e.decode(typeURL, value)
	if !ok {
		e.opaque(typeURL, value)
		return
	}
	e.anys++
	defer func() { e.anys-- }()
	e.raw(`{"@type":`)
	e.text(typeURL)
	if name := content.Descriptor().FullName(); isWellKnown(name) || name == "google.protobuf.Any" {
		e.raw(`,"value":`)
		e.message(content)
	} else {
		e.fields(content, false)
	}
	e.raw("}")
}

// fields writes the members of a message that are set, in the order of their
// declaration, extensions last.
func (e *encoder) fields(message protoreflect.Message, first bool) {
	member := func(name string, field protoreflect.FieldDescriptor) {
		if !first {
			e.raw(",")
		}
		first = false
		e.text(name)
		e.raw(":")
		e.field(field, message.Get(field))
	}
	declared := message.Descriptor().Fields()
	for i := range declared.Len() {
		if field := declared.Get(i); message.Has(field) {
			member(field.JSONName(), field)
		}
	}
	for _, extension := range extensionsOf(message) {
		member("["+string(extension.FullName())+"]", extension)
	}
}

func extensionsOf(message protoreflect.Message) []protoreflect.FieldDescriptor {
	if message.Descriptor().ExtensionRanges().Len() == 0 {
		return nil
	}
	var extensions []protoreflect.FieldDescriptor
	message.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if field.IsExtension() {
			extensions = append(extensions, field)
		}
		return true
	})
	slices.SortFunc(extensions, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	return extensions
}

func (e *encoder) field(field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case field.IsMap():
		e.entries(field, value.Map())
	case field.IsList():
		e.raw("[")
		for i := range value.List().Len() {
			if i > 0 {
				e.raw(",")
			}
			e.value(field, value.List().Get(i))
		}
		e.raw("]")
	default:
		e.value(field, value)
	}
}

func (e *encoder) entries(field protoreflect.FieldDescriptor, entries protoreflect.Map) {
	var keys []protoreflect.MapKey
	entries.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, key)
		return true
	})
	slices.SortFunc(keys, compareKeys)
	e.raw("{")
	for i, key := range keys {
		if i > 0 {
			e.raw(",")
		}
		e.text(key.String())
		e.raw(":")
		e.value(field.MapValue(), entries.Get(key))
	}
	e.raw("}")
}

func compareKeys(a, b protoreflect.MapKey) int {
	switch a.Interface().(type) {
	case int32, int64:
		return cmp.Compare(a.Int(), b.Int())
	case uint32, uint64:
		return cmp.Compare(a.Uint(), b.Uint())
	}
	return cmp.Compare(a.String(), b.String())
}

func (e *encoder) value(field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		e.message(value.Message())
	case protoreflect.EnumKind:
		e.enum(field.Enum(), value.Enum())
	case protoreflect.BytesKind:
		e.text(base64.StdEncoding.EncodeToString(value.Bytes()))
	case protoreflect.FloatKind:
		e.float(value.Float(), 32)
	case protoreflect.DoubleKind:
		e.float(value.Float(), 64)
	case protoreflect.BoolKind, protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		e.raw(value.String())
	default: // strings, and 64-bit numbers, which JavaScript would round
		e.text(value.String())
	}
}

func (e *encoder) enum(enum protoreflect.EnumDescriptor, number protoreflect.EnumNumber) {
	known := enum.Values().ByNumber(number)
	switch {
	case enum.FullName() == "google.protobuf.NullValue":
		e.raw("null")
	case known != nil:
		e.text(string(known.Name()))
	default:
		e.raw(strconv.Itoa(int(number)))
	}
}

func (e *encoder) float(number float64, bits int) {
	switch {
	case math.IsNaN(number):
		e.raw(`"NaN"`)
	case math.IsInf(number, 1):
		e.raw(`"Infinity"`)
	case math.IsInf(number, -1):
		e.raw(`"-Infinity"`)
	default:
		e.out = strconv.AppendFloat(e.out, number, floatFormat(number), -1, bits)
	}
}

// floatFormat keeps ordinary numbers free of exponents, as protobuf and
// JavaScript do.
func floatFormat(number float64) byte {
	if size := math.Abs(number); size != 0 && (size < 1e-6 || size >= 1e21) {
		return 'e'
	}
	return 'f'
}
