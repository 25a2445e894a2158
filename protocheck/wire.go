package protocheck

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// group is how values of a kind are written, so that the kinds of one group can
// stand for each other. Those of different groups cannot.
type group int

const (
	varint group = iota + 1
	zigzag
	fixed32
	float32s
	fixed64
	float64s
	text
	message
	groupField
)

// shape is what matters of a kind besides its group.
type shape struct {
	group    group
	wire     int // wire type, as protobuf numbers them
	bits     int
	unsigned bool
}

var shapes = map[protoreflect.Kind]shape{
	protoreflect.BoolKind:     {varint, 0, 1, true},
	protoreflect.EnumKind:     {varint, 0, 32, false},
	protoreflect.Int32Kind:    {varint, 0, 32, false},
	protoreflect.Int64Kind:    {varint, 0, 64, false},
	protoreflect.Uint32Kind:   {varint, 0, 32, true},
	protoreflect.Uint64Kind:   {varint, 0, 64, true},
	protoreflect.Sint32Kind:   {zigzag, 0, 32, false},
	protoreflect.Sint64Kind:   {zigzag, 0, 64, false},
	protoreflect.Fixed32Kind:  {fixed32, 5, 32, true},
	protoreflect.Sfixed32Kind: {fixed32, 5, 32, false},
	protoreflect.FloatKind:    {float32s, 5, 32, false},
	protoreflect.Fixed64Kind:  {fixed64, 1, 64, true},
	protoreflect.Sfixed64Kind: {fixed64, 1, 64, false},
	protoreflect.DoubleKind:   {float64s, 1, 64, false},
	protoreflect.StringKind:   {text, 2, 0, false},
	protoreflect.BytesKind:    {text, 2, 0, false},
	protoreflect.MessageKind:  {message, 2, 0, false},
	protoreflect.GroupKind:    {groupField, 3, 0, false},
}

// conversion is what becomes of values that were written as one kind and are
// read as another.
type conversion struct {
	readable bool   // values are what they were, but for those in loss
	sameWire bool   // without readable: something is read, and it is nonsense
	loss     string // which values are not; empty for none
	json     bool   // JSON says it the same way
}

func convert(was, is protoreflect.Kind) conversion {
	old, now := shapes[was], shapes[is]
	if old.group != now.group {
		return conversion{sameWire: old.wire == now.wire}
	}
	c := conversion{readable: true, json: true}
	if was == is {
		return c
	}
	for _, kind := range []protoreflect.Kind{protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.BytesKind} {
		if was == kind || is == kind {
			c.json = false
		}
	}
	switch {
	case old.group == text && is == protoreflect.StringKind:
		c.loss = "bytes that are no valid UTF-8 cannot be read"
	case old.group == text || was == protoreflect.BoolKind:
	case is == protoreflect.BoolKind:
		c.loss = "every number but 0 reads as true"
	case old.bits > now.bits:
		c.loss = fmt.Sprintf("numbers that need more than %d bits are cut off", now.bits)
	case is == protoreflect.EnumKind:
		c.loss = "numbers that the enum does not have read as unknown values"
	case !old.unsigned && now.unsigned:
		c.loss = "negative numbers read as very large ones"
	case old.unsigned && !now.unsigned && old.bits == now.bits:
		c.loss = fmt.Sprintf("numbers that need all %d bits read as negative ones", now.bits)
	}
	return c
}

// typeName is a field's type as it is written in a .proto file.
func typeName(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeName(field.MapKey()), typeName(field.MapValue()))
	case field.IsList():
		return "repeated " + singleName(field)
	case field.Cardinality() == protoreflect.Required:
		return "required " + singleName(field)
	case field.HasOptionalKeyword():
		return "optional " + singleName(field)
	}
	return singleName(field)
}

func singleName(field protoreflect.FieldDescriptor) string {
	name := ""
	switch {
	case field.Message() != nil:
		name = string(field.Message().FullName())
	case field.Enum() != nil:
		name = string(field.Enum().FullName())
	default:
		return field.Kind().String()
	}
	if in := string(field.ParentFile().Package()); in != "" {
		name = strings.TrimPrefix(name, in+".")
	}
	return name
}

// declaration is a field as it is written in a .proto file.
func declaration(field protoreflect.FieldDescriptor) string {
	return fmt.Sprintf("%s %s = %d;", typeName(field), field.Name(), field.Number())
}

// nextNumber returns a number for a new field that no event can have used yet.
func nextNumber(messages ...protoreflect.MessageDescriptor) protoreflect.FieldNumber {
	next := protoreflect.FieldNumber(1)
	for _, message := range messages {
		for i := range message.Fields().Len() {
			next = max(next, message.Fields().Get(i).Number()+1)
		}
		for i := range message.ReservedRanges().Len() {
			if end := message.ReservedRanges().Get(i)[1]; end < 1<<20 { // "to max" leaves no number behind it
				next = max(next, end)
			}
		}
	}
	if next >= 19000 && next <= 19999 { // protobuf's own
		next = 20000
	}
	return next
}
