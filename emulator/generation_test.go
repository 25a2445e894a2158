package emulator

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/generate"
	"github.com/angz-dev/angz/scaffold"
)

func TestGeneratedCodeRestartsAServiceOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, rules := filepath.Join(dir, "gen.go"), filepath.Join(dir, "rules.go")
	save := func(place, text string) {
		t.Helper()
		if err := os.WriteFile(place, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var m codeMemory
	generated := func(text string) {
		t.Helper()
		save(code, text)
		m.remember(dir, &generate.Result{Steps: []scaffold.Step{{File: scaffold.File{Path: "gen.go"}, Action: scaffold.Change}, {File: scaffold.File{Path: "same.go"}, Action: scaffold.Same}}})
	}
	expect := func(what string, known, isCode bool, files ...string) {
		t.Helper()
		gotKnown, gotCode := m.isKnown(watch.Change{Name: "order", Files: files, Count: len(files)})
		if gotKnown != known || gotCode != isCode {
			t.Errorf("%s: known %v, code %v, want %v, %v", what, gotKnown, gotCode, known, isCode)
		}
	}
	save(rules, "")
	m.starting()
	expect("a person's file", false, false, rules)
	generated("1")
	expect("new code", false, true, code)
	expect("new code and a person's file", false, false, code, rules)
	m.starting("stock")
	expect("another service was started", false, true, code)
	m.starting("order")
	expect("what it was started with", true, true, code)
	expect("and a person's file", false, false, code, rules)
	generated("22")
	expect("newer code", false, true, code)
	m.starting("order")
	save(code, "333")
	expect("code that a person has changed", false, false, code)
	if known, isCode := m.isKnown(watch.Change{Name: "order", Files: []string{code}, Count: 200}); known || isCode {
		t.Error("files that are not told may be anybody's")
	}
}

func TestMistakesAreToldOnce(t *testing.T) {
	t.Parallel()
	var m codeMemory
	for i, c := range []struct {
		text  string
		isNew bool
	}{{"a", true}, {"a", false}, {"b", true}, {"a", true}} {
		if m.isNew(errors.New(c.text)) != c.isNew {
			t.Errorf("%d: %s", i, c.text)
		}
	}
}
