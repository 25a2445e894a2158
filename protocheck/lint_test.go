package protocheck_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/protocheck"
)

const state = "message State { option (angzarr.kind) = KIND_STATE; }\n"

func TestLint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"good", file(state + "message Create { option (angzarr.kind) = KIND_COMMAND; string first_name = 1; Part part = 16; }\nmessage Part { Color color = 1; }\nenum Color { COLOR_UNSPECIFIED = 0; RED = 1; }\n"), nil},
		{"no state", event("string a = 1;"), []string{"error domain-state "}},
		{"two states", file(state + "message Other { option (angzarr.kind) = KIND_STATE; }\n"), []string{"error domain-state Other"}},
		{"names", file(state + "message create_it { option (angzarr.kind) = KIND_COMMAND; string firstName = 1; }\n"), []string{"error message-name create_it", "error field-name create_it.firstName"}},
		{"an event like a command", file(state + "message CreateCommand { option (angzarr.kind) = KIND_EVENT; }\n"), []string{"error event-name CreateCommand"}},
		{"a command like an event", file(state + "message CreatedEvent { option (angzarr.kind) = KIND_COMMAND; }\n"), []string{"error event-name CreatedEvent"}},
		{"unmarked", file(state + "message Other {}\n"), []string{"hint unmarked Other"}},
		{"enums", file(state + "enum Color { red = 0; }\n"), []string{"error enum-value-name red", "error enum-zero red"}},
		{"inside", file(state + "message Outer { message Inner { option (angzarr.kind) = KIND_EVENT; } Inner i = 1; }\n"), []string{"hint unmarked Outer", "error kind-nested Outer.Inner"}},
		{"another domain", strings.Replace(file(state), `domain) = "customer"`, `domain) = "order"`, 1), []string{"error domain-unknown ", "error package-domain "}},
		{"no domain", strings.Replace(file(state), `option (angzarr.domain) = "customer";`, "", 1), []string{"error domain-missing State"}},
		{"reserved package", strings.Replace(file(state), "package customer", "package google.customer", 1), []string{"error package-reserved google.customer"}},
		{"required", "syntax = \"proto2\";\npackage customer;\nmessage A { required string a = 1; }\n", []string{"error field-required A.a"}},
		{"ignored at a message", file(state + "// Old.\n// angz:ignore message-name, field-name\nmessage create_it { option (angzarr.kind) = KIND_COMMAND; string firstName = 1; }\n"), nil},
		{"ignored at a field", file(state + "message Create { option (angzarr.kind) = KIND_COMMAND;\n  // angz:ignore field-name\n  string firstName = 1;\n  string lastName = 2; }\n"), []string{"error field-name Create.lastName"}},
		{"ignored in a file", "// angz:ignore domain-state\n" + event("string a = 1;"), nil},
		{"ignored wrongly", file(state + "// angz:ignore names\nmessage Part {}\nmessage Create { option (angzarr.kind) = KIND_COMMAND; Part part = 1; }\n"), []string{"error ignore-unknown Part"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			findings := protocheck.Lint(compile(t, c.text), []string{"customer"})
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Severity)+" "+f.Rule+" "+strings.TrimPrefix(strings.TrimPrefix(f.Name, "customer"), "."))
				if f.Line == 0 || f.Column == 0 || f.Text == "" || f.Advice == "" {
					t.Errorf("a finding without place or advice: %+v", f)
				}
				if _, known := protocheck.Rules[f.Rule]; !known {
					t.Errorf("the rule %s is not listed", f.Rule)
				}
			}
			if !cmp.Equal(c.want, got) {
				t.Error(cmp.Diff(c.want, got))
			}
		})
	}
}

func TestDomainInTwoFiles(t *testing.T) {
	t.Parallel()
	schema, err := protocheck.Compile(t.Context(), protocheck.Source{
		"a.proto": {Shown: "proto/a.proto", Content: []byte(file(state))},
		"b.proto": {Shown: "proto/b.proto", Content: []byte(file("message Second { option (angzarr.kind) = KIND_STATE; }\n"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	findings := protocheck.Lint(schema, nil)
	if len(findings) != 1 || findings[0].File != "proto/b.proto" || findings[0].Message != `the domain "customer" is described in proto/a.proto already` {
		t.Error(findings)
	}
}
