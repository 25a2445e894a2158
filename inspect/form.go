package inspect

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is one field of a command as a person fills it in.
type Field struct {
	Name   string   // as the .proto file has it
	JSON   string   // as JSON has it
	Hint   string   // what is expected, such as "text" or "a time"
	Values []string // what may be chosen, for enums and bools
	Oneof  string   // of fields with the same name here only one may be filled in

	field protoreflect.FieldDescriptor
}

// Fields lists the fields of a message in the order of the .proto file.
func Fields(message protoreflect.MessageDescriptor) (fields []Field) {
	all := message.Fields()
	for i := range all.Len() {
		field := all.Get(i)
		made := Field{Name: string(field.Name()), JSON: field.JSONName(), Hint: hintOf(field), field: field}
		if one := field.ContainingOneof(); one != nil && !one.IsSynthetic() {
			made.Oneof = string(one.Name())
		}
		if !field.IsList() && !field.IsMap() {
			made.Values = valuesOf(field)
		}
		fields = append(fields, made)
	}
	return fields
}

func valuesOf(field protoreflect.FieldDescriptor) (values []string) {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return []string{"false", "true"}
	case protoreflect.EnumKind:
		all := field.Enum().Values()
		for i := range all.Len() {
			values = append(values, string(all.Get(i).Name()))
		}
	}
	return values
}

const (
	timestamp = "google.protobuf.Timestamp"
	duration  = "google.protobuf.Duration"
)

func hintOf(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return `JSON such as {"name": …}`
	case field.IsList() && field.Kind() == protoreflect.StringKind:
		return `words with commas between, or JSON such as ["a", "b"]`
	case field.IsList():
		return "JSON such as [" + exampleOf(field) + "]"
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BytesKind:
		return "base64"
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return strings.Join(valuesOf(field), ", ")
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch field.Message().FullName() {
		case timestamp:
			return "a time: 2026-01-31T12:00:00Z, now, 15m (ago), +2h"
		case duration:
			return "a duration, such as 90s or 1h30m"
		}
		return "JSON such as " + exampleOf(field)
	}
	if limits, integer := limitsOf(field.Kind()); integer {
		return "a whole number from " + limits.low + " to " + limits.high
	}
	return "a number"
}

func exampleOf(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if first := field.Message().Fields(); first.Len() > 0 {
			return `{"` + first.Get(0).JSONName() + `": …}`
		}
		return "{}"
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return `"…"`
	case protoreflect.BoolKind:
		return "true"
	}
	return "1"
}

// limits bound whole numbers.
type limits struct{ low, high string }

func limitsOf(kind protoreflect.Kind) (limits, bool) {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return limits{strconv.Itoa(math.MinInt32), strconv.Itoa(math.MaxInt32)}, true
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return limits{strconv.FormatInt(math.MinInt64, 10), strconv.FormatInt(math.MaxInt64, 10)}, true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return limits{"0", strconv.FormatUint(math.MaxUint32, 10)}, true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return limits{"0", strconv.FormatUint(math.MaxUint64, 10)}, true
	}
	return limits{}, false
}

// FieldError is a mistake in what was filled in.
type FieldError struct {
	Field   string // Field.Name
	Message string // what was found, and what is expected
}

func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// Fill makes the JSON of a command of what a person has filled in, by Field.Name.
// Fields with nothing in them are left out. What is wrong is told for every field.
func Fill(fields []Field, filled map[string]string, now time.Time) (json.RawMessage, []FieldError) {
	var text bytes.Buffer
	var wrong []FieldError
	chosen := map[string]string{} // by oneof
	text.WriteByte('{')
	for _, field := range fields {
		value := filled[field.Name]
		if field.field.Kind() != protoreflect.StringKind || field.field.IsList() {
			value = strings.TrimSpace(value)
		}
		if value == "" {
			continue
		}
		if other := chosen[field.Oneof]; field.Oneof != "" && other != "" {
			wrong = append(wrong, FieldError{field.Name, fmt.Sprintf("only one of %s and %s may be filled in", other, field.Name)})
			continue
		}
		chosen[field.Oneof] = field.Name
		encoded, err := field.encode(value, now)
		if err != nil {
			wrong = append(wrong, FieldError{field.Name, err.Error()})
			continue
		}
		if text.Len() > 1 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%s:%s", jsonText(field.JSON), encoded)
	}
	text.WriteByte('}')
	return text.Bytes(), wrong
}

