package inspect_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/payload"
)

const messages = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";

message AddItem {
  string product_id = 1;
  uint32 quantity = 2;
  int64 price = 3;
  uint64 serial = 4;
  double weight = 5;
  bool gift = 6;
  Size size = 7;
  bytes picture = 8;
  google.protobuf.Timestamp due = 9;
  google.protobuf.Duration wait = 10;
  repeated string tags = 11;
  repeated int32 marks = 12;
  map<string, string> notes = 13;
  Place place = 14;
  google.protobuf.Struct more = 15;
  oneof paid_by {
    string card = 16;
    string voucher = 17;
  }
}
message Place { string street = 1; }
enum Size { SIZE_SMALL = 0; SIZE_LARGE = 1; }
message ItemAdded { string product_id = 1; }
message OrderState { Place place = 1; }
`

// schemaOf compiles a file.
func schemaOf(t testing.TB, name, content string) *payload.Schema {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := payload.Load(context.Background(), []string{folder}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func fieldsOf(t testing.TB, schema *payload.Schema, name string) []inspect.Field {
	t.Helper()
	message, known := schema.Message(name)
	if !known {
		t.Fatalf("no %s", name)
	}
	return inspect.Fields(message)
}

func TestFill(t *testing.T) {
	t.Parallel()
	schema := schemaOf(t, "order.proto", messages)
	fields := fieldsOf(t, schema, "shop.AddItem")
	for _, c := range []struct{ field, text, want string }{
		{"product_id", ` a "b" <c> `, `{"productId":" a \"b\" <c> "}`},
		{"product_id", "", `{}`},
		{"quantity", " 7 ", `{"quantity":7}`},
		{"quantity", "-1", "quantity: found \"-1\", expected a whole number from 0 to 4294967295"},
		{"quantity", "4294967296", "expected a whole number"},
		{"quantity", "007", `{"quantity":7}`},
		{"price", "-9223372036854775808", `{"price":"-9223372036854775808"}`},
		{"price", "9223372036854775808", "expected a whole number"},
		{"serial", "18446744073709551615", `{"serial":"18446744073709551615"}`},
		{"serial", "18446744073709551616", "expected a whole number"},
		{"serial", "1.5", "expected a whole number"},
		{"weight", "1.5e3", `{"weight":1.5e3}`},
		{"weight", "heavy", "expected a number"},
		{"gift", "TRUE", `{"gift":true}`},
		{"gift", "yes", `found "yes", expected false, true`},
		{"size", "size_large", `{"size":"SIZE_LARGE"}`},
		{"size", "XL", `found "XL", expected SIZE_SMALL, SIZE_LARGE`},
		{"picture", "AQI=", `{"picture":"AQI="}`},
		{"picture", "?", "expected base64"},
		{"due", "15m", `{"due":"2026-01-31T11:45:00Z"}`},
		{"due", "+2h", `{"due":"2026-01-31T14:00:00Z"}`},
		{"due", "now", `{"due":"2026-01-31T12:00:00Z"}`},
		{"due", "2026-02-01 08:30", `{"due":"2026-02-01T08:30:00Z"}`},
		{"due", "tomorrow", `found "tomorrow", expected a time`},
		{"wait", "1m30s", `{"wait":"90s"}`},
		{"wait", "long", "expected a duration"},
		{"tags", "a, b,, c", `{"tags":["a","b","c"]}`},
		{"tags", `["a,b"]`, `{"tags":["a,b"]}`},
		{"marks", "[1,2]", `{"marks":[1,2]}`},
		{"marks", "1,2", "expected a list in JSON"},
		{"notes", `{"a":"b"}`, `{"notes":{"a":"b"}}`},
		{"notes", "a=b", "expected an object in JSON"},
		{"place", `{"street":"x"}`, `{"place":{"street":"x"}}`},
		{"place", `"x"`, "expected an object in JSON"},
		{"more", `{"a":1}`, `{"more":{"a":1}}`},
	} {
		text, wrong := inspect.Fill(fields, map[string]string{c.field: c.text}, noon)
		got := string(text)
		if len(wrong) > 0 {
			got = wrong[0].Error()
		}
		if got != c.want && (len(wrong) == 0 || !strings.Contains(got, c.want)) {
			t.Errorf("%s %q: got %s, want %s", c.field, c.text, got, c.want)
		}
		if len(wrong) > 0 {
			continue
		}
		if _, err := schema.Encode("order", "shop.AddItem", text); err != nil {
			t.Errorf("%s %q: %s is not taken: %v", c.field, c.text, text, err)
		}
	}
	if _, wrong := inspect.Fill(fields, map[string]string{"card": "1", "voucher": "2", "quantity": "x"}, noon); len(wrong) != 2 || wrong[1].Message != "only one of card and voucher may be filled in" {
		t.Errorf("two of a oneof: %v", wrong)
	}
}

// FuzzFill sees that whatever is filled in becomes JSON or a mistake.
func FuzzFill(f *testing.F) {
	schema := schemaOf(f, "order.proto", messages)
	fields := fieldsOf(f, schema, "shop.AddItem")
	for _, seed := range []string{"1", "-0", "+7", "1e9", "{", "a\x00b", "2026-01-01", "[1", "\xff"} {
		f.Add(uint(2), seed)
	}
	f.Fuzz(func(t *testing.T, at uint, text string) {
		field := fields[at%uint(len(fields))]
		filled, wrong := inspect.Fill(fields, map[string]string{field.Name: text}, noon)
		if !json.Valid(filled) {
			t.Errorf("%s %q became %s (%v)", field.Name, text, filled, wrong)
		}
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	names := func(messages []protoreflect.MessageDescriptor) (names []string) {
		for _, message := range messages {
			names = append(names, string(message.Name()))
		}
		return names
	}
	plain := schemaOf(t, "order.proto", messages)
	if diff := cmp.Diff([]string{"AddItem"}, names(inspect.Commands(plain.Files(), "order"))); diff != "" {
		t.Errorf("by how they sound:\n%s", diff)
	}
	if got := inspect.Commands(plain.Files(), "customer"); got != nil {
		t.Errorf("another domain has %v", names(got))
	}
	marked := schemaOf(t, "x.proto", `syntax = "proto3";
package x;
import "angzarr/options.proto";
option (angzarr.domain) = "customer";
message Need { option (angzarr.kind) = KIND_COMMAND; }
message Want { option (angzarr.kind) = KIND_EVENT; }
message Part {}
`)
	if diff := cmp.Diff([]string{"Need"}, names(inspect.Commands(marked.Files(), "customer"))); diff != "" {
		t.Errorf("by their marks:\n%s", diff)
	}
}
