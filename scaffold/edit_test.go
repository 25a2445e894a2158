package scaffold

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var entry = Entry{Project: "shop", List: "domains", Name: "order", Lines: []string{"dir: go", "run: bin/order"}, Folder: "go", Language: "go"}

func TestAnEntryIsAddedAndEverythingElseStays(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, want string }{
		"nothing": {"", "name: shop\ndomains:\n  - name: order\n    dir: go\n    run: bin/order\n\n# Where angz generate writes code for the messages, and in which language.\ngenerate:\n  go: go\n"},
		"in the middle": {
			"# Mine.\nname: x # not shop\n\ndomains: # all of them\n- name: a # first\n  run: |\n    one\n    two\n\n# What follows.\nsagas: []\ngenerate: {go: go}\n",
			"# Mine.\nname: x # not shop\n\ndomains: # all of them\n- name: a # first\n  run: |\n    one\n    two\n- name: order\n  dir: go\n  run: bin/order\n\n# What follows.\nsagas: []\ngenerate: {go: go}\n",
		},
		"an empty list":      {"name: x\ndomains: []\ngenerate:\n  go: go\n", "name: x\ndomains:\n  - name: order\n    dir: go\n    run: bin/order\ngenerate:\n  go: go\n"},
		"a key with nothing": {"name: x\ndomains:\ngenerate:\n  go: go\n", "name: x\ndomains:\n  - name: order\n    dir: go\n    run: bin/order\ngenerate:\n  go: go\n"},
		"the other name": {
			"name: x\nbusiness_logic:\n    - domain: a\n      address: localhost:1\ngenerate:\n  python: python\n",
			"name: x\nbusiness_logic:\n    - domain: a\n      address: localhost:1\n    - name: order\n      dir: go\n      run: bin/order\ngenerate:\n  python: python\n  go: go\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := entry.AddTo([]byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntriesThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, want string }{
		"the same name": {"domains:\n  - name: order\n", `angz.yaml has domain "order" already; take another name`},
		"one line":      {"domains: [{name: a}]\n", "angz.yaml:1: domains is not written as a list of lines, so that angz cannot add to it; add this yourself:\n  - name: order\n    dir: go\n    run: bin/order"},
		"the folder":    {"domains: []\ngenerate:\n  go: python\n", "angz.yaml:3: generate has the folder go for python, not for go; change one of them, or keep the new service elsewhere with --folder"},
		"a list":        {"- a\n", "angz.yaml:1: found no keys; see angz config check"},
		"no YAML":       {"a: b: c\n", "angz.yaml: yaml: mapping values are not allowed in this context"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := entry.AddTo([]byte(test.file))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %q, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

// FuzzAddTo has files that angz.yaml may be and sees that adding to them leaves
// YAML with one service more.
func FuzzAddTo(f *testing.F) {
	for _, file := range []string{"", "domains:\n  - name: a\n", "domains: []\n", "domains:\n- name: a\n\n# x\nsagas:\n- name: b\n", "# only\n", "---\ndomains: null\n...\n", "a: &x [1]\ndomains: *x\n", "\"domains\":\n  - {name: x}\n"} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		got, err := entry.AddTo([]byte(file))
		if err != nil {
			return
		}
		before, err := readDocument([]byte(file))
		if err != nil {
			t.Fatalf("%q was taken: %v", file, err)
		}
		after, err := readDocument(got)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", file, got, err)
		}
		want := append(before.services("domains"), "order")
		have := after.services("domains")
		slices.Sort(want)
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%q becomes %q:\n%s", file, got, diff)
		}
	})
}
