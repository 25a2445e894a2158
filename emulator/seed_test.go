package emulator

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/config"
)

const seedProto = `syntax = "proto3";
package todo;
message AddTask { string title = 1; int64 big = 2; double rate = 3; bytes token = 4; repeated string tags = 5; bool done = 6; map<string, int32> counts = 7; }
`

func seedFile(t *testing.T, name, text string) (c *config.Config, path string) {
	t.Helper()
	dir := t.TempDir()
	for file, content := range map[string]string{"proto/todo.proto": seedProto, name: text} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &config.Config{Dir: dir, Protos: []string{"proto"}}, filepath.Join(dir, name)
}

func TestYAMLAndJSONLinesSayTheSame(t *testing.T) {
	t.Parallel()
	yaml := `# a comment
- &first
  domain: todo
  id: monday
  command: AddTask
  sync: cascade
  payload: {title: "tea", big: 9007199254740993, rate: .inf, token: !!binary "AP8=", tags: [no, "1", a], done: true, counts: {a: 0x10}}
---
domain: todo
id: monday
event: todo.AddTask
at: 2026-01-31T12:00:00Z
payload: {title: 2026-01-31}
---
- *first
`
	lines := `{"domain":"todo","id":"monday","command":"AddTask","sync":"cascade","payload":{"title":"tea","big":"9007199254740993","rate":"Infinity","token":"AP8=","tags":["no","1","a"],"done":true,"counts":{"a":16}}}

{"domain":"todo","id":"monday","event":"todo.AddTask","at":"2026-01-31T12:00:00Z","payload":{"title":"2026-01-31"}}
{"domain":"todo","id":"monday","command":"AddTask","sync":"cascade","payload":{"title":"tea","big":"9007199254740993","rate":"Infinity","token":"AP8=","tags":["no","1","a"],"done":true,"counts":{"a":16}}}
`
	// "no" is text in YAML 1.2.
	var all [2][]seed
	for i, file := range []struct{ name, text string }{{"seed.yaml", yaml}, {"seed.jsonl", lines}} {
		c, path := seedFile(t, file.name, file.text)
		var err error
		if all[i], err = readSeeds(t.Context(), c, []string{path}); err != nil {
			t.Fatal(err)
		}
	}
	if len(all[0]) != 3 || len(all[1]) != 3 {
		t.Fatalf("got %d and %d entries, want 3", len(all[0]), len(all[1]))
	}
	for i := range all[0] {
		a, b := all[0][i], all[1][i]
		if a.id != b.id || a.Domain != b.Domain || a.ID != b.ID || a.Event != b.Event || a.Command != b.Command || a.sync != b.sync || !a.at.Equal(b.at) {
			t.Errorf("entry %d is %+v as YAML and %+v as JSON", i, a, b)
		}
		if diff := cmp.Diff(a.message.Value, b.message.Value); diff != "" {
			t.Errorf("entry %d: %s", i, diff)
		}
	}
	if all[0][0].id == all[0][2].id {
		t.Error("what is written twice is not meant twice")
	}
}

