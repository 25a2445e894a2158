package protocheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/protocheck"
)

// file is a .proto file of the domain customer.
func file(messages string) string {
	return "syntax = \"proto3\";\n\npackage customer;\n\nimport \"angzarr/options.proto\";\nimport \"google/protobuf/timestamp.proto\";\n\noption (angzarr.domain) = \"customer\";\n\n" + messages
}

// event is such a file with an event that has some fields.
func event(fields string) string {
	return file("message Created {\n  option (angzarr.kind) = KIND_EVENT;\n" + fields + "\n}\n")
}

func compile(t testing.TB, text string) *protocheck.Schema {
	t.Helper()
	schema, err := protocheck.Compile(t.Context(), protocheck.Source{"customer.proto": {Shown: "proto/customer.proto", Content: []byte(text)}})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return schema
}

// found lists findings as severity, rule and name.
func found(findings []protocheck.Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, fmt.Sprintf("%s %s %s", f.Severity, f.Rule, strings.TrimPrefix(f.Name, "customer.")))
	}
	return list
}

func TestChangesOfFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", "string a = 1;", "string a = 1;", nil},
		{"a comment and another order", "string a = 1; string b = 2;", "// b\nstring b = 2; string a = 1;", nil},
		{"a new field", "string a = 1;", "string a = 1; string b = 2;", nil},
		{"wider", "int32 a = 1;", "int64 a = 1;", nil},
		{"a bool is a number", "bool a = 1;", "int32 a = 1;", []string{"warning json-type Created.a"}},
		{"unsigned fits into more bits", "uint32 a = 1;", "int64 a = 1;", nil},
		{"packed", "repeated int32 a = 1;", "repeated int32 a = 1 [packed = false];", nil},
		{"fixed", "fixed32 a = 1;", "sfixed32 a = 1;", []string{"warning field-narrowed Created.a"}},
		{"narrower", "int64 a = 1;", "int32 a = 1;", []string{"warning field-narrowed Created.a"}},
		{"sign", "int32 a = 1;", "uint32 a = 1;", []string{"warning field-narrowed Created.a"}},
		{"text to bytes", "string a = 1;", "bytes a = 1;", []string{"warning json-type Created.a"}},
		{"bytes to text", "bytes a = 1;", "string a = 1;", []string{"warning field-narrowed Created.a"}},
		{"text to number", "string a = 1;", "int32 a = 1;", []string{"error field-type Created.a"}},
		{"zigzag", "int32 a = 1;", "sint32 a = 1;", []string{"error field-type Created.a"}},
		{"float", "float a = 1;", "double a = 1;", []string{"error field-type Created.a"}},
		{"float for fixed", "fixed32 a = 1;", "float a = 1;", []string{"error field-type Created.a"}},
		{"a message for text", "string a = 1;", "google.protobuf.Timestamp a = 1;", []string{"error field-type Created.a"}},
		{"a message for bytes", "bytes a = 1;", "google.protobuf.Timestamp a = 1;", []string{"error field-type Created.a"}},
		{"type and name", "string a = 1;", "int32 b = 1;", []string{"error field-type Created.a"}},
		{"removed", "string a = 1; string b = 2;", "string a = 1;", []string{"error field-removed Created.b"}},
		{"removed, number reserved", "string a = 1; string b = 2;", "string a = 1; reserved 2;", []string{"warning field-name-reserved Created.b"}},
		{"removed and reserved", "string a = 1; string b = 2;", "string a = 1; reserved 2; reserved \"b\";", nil},
		{"another number", "string a = 1;", "string a = 2;", []string{"error field-number Created.a"}},
		{"renamed", "string a = 1;", "string b = 1;", []string{"warning field-renamed Created.a"}},
		{"JSON name", "string a = 1;", "string a = 1 [json_name = \"A\"];", []string{"warning json-name Created.a"}},
		{"a list of texts", "string a = 1;", "repeated string a = 1;", []string{"warning json-type Created.a"}},
		{"a list of numbers", "int32 a = 1;", "repeated int32 a = 1;", []string{"warning json-type Created.a"}},
		{"one text of a list", "repeated string a = 1;", "string a = 1;", []string{"error field-type Created.a"}},
		{"one number of a list", "repeated int32 a = 1;", "int32 a = 1;", []string{"error field-type Created.a"}},
		{"a map's value", "map<string, int32> a = 1;", "map<string, string> a = 1;", []string{"error field-type Created.a"}},
		{"a map's key", "map<string, int32> a = 1;", "map<int32, int32> a = 1;", []string{"error field-type Created.a"}},
		{"no map any more", "map<string, int32> a = 1;", "repeated string a = 1;", []string{"error field-type Created.a"}},
		{"optional", "int32 a = 1;", "optional int32 a = 1;", []string{"warning field-presence Created.a"}},
		{"not optional", "optional int32 a = 1;", "int32 a = 1;", []string{"warning field-presence Created.a"}},
		{"into a oneof alone", "string a = 1; string b = 2;", "oneof c { string a = 1; string d = 3; } string b = 2;", []string{"warning field-presence Created.a"}},
		{"into a oneof together", "string a = 1; string b = 2;", "oneof c { string a = 1; string b = 2; }",
			[]string{"warning field-presence Created.a", "warning field-presence Created.b", "error oneof-moved Created.b"}},
		{"another name of a oneof", "oneof c { string a = 1; string b = 2; }", "oneof d { string a = 1; string b = 2; }", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := found(protocheck.Compare(compile(t, event(c.before)), compile(t, event(c.after)), protocheck.Options{}))
			if want := append([]string{}, c.want...); !cmp.Equal(want, got) {
				t.Errorf("%s\n-> %s\n%s", c.before, c.after, cmp.Diff(want, got))
			}
		})
	}
}

