package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// BadJSON says why JSON text is not a message of a type.
type BadJSON struct {
	Type     string // full name
	Problems []FieldProblem
}

// FieldProblem is one mistake in JSON text.
type FieldProblem struct {
	Path  string // such as "items[2].price_cents"; empty for the text as a whole
	Found string
	Want  string
}

func (p FieldProblem) String() string {
	text := "found " + p.Found
	if p.Want != "" {
		text += ", expected " + p.Want
	}
	if p.Path == "" {
		return text
	}
	return p.Path + ": " + text
}

func (e *BadJSON) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return fmt.Sprintf("not a %s: %s", e.Type, strings.Join(lines, "; "))
}

// decodeJSON returns the bytes of the message that JSON text stands for, or a
// *BadJSON.
func decodeJSON(text []byte, descriptor protoreflect.MessageDescriptor, resolver typeResolver) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	message := dynamicpb.NewMessage(descriptor)
	if err := (protojson.UnmarshalOptions{Resolver: resolver}).Unmarshal(text, message); err != nil {
		return nil, &BadJSON{string(descriptor.FullName()), explain(err, text, descriptor, resolver)}
	}
	// Deterministic, because correlation ids are derived from these bytes.
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, &BadJSON{string(descriptor.FullName()), []FieldProblem{{Found: cleaned(err)}}}
	}
	return value, nil
}

// explain finds out what protojson refused. Its own message names a line and a
// column, which helps nobody who typed the text on a command line.
func explain(refusal error, text []byte, descriptor protoreflect.MessageDescriptor, resolver typeResolver) []FieldProblem {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return []FieldProblem{syntaxProblem(text, err)}
	}
	if decoder.More() {
		return []FieldProblem{{Found: "more text after the end of the JSON value"}}
	}
	c := checker{resolver: resolver}
	c.message("", descriptor, value)
	if len(c.problems) == 0 {
		return []FieldProblem{{Found: cleaned(refusal)}}
	}
	return c.problems[:min(len(c.problems), maxListed)]
}

func syntaxProblem(text []byte, err error) FieldProblem {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return FieldProblem{Found: "JSON that ends too early", Want: "a JSON object"}
	}
	before := text[:max(0, min(int(syntax.Offset)-1, len(text)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return FieldProblem{Found: fmt.Sprintf("text that is no JSON at line %d, column %d (%s)", line, column, syntax)}
}

// cleaned returns protobuf's message without its prefix, whose white space
// differs from build to build.
func cleaned(err error) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, err.Error())
	return strings.TrimSpace(strings.TrimPrefix(text, "proto:"))
}
