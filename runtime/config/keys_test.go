package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/config"
)

// TestTheDocumentationNamesEveryKey keeps docs/configuration.md as the structs
// have it, between its two marks; -update writes it anew.
func TestTheDocumentationNamesEveryKey(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/configuration.md", "<!-- keys: made by go test ./runtime/config -update -->\n", "<!-- end of keys -->\n"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(content), begin)
	got, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks the marks %q and %q", path, begin, end)
	}
	want := tables(config.Keys())
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not as the structs are; run go test ./runtime/config -update:\n%s", path, diff)
	}
}

// tables writes the keys as one table for each section.
func tables(keys []config.Key) string {
	var text strings.Builder
	last := ""
	for _, key := range keys {
		section, _, nested := strings.Cut(key.Path, ".")
		section = strings.TrimSuffix(section, "[]")
		if !nested && !strings.HasPrefix(key.Type, "list of services") {
			section = key.Path
		}
		if section != last {
			fmt.Fprintf(&text, "\n### %s\n\n", section)
			if key.Type == "list of services" {
				fmt.Fprintf(&text, "%s\n\n", key.Meaning)
			}
			text.WriteString("| key | holds | default | variable | meaning |\n|---|---|---|---|---|\n")
			last = section
		}
		if key.Type != "list of services" {
			fmt.Fprintf(&text, "| `%s` | %s | %s | %s | %s |\n", key.Path, key.Type, standard(key), code(key.Variables...), key.Meaning)
		}
	}
	return text.String() + "\n"
}

func standard(key config.Key) string {
	switch {
	case key.Dev == "":
		return code(key.Default)
	case key.Default == "":
		return "dev: " + code(key.Dev)
	}
	return code(key.Default) + ", dev: " + code(key.Dev)
}

func code(words ...string) string {
	var marked []string
	for _, word := range words {
		if word != "" {
			marked = append(marked, "`"+word+"`")
		}
	}
	return strings.Join(marked, ", ")
}

func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	for _, key := range config.Keys() {
		if !strings.HasSuffix(key.Meaning, ".") {
			t.Errorf("%s: its meaning is not a sentence: %q", key.Path, key.Meaning)
		}
		if key.Type == "" {
			t.Errorf("%s: has no type", key.Path)
		}
	}
}

func TestEveryVariableSetsItsKey(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "projectors: [{name: a, run: x}]"})
	for _, key := range config.Keys() {
		for _, name := range key.Variables {
			// An impossible value is refused by all that are not plain text, and a
			// variable that stands for no key is refused always.
			_, err := config.Load(config.Options{Dir: dir, Dev: true, Environ: []string{name + "=\x00"}})
			if err == nil || !strings.Contains(err.Error(), "environment variable "+name+": found ") {
				t.Errorf("%s for %s: %v", name, key.Path, err)
			}
		}
	}
}