func TestChangesOfMessages(t *testing.T) {
	t.Parallel()
	const marked = "message Created { option (angzarr.kind) = KIND_EVENT; Part part = 1; Color color = 2; Created inner = 3; }\n"
	const part = "message Part { string a = 1; }\n"
	const color = "enum Color { COLOR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }\n"
	for _, c := range []struct {
		name, before, after string
		all                 bool
		want                []string
	}{
		{"nothing", marked + part + color, marked + part + color, false, nil},
		{"an event", marked + part + color, part + color, false, []string{"error message-removed Created"}},
		{"an event's part", marked + part + color, marked + "message Part { int32 a = 1; }\n" + color, false, []string{"error field-type Part.a"}},
		{"a part with another name", marked + part + color, strings.Replace(marked, "Part", "Piece", 1) + "message Piece { string a = 1; }\n" + color, false, nil},
		{"another part", marked + part + color, strings.Replace(marked, "Part", "Piece", 1) + "message Piece { int32 a = 1; }\n" + color, false, []string{"error field-type Created.part"}},
		{"a value removed", marked + part + color, marked + part + "enum Color { COLOR_UNSPECIFIED = 0; RED = 1; }\n", false, []string{"error enum-value-removed BLUE"}},
		{"a value reserved", marked + part + color, marked + part + "enum Color { COLOR_UNSPECIFIED = 0; RED = 1; reserved 2; }\n", false, nil},
		{"a value renamed", marked + part + color, marked + part + "enum Color { COLOR_UNSPECIFIED = 0; RED = 1; NAVY = 2; }\n", false, []string{"warning enum-value-renamed BLUE"}},
		{"a value with two names", marked + part + color, marked + part + "enum Color { option allow_alias = true; COLOR_UNSPECIFIED = 0; RED = 1; NAVY = 2; BLUE = 2; }\n", false, nil},
		{"values exchanged", marked + part + color, marked + part + "enum Color { COLOR_UNSPECIFIED = 0; BLUE = 1; RED = 2; }\n", false,
			[]string{"error enum-value-number RED", "error enum-value-number BLUE"}},
		{"another kind", marked + part + color, strings.Replace(marked, "EVENT", "COMMAND", 1) + part + color, false, []string{"error kind-changed Created"}},
		{"no kind", marked + part + color, strings.Replace(marked, "option (angzarr.kind) = KIND_EVENT;", "", 1) + part + color, false, []string{"error kind-changed Created"}},
		{"a command", marked + part + color + "message Ask { option (angzarr.kind) = KIND_COMMAND; string a = 1; }", marked + part + color + "message Ask { option (angzarr.kind) = KIND_COMMAND; int32 a = 1; }", false,
			[]string{"warning field-type Ask.a"}},
		{"a command that must not", marked + part + color + "message Ask { option (angzarr.kind) = KIND_COMMAND; string a = 1; }", marked + part + color, true, []string{"error message-removed Ask"}},
		{"nothing is marked", "message Created { string a = 1; }", "message Created { int32 a = 1; }", false, []string{"error field-type Created.a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := found(protocheck.Compare(compile(t, file(c.before)), compile(t, file(c.after)), protocheck.Options{All: c.all}))
			if want := append([]string{}, c.want...); !cmp.Equal(want, got) {
				t.Error(cmp.Diff(want, got))
			}
		})
	}
}

func TestChangeOfDomain(t *testing.T) {
	t.Parallel()
	before := event("string a = 1;")
	after := strings.Replace(before, `(angzarr.domain) = "customer"`, `(angzarr.domain) = "person"`, 1)
	got := found(protocheck.Compare(compile(t, before), compile(t, after), protocheck.Options{}))
	if want := []string{"error domain-changed Created"}; !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestFindingIsShownWithItsLine(t *testing.T) {
	t.Parallel()
	tally := &protocheck.Tally{}
	for range 17 {
		tally.Add("type.googleapis.com/customer.Created", []byte("\x12\x01a"))
	}
	findings := protocheck.Compare(compile(t, event("  string email = 2;")), compile(t, event("  int32 email = 2;")), protocheck.Options{Stored: tally})
	if len(findings) != 1 {
		t.Fatal(findings)
	}
	want := `proto/customer.proto:12:3: error: field 2 (email) was string and is now int32 [field-type]
   12 |   int32 email = 2;
      |   ^
        effect: the email of 17 stored events cannot be read
        instead: write "string email = 2;" again, and give the new field a number of its own: 3`
	if got := findings[0].String(); got != want {
		t.Error(cmp.Diff(want, got))
	}
	if got := findings[0]; got.Events != 17 || !cmp.Equal(got.Types, []string{"customer.Created"}) {
		t.Errorf("%+v", got)
	}
}

func TestRenamedEventIsRecognised(t *testing.T) {
	t.Parallel()
	before := event("string a = 1;")
	findings := protocheck.Compare(compile(t, before), compile(t, strings.Replace(before, "message Created", "message Made", 1)), protocheck.Options{})
	if len(findings) != 1 || !strings.Contains(findings[0].Message, "or renamed to customer.Made") {
		t.Error(findings)
	}
}
