package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/inspect"
)

// TestSchemaFilesAreWhatIsPrinted keeps the published copies as "angz schema"
// prints them; -update writes them anew.
func TestSchemaFilesAreWhatIsPrinted(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "..", "schemas")
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, file := range files {
		left[file] = true
	}
	for _, p := range documents {
		want, err := p.schema()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, p.Name+".json")
		delete(left, file)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what is printed; see go test ./cmd/angz -run Schema -update (-want +got):\n%s", file, diff)
		}
	}
	for file := range left {
		t.Errorf("%s is of no document", file)
	}
}

// verbsWithJSON lists the verbs below a command that have --output json.
func verbsWithJSON(cmd *cobra.Command) (verbs []string) {
	if flag := cmd.Flags().Lookup("output"); flag != nil {
		if complete, has := cmd.GetFlagCompletionFunc("output"); has {
			words, _ := complete(cmd, nil, "")
			if slices.Contains(words, "json") {
				verbs = append(verbs, strings.TrimPrefix(cmd.CommandPath(), "angz "))
			}
		}
	}
	for _, child := range cmd.Commands() {
		verbs = append(verbs, verbsWithJSON(child)...)
	}
	return verbs
}

func TestEveryVerbWithJSONHasASchema(t *testing.T) {
	t.Parallel()
	want := verbsWithJSON(newRootCommand(streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}}))
	want = append(want, "export") // has nothing but JSON
	var got []string
	for _, d := range schemaDocuments() {
		got = append(got, d.Verb)
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 20 {
		t.Errorf("only %d verbs have --output json: %q", len(want), want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the verbs with --output json and those in documents (-want +got):\n%s", diff)
	}
}

func TestSchemasAreGoodOnes(t *testing.T) {
	t.Parallel()
	for _, p := range documents {
		text, err := p.schema()
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft4) // so that the schema has to say which it is
		if err := compiler.AddResource(p.ID(), document); err != nil {
			t.Fatal(err)
		}
		if compiled, err := compiler.Compile(p.ID()); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		} else if compiled.DraftVersion != 2020 {
			t.Errorf("%s is of draft %d, expected 2020", p.Name, compiled.DraftVersion)
		}
	}
}

// enumOf returns the texts that a field may hold, as its schema says.
func enumOf[D any](t *testing.T, field string) []string {
	t.Helper()
	found, has := reflect.TypeFor[D]().FieldByName(field)
	if !has {
		t.Fatalf("%s has no field %s", reflect.TypeFor[D](), field)
	}
	return strings.Split(found.Tag.Get("enum"), "|")
}

func texts[T ~string](words []T) (all []string) {
	for _, word := range words {
		all = append(all, string(word))
	}
	return all
}

func TestEnumsAreWhatThereIs(t *testing.T) {
	t.Parallel()
	states := []supervise.State{
		"", supervise.Building, supervise.BuildFailed, supervise.Starting, supervise.Waiting, supervise.NotReady, supervise.Died, supervise.Stopped,
		supervise.Ready, supervise.Rebuilding, supervise.Outdated,
	}
	for name, words := range map[string][2][]string{
		"states of dead letters": {texts(inspect.DeadLetterStates), enumOf[letterDocument](t, "State")},
		"states of services":     {texts(states), enumOf[serviceDocument](t, "State")},
		"levels of the log":      {control.LevelNames(), enumOf[lineDocument](t, "Level")},
	} {
		if diff := cmp.Diff(words[0], words[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// schemaTalk runs "angz schema" and returns what is seen.
func schemaTalk(t *testing.T, args ...string) (out, talk string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"schema"}, args...), streams{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return stdout.String(), stderr.String(), code
}

func TestSchemasAreFoundByTheVerb(t *testing.T) {
	t.Parallel()
	out, talk, code := schemaTalk(t, "dlq", "list")
	if code != 0 || talk != "" || !strings.Contains(out, `"$id": "https://github.com/angz-dev/angz/schemas/dead-letter.json"`) {
		t.Errorf("angz schema dlq list: exit code %d\n%s%s", code, out, talk)
	}
	for line, want := range map[string]string{
		"dlq":                  `error: VERB: found "dlq", expected one of those that "angz schema" lists`,
		"evnts":                `error: VERB: found "evnts", expected one of those that "angz schema" lists`,
		"events --output=json": `error: found both VERB and --output, expected one of the two: a schema is JSON`,
	} {
		out, talk, code := schemaTalk(t, strings.Fields(line)...)
		if code != exitUsage || out != "" || talk != want+"\n" {
			t.Errorf("angz schema %s: exit code %d\n%s%s", line, code, out, talk)
		}
	}
}

func TestVerbsOfSchemaAreCompleted(t *testing.T) {
	t.Parallel()
	offered := func(args ...string) map[string]bool {
		words := map[string]bool{}
		for _, word := range schemaVerbs(t.Context(), nil, args, "") {
			name, _, _ := strings.Cut(word, "\t")
			words[name] = true
		}
		return words
	}
	if first := offered(); !first["events"] || !first["dlq"] || first["list"] {
		t.Errorf("offered as the first word: %v", slices.Sorted(maps.Keys(first)))
	}
	if diff := cmp.Diff(map[string]bool{"list": true, "show": true, "skip": true, "retry": true}, offered("dlq")); diff != "" {
		t.Errorf("after dlq (-want +got):\n%s", diff)
	}
	if after := offered("events"); len(after) > 0 {
		t.Errorf("offered after a whole verb: %v", after)
	}
}

// TestSchemaTableNamesEveryVerb keeps the table of docs/output.md as documents has
// it, between its two marks; -update writes it anew.
func TestSchemaTableNamesEveryVerb(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- documents: made by go test ./cmd/angz -run Schema -update -->\n", "<!-- end of documents -->\n"
	path := filepath.Join("..", "..", "docs", "output.md")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(content), begin)
	got, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks the marks %q and %q", path, begin, end)
	}
	want := schemaTable(t)
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not as documents has it; run go test ./cmd/angz -run Schema -update (-want +got):\n%s", path, diff)
	}
}

// schemaTable writes one row for each kind of document.
func schemaTable(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("\n| `angz …` | prints | schema | always there |\n|---|---|---|---|\n")
	for _, p := range documents {
		schema, err := p.schema()
		if err != nil {
			t.Fatal(err)
		}
		var read struct{ Required []string }
		if err := json.Unmarshal(schema, &read); err != nil {
			t.Fatal(err)
		}
		if len(p.Forms) > 0 {
			read.Required = []string{"kind"}
		}
		much := "one document"
		if p.lines != "" {
			much = "a line for each " + p.lines
		}
		fmt.Fprintf(&text, "| `%s` | %s | [%s](../schemas/%s.json) | ", strings.Join(p.verbs, "`, `"), much, p.Name, p.Name)
		if len(read.Required) > 0 {
			fmt.Fprintf(&text, "`%s` ", strings.Join(read.Required, "`, `"))
		}
		text.WriteString("|\n")
	}
	return text.String() + "\n"
}