func TestIDsOfSeedsDoNotDependOnTheirPlace(t *testing.T) {
	t.Parallel()
	entry := `{"domain":"todo","id":"monday","command":"AddTask","payload":{"title":"tea"}}` + "\n"
	c, path := seedFile(t, "a.jsonl", entry)
	before, err := readSeeds(t.Context(), c, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	c, path = seedFile(t, "b.jsonl", `{"domain":"todo","id":"sunday","command":"todo.AddTask"}`+"\n"+entry+strings.Replace(entry, `"payload"`, `"key":"k","payload"`, 1))
	after, err := readSeeds(t.Context(), c, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	if before[0].id != after[1].id || after[1].id == after[2].id {
		t.Errorf("got %s before and %s, %s after", before[0].id, after[1].id, after[2].id)
	}
}

func TestMistakesInSeedsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	c, path := seedFile(t, "seed.yaml", `- {id: a, command: AddTask}
- {domain: todo, command: AddTask}
- {domain: todo, id: a}
- {domain: todo, id: a, command: AddTask, event: AddTask}
- {domain: todo, id: a, command: AddTask, at: 2026-01-31T12:00:00Z}
- {domain: todo, id: a, event: AddTask, sync: none}
- {domain: todo, id: a, event: AddTask, at: yesterday}
- {domain: todo, id: a, command: AddTask, sync: all}
- {domain: todo, id: a, command: AddTask, payload: [1]}
- {domain: todo, id: a, command: AdTask}
- {domain: todo, id: a, command: AddTask, payload: {titel: x}}
- {domain: [todo], id: a, command: AddTask}
- text
- {kind: book}
- {domain: todo, id: a, command: AddTask, payload: {<<: {title: a}}}
`)
	_, err := readSeeds(t.Context(), c, []string{path})
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.TrimSuffix(strings.TrimPrefix(line, path+":"), "\n"))
	}
	want := []string{
		"12: domain: found a list, expected text",
		`13: found "text", expected an entry such as {domain: todo, id: monday, command: AddTask, payload: {title: tea}}`,
		`14: found the key "kind", as angz export writes it: begin with such a file by angz dev --from`,
		`15: payload: line 15: found "<<" as a key, expected the name of a field`,
		"1: domain: found nothing, expected the name of a domain",
		"2: id: found nothing, expected what people call the aggregate, or a UUID",
		"3: found neither command nor event, expected the name of a type in one of them",
		"4: found both command and event, expected one of the two",
		"5: at: found with a command, which happens when it is sent; expected with events only",
		"6: sync: found with an event, for which nothing is waited; expected with commands only",
		`7: at: found "yesterday", expected a time such as 2026-01-31T12:00:00Z`,
		`8: sync: found "all", expected none, simple or cascade`,
		"9: payload: found [1], expected an object with the fields of AddTask",
		`10: no type is called "AdTask"; the nearest: todo.AddTask`,
		`11: not a todo.AddTask: titel: found the unknown field "titel", expected a field of todo.AddTask such as "title"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"seed.txt": "x", "broken.yaml": "a: [", "broken.jsonl": "{"} {
		c, path := seedFile(t, name, text)
		if _, err := readSeeds(t.Context(), c, []string{path}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := readSeeds(t.Context(), c, []string{"none.yaml"}); err == nil {
		t.Error("read a file that is not there")
	}
}

func TestWishesThatContradictEachOther(t *testing.T) {
	t.Parallel()
	for _, o := range []DataOptions{{Fresh: true, Ephemeral: true}, {Fresh: true, From: "x"}, {Ephemeral: true, From: "x"}, {History: true}} {
		if o.Check() == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if err := (DataOptions{From: "x", History: true, Seeds: []string{"y"}}).Check(); err != nil {
		t.Error(err)
	}
}

// FuzzSeeds holds that no file makes the reader panic or run on, and that
// payloads come out as JSON.
func FuzzSeeds(f *testing.F) {
	f.Add("- {domain: todo, id: a, command: X, payload: {a: [1, .nan, 0o7, ~, 2026-01-01, !!binary aGk=]}}")
	f.Add("a: &a [x, x]\nb: &b [*a, *a]\npayload: &c [*b, *c]\n")
	f.Add("--- &x\npayload: *x\n")
	f.Add(`{"domain":"a","payload":{"b":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func() ([]seedEntry, error){
			func() ([]seedEntry, error) { return readYAMLSeeds("f", strings.NewReader(text)) },
			func() ([]seedEntry, error) { return readJSONSeeds("f", strings.NewReader(text)) },
		} {
			entries, _ := read()
			for _, entry := range entries {
				if len(entry.Payload) > 0 && !json.Valid(entry.Payload) {
					t.Errorf("not JSON: %s", entry.Payload)
				}
				_ = entry.check()
			}
		}
	})
}