// encode turns what a person has written into JSON.
func (f Field) encode(value string, now time.Time) (json.RawMessage, error) {
	if f.field.IsMap() {
		return asJSON(value, '{', "an object in JSON")
	}
	if f.field.IsList() {
		if f.field.Kind() == protoreflect.StringKind && !strings.HasPrefix(value, "[") {
			return wordsOf(value), nil
		}
		return asJSON(value, '[', "a list in JSON")
	}
	switch kind := f.field.Kind(); kind {
	case protoreflect.StringKind:
		return jsonText(value), nil
	case protoreflect.BytesKind:
		if _, err := base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("found %q, expected base64", value)
		}
		return jsonText(value), nil
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return f.choice(value)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return f.message(value, now)
	default:
		return number(kind, value)
	}
}

func (f Field) choice(value string) (json.RawMessage, error) {
	at := slices.IndexFunc(f.Values, func(known string) bool { return strings.EqualFold(known, value) })
	if at < 0 {
		return nil, fmt.Errorf("found %q, expected %s", value, strings.Join(f.Values, ", "))
	}
	if f.field.Kind() == protoreflect.BoolKind {
		return json.RawMessage(f.Values[at]), nil
	}
	return jsonText(f.Values[at]), nil
}

func (f Field) message(value string, now time.Time) (json.RawMessage, error) {
	switch f.field.Message().FullName() {
	case timestamp:
		at, err := PointInTime(value, now)
		return jsonText(at.UTC().Format(time.RFC3339Nano)), err
	case duration:
		length, err := time.ParseDuration(value)
		if err != nil {
			return nil, fmt.Errorf("found %q, expected a duration such as 90s or 1h30m", value)
		}
		return jsonText(strconv.FormatFloat(length.Seconds(), 'f', -1, 64) + "s"), nil
	}
	if strings.HasPrefix(string(f.field.Message().FullName()), "google.protobuf.") {
		return asJSON(value, 0, "JSON")
	}
	return asJSON(value, '{', "an object in JSON")
}

// PointInTime reads a time as people write it: in full, as a day, now, 15m (ago) or +2h.
func PointInTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	if ahead, isAhead := strings.CutPrefix(text, "+"); isAhead {
		if length, err := time.ParseDuration(ahead); err == nil {
			return now.Add(length), nil
		}
	} else if length, err := time.ParseDuration(text); err == nil {
		return now.Add(-length), nil
	}
	return time.Time{}, fmt.Errorf(`found %q, expected a time such as 2026-01-31T12:00:00Z, "2026-01-31 12:00", now, 15m (ago) or +2h`, text)
}

// number checks a number by its kind and keeps it as it was written.
func number(kind protoreflect.Kind, value string) (json.RawMessage, error) {
	bounds, integer := limitsOf(kind)
	if !integer {
		if _, err := strconv.ParseFloat(value, 64); err != nil || !json.Valid([]byte(value)) {
			return nil, fmt.Errorf("found %q, expected a number", value)
		}
		return json.RawMessage(value), nil
	}
	_, signed := strconv.ParseInt(value, 10, 64)
	_, unsigned := strconv.ParseUint(value, 10, 64)
	if signed != nil && unsigned != nil || !within(value, bounds) {
		return nil, fmt.Errorf("found %q, expected a whole number from %s to %s", value, bounds.low, bounds.high)
	}
	if whole, err := strconv.ParseInt(value, 10, 64); err == nil && whole >= math.MinInt32 && whole <= math.MaxUint32 {
		return json.RawMessage(strconv.FormatInt(whole, 10)), nil
	}
	return jsonText(strings.TrimLeft(value, "+")), nil // as text, which keeps all 64 bits
}

// within compares whole numbers as texts, because none of Go's types holds all of
// them.
func within(value string, bounds limits) bool {
	return !less(value, bounds.low) && !less(bounds.high, value)
}

func less(a, b string) bool {
	negativeA, negativeB := strings.HasPrefix(a, "-"), strings.HasPrefix(b, "-")
	if negativeA != negativeB {
		return negativeA
	}
	a, b = strings.TrimLeft(a, "-+0"), strings.TrimLeft(b, "-+0")
	order := cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	if negativeA {
		return order > 0
	}
	return order < 0
}

func wordsOf(value string) json.RawMessage {
	var words []string
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, string(jsonText(word)))
		}
	}
	return json.RawMessage("[" + strings.Join(words, ",") + "]")
}

// asJSON takes what is JSON already; first is how it must begin, 0 for anyhow.
func asJSON(value string, first byte, want string) (json.RawMessage, error) {
	if !json.Valid([]byte(value)) || first != 0 && value[0] != first {
		return nil, fmt.Errorf("found %q, expected %s", value, want)
	}
	return json.RawMessage(value), nil
}

func jsonText(text string) json.RawMessage {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text can always be encoded
	return bytes.TrimSpace(encoded.Bytes())
}
