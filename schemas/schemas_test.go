package schemas_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/schemas"
)

type cover struct {
	Domain string `json:"domain" doc:"the domain"`
}

type treeDocument struct {
	cover
	Name   string            `json:"name,omitempty" doc:"what it is called" enum:"a|b c"`
	At     *string           `json:"at,omitempty" doc:"when" format:"date-time"`
	Below  []treeDocument    `json:"below" doc:"what is below"`
	Labels map[string]uint32 `json:"labels" doc:"any names with numbers"`
	Free   json.RawMessage   `json:"free" doc:"anything"`
	Hidden string            `json:"-"`
}

func schemaOf[D any]() (string, error) {
	text, err := schemas.Document{Name: "tree", Title: "A tree.", Type: reflect.TypeFor[D]()}.Schema()
	return string(text), err
}

func TestASchemaSaysWhatIsPrinted(t *testing.T) {
	t.Parallel()
	text, err := schemaOf[treeDocument]()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	count := map[string]any{"type": "integer", "minimum": 0.0}
	tree := map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"domain", "below", "labels", "free"},
		"properties": map[string]any{
			"domain": map[string]any{"description": "the domain", "type": "string"},
			"name":   map[string]any{"description": "what it is called", "type": "string", "enum": []any{"a", "b c"}},
			"at":     map[string]any{"description": "when", "type": "string", "format": "date-time"},
			"below":  map[string]any{"description": "what is below", "type": "array", "items": map[string]any{"$ref": "#/$defs/tree"}},
			"labels": map[string]any{"description": "any names with numbers", "type": "object", "additionalProperties": count},
			"free":   map[string]any{"description": "anything"},
		},
	}
	want := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://github.com/angz-dev/angz/schemas/tree.json",
		"title": "angz tree", "description": "A tree.", "$defs": map[string]any{"tree": tree},
	}
	for name, value := range tree {
		want[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Index(text, `"domain"`) > strings.Index(text, `"name"`) {
		t.Errorf("the fields are not in the order in which they are printed:\n%s", text)
	}
}

func TestADocumentMayHaveForms(t *testing.T) {
	t.Parallel()
	type endLine struct {
		Count int `json:"count" doc:"how many"`
	}
	text, err := schemas.Document{Name: "line", Forms: []reflect.Type{reflect.TypeFor[cover](), reflect.TypeFor[endLine]()}}.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		AnyOf []map[string]string
		Defs  map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]string{{"$ref": "#/$defs/cover"}, {"$ref": "#/$defs/end"}}, got.AnyOf); diff != "" || len(got.Defs) != 2 {
		t.Errorf("(-want +got):\n%s\n%s", diff, text)
	}
}

func TestWhatCannotBeDescribedIsAnError(t *testing.T) {
	t.Parallel()
	type Cover struct { // another one than the part that is called cover
		Name string `json:"name" doc:"a name"`
	}
	for want, describe := range map[string]func() (string, error){
		"its meaning is missing": schemaOf[struct {
			A string `json:"a"`
		}],
		"has no name in JSON": schemaOf[struct {
			A string `doc:"a"`
		}],
		"there is no schema for chan int": schemaOf[struct {
			A chan int `json:"a" doc:"a"`
		}],
		"two parts are called cover": schemaOf[struct {
			A cover `json:"a" doc:"a"`
			B Cover `json:"b" doc:"b"`
		}],
	} {
		if text, err := describe(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q; the schema is\n%s", err, want, text)
		}
	}
}
