package gherkin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	messages "github.com/cucumber/messages/go/v21"
	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/payload"
)

const schemaText = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
enum Size { SIZE_UNSPECIFIED = 0; SIZE_LARGE = 1; }
message Item { string product_id = 1; uint32 quantity = 2; }
message AddItem { Item item = 1; repeated string tags = 2; int64 price = 3; Size size = 4; google.protobuf.Timestamp at = 5; bool gift = 6; string note = 7; bytes raw = 8; map<string, int32> counts = 9; }
`

func testWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shop.proto"), []byte(schemaText), 0o644); err != nil {
		t.Fatal(err)
	}
	schema, err := payload.Load(t.Context(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(Options{}, schema)
}

func TestCellsBecomeFields(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	message, err := w.message("shop", "AddItem", command, row{
		"item.product_id": "17", "item.quantity": "2", "tags": `["a","b"]`, "price": "9007199254740993", "size": "SIZE_LARGE",
		"at": "2026-01-02T03:04:05Z", "gift": "true", "note": "true", "raw": "aGk=", "counts": `{"x": 1}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `AddItem {"item":{"productId":"17","quantity":2},"tags":["a","b"],"price":"9007199254740993","size":"SIZE_LARGE","at":"2026-01-02T03:04:05Z","gift":true,"note":"true","raw":"aGk=","counts":{"x":1}}`
	if diff := cmp.Diff(want, strings.ReplaceAll(w.shown(message), `product_id`, "productId")); diff != "" {
		t.Error(diff)
	}
}

func TestCellsThatDoNotFit(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	tests := map[string]struct {
		fields row
		want   string
	}{
		"no such field":  {row{"colour": "red"}, `AddItem has no field "colour", expected one of item, tags, price, size, at, gift, note, raw, counts`},
		"no such inner":  {row{"item.colour": "red"}, `Item has no field "colour", expected one of product_id, quantity`},
		"nothing inside": {row{"note.x": "red"}, `AddItem.note has no fields of its own, found note.x`},
		"not a number":   {row{"price": "much"}, `price`},
		"not an enum":    {row{"size": "HUGE"}, `size`},
		"no JSON":        {row{whole: `{"price": []}`}, `price`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := w.message("shop", "AddItem", command, test.fields); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := w.message("shop", "AddItems", command, row{}); err == nil || !strings.Contains(err.Error(), "shop.AddItem") {
		t.Errorf("got %v, want the nearest name", err)
	}
}

func TestOnlyWhatIsNamedIsCompared(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	make := func(fields row) func(row) string {
		found, err := w.message("shop", "AddItem", command, fields)
		if err != nil {
			t.Fatal(err)
		}
		return func(named row) string {
			wanted, err := w.message("shop", "AddItem", command, named)
			if err != nil {
				t.Fatal(err)
			}
			return w.difference(named, wanted, found)
		}
	}
	compare := make(row{"item.product_id": "p", "item.quantity": "2", "note": "n"})
	for _, test := range []struct {
		named row
		want  string
	}{
		{row{"note": "n"}, ""},
		{row{"item.quantity": "2"}, ""},
		{row{"item.productId": "p"}, ""},
		{row{"item.quantity": "3"}, "item.quantity: found 2, expected 3"},
		{row{"gift": "false"}, ""},
		{row{"gift": "true"}, "gift: found nothing, expected true"},
		{row{"price": "0"}, ""},
		{row{whole: `{"note":"m"}`}, `note: found "n", expected "m"`},
	} {
		if found := compare(test.named); found != test.want {
			t.Errorf("%v: found %q, want %q", test.named, found, test.want)
		}
	}
}

// TestEverySentenceMeansOneThing checks the examples of the vocabulary, which the
// documentation repeats.
func TestEverySentenceMeansOneThing(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	documented, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	loaded := &config.Config{File: "angz.yaml"}
	for _, name := range []string{"orders", "customer", "inventory"} {
		loaded.Domains = append(loaded.Domains, config.Service{Name: name})
	}
	loaded.Projectors, loaded.Sagas = []config.Service{{Name: "receipt"}}, []config.Service{{Name: "loyalty"}}
	for _, sentence := range vocabulary(w) {
		_, text, _ := strings.Cut(sentence.example, " ")
		if err := check([]step{{file: "x.feature", line: 1, text: text}}, loaded, w.schema); err != nil {
			t.Errorf("%s: %v", sentence.example, err)
		}
		if !strings.Contains(string(documented), sentence.example) {
			t.Errorf("docs/testing.md does not have the sentence: %s", sentence.example)
		}
	}
}

func TestMistakesAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.feature")
	text := "Feature: a\n  Scenario: b\n    Given prior events for aggregate \"x\" in domain \"ordrs\":\n      | event_type |\n    When I sends an \"AddItem\" command for aggregate \"x\"\n    Then the saga \"s\" sends no commands\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	steps, err := read([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	err = check(steps, &config.Config{File: "angz.yaml", Domains: []config.Service{{Name: "orders"}}}, testWorld(t).schema)
	want := file + `:3: there is no domain "ordrs" in angz.yaml, expected orders
` + file + `:5: nothing is known of the step "I sends an \"AddItem\" command for aggregate \"x\""; the nearest are
    When I send an "AddItem" command for aggregate "order-456"
`
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), file+`:6: there is no saga "s" in angz.yaml, expected none: it has none`) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestFeaturesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := read([]string{dir}); err == nil || !strings.Contains(err.Error(), "there is no .feature file in") {
		t.Errorf("got %v", err)
	}
	if _, err := read([]string{filepath.Join(dir, "no.feature:12")}); err == nil || !strings.Contains(err.Error(), "there is no ") {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(dir, "a.feature")
	if err := os.WriteFile(file, []byte("Feature: a\n  Scenario: b\n    Given x\n    nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := read([]string{dir}); err == nil || !strings.HasPrefix(err.Error(), file+":4:5: ") {
		t.Errorf("got %v", err)
	}
}

// FuzzRows has any two rows of a table.
func FuzzRows(f *testing.F) {
	f.Add("note", "x")
	f.Add("item.quantity", "2")
	f.Add("", "{}")
	f.Add("counts", "{\"a\":1}")
	f.Fuzz(func(t *testing.T, column, cell string) {
		table := &messages.PickleTable{Rows: []*messages.PickleTableRow{
			{Cells: []*messages.PickleTableCell{{Value: column}}}, {Cells: []*messages.PickleTableCell{{Value: cell}}},
		}}
		rows, err := readRows(table)
		if err != nil {
			return
		}
		descriptor, _ := fuzzed(t).Message("shop.AddItem")
		_, _ = encode(descriptor, rows[0]) // an error is fine, a crash is not
	})
}

func fuzzed(t *testing.T) *payload.Schema { return testWorld(t).schema }
