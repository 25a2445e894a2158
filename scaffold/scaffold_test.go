package scaffold

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/angz-dev/angz/templates"
)

var update = flag.Bool("update", false, "write the expected trees anew")

// schema is what two domains look like that angz has made.
func schema() []Domain {
	project := Name{"shop"}
	name, email := Field{Name: Name{"name"}, Spelling: "name", Type: "string", Number: 1}, Field{Name: Name{"email"}, Spelling: "email", Type: "string", Number: 2}
	return []Domain{*newDomain(project, Name{"customer"}, []Field{name, email}), *newDomain(project, Name{"order", "item"}, []Field{name})}
}

// TestTrees compares everything that is written with the trees in testdata: the
// services' own files with their content, shared ones by their paths.
func TestTrees(t *testing.T) {
	t.Parallel()
	for _, language := range Languages {
		if _, err := fs.Stat(templates.Files, language); err != nil {
			t.Errorf("there are no templates for %s", language)
			continue
		}
		for _, spec := range []Spec{
			{Kind: KindDomain, Name: Name{"order", "item"}},
			{Kind: KindProjector, Name: Name{"customer", "list"}, From: "customer"},
			{Kind: KindSaga, Name: Name{"welcome"}, From: "customer", To: "order-item"},
		} {
			spec.Project, spec.Language, spec.Schema = Name{"my", "shop"}, language, schema()
			t.Run(language+"/"+string(spec.Kind), func(t *testing.T) {
				t.Parallel()
				plan, err := New(spec)
				if err != nil {
					t.Fatal(err)
				}
				compareTree(t, filepath.Join("testdata", "trees", language+"-"+string(spec.Kind)+".txtar"), plan)
			})
		}
	}
	t.Run("project", func(t *testing.T) {
		t.Parallel()
		plan, err := New(Spec{Kind: KindProject, Project: Name{"my", "shop"}, Name: Name{"my", "shop"}, Language: "go"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range plan.Files {
			plan.Files[i].Shared = strings.HasPrefix(plan.Files[i].Path, "proto/")
		}
		compareTree(t, filepath.Join("testdata", "trees", "project.txtar"), plan)
	})
}

func compareTree(t *testing.T, path string, plan *Plan) {
	t.Helper()
	tree := &txtar.Archive{}
	var comment strings.Builder
	for _, file := range plan.Files {
		if file.Shared {
			comment.WriteString("shared: " + file.Path + "\n")
			continue
		}
		tree.Files = append(tree.Files, txtar.File{Name: file.Path, Data: file.Content})
	}
	if plan.Entry != nil {
		comment.WriteString("\n" + plan.Entry.List + ":\n" + strings.Join(plan.Entry.lines("  "), "\n") + "\n")
	}
	tree.Comment = []byte(comment.String())
	got := txtar.Format(tree)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), see go test ./scaffold -update:\n%s", path, diff)
	}
}

// TestPlanning the same twice gives the same.
func TestPlanningIsPure(t *testing.T) {
	t.Parallel()
	spec := Spec{Kind: KindSaga, Project: Name{"shop"}, Name: Name{"welcome"}, Language: "go", From: "customer", To: "order-item", Schema: schema()}
	first, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestWishesThatCannotBeMet(t *testing.T) {
	t.Parallel()
	mute := schema()
	mute[0].Events, mute[1].Commands = nil, nil
	tests := map[string]struct {
		spec Spec
		want string
	}{
		"language":   {Spec{Kind: KindDomain, Name: Name{"a"}, Language: "cobol"}, `there is no language "cobol", expected go, python, rust, typescript, java or cpp`},
		"kind":       {Spec{Kind: "process-manager", Name: Name{"a"}, Language: "go"}, `angz makes no "process-manager", expected project, domain, projector or saga`},
		"no domains": {Spec{Kind: KindSaga, Name: Name{"a"}, Language: "go"}, "a saga needs a domain to follow, and no .proto file describes one; make one first: angz new domain NAME"},
		"no from":    {Spec{Kind: KindProjector, Name: Name{"a"}, Language: "go", Schema: schema()}, "a projector needs --from DOMAIN, one of customer, order-item"},
		"other from": {Spec{Kind: KindProjector, Name: Name{"a"}, Language: "go", Schema: schema(), From: "costumer"}, `--from: no .proto file describes the domain "costumer", expected customer or order-item; in its file there must be option (angzarr.domain) = "costumer";`},
		"no to":      {Spec{Kind: KindSaga, Name: Name{"a"}, Language: "go", Schema: schema(), From: "customer"}, "a saga needs --to DOMAIN, one of customer, order-item"},
		"no events":  {Spec{Kind: KindProjector, Name: Name{"a"}, Language: "go", Schema: mute, From: "customer"}, `customer.proto marks no event of the domain "customer"; expected a message with option (angzarr.kind) = KIND_EVENT;`},
		"no command": {Spec{Kind: KindSaga, Name: Name{"a"}, Language: "go", Schema: mute, From: "order-item", To: "order-item"}, `order_item.proto marks no command of the domain "order-item"; expected a message with option (angzarr.kind) = KIND_COMMAND;`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(test.spec); err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestWritingReplacesNothingUnasked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := []byte("mine\n")
	for _, name := range []string{"own.txt", "shared.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), mine, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files := []File{
		{Path: "a/new.sh", Content: []byte("#!/bin/sh\n"), Mode: 0o755}, {Path: "own.txt", Content: []byte("angz\n"), Mode: 0o644},
		{Path: "shared.txt", Content: []byte("angz\n"), Mode: 0o644, Shared: true},
	}
	actions := func(force bool) (all []Action) {
		steps, err := Compare(dir, files, force)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, steps); err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			all = append(all, step.Action)
		}
		return all
	}
	if diff := cmp.Diff([]Action{Create, Collide, Keep}, actions(false)); diff != "" {
		t.Error(diff)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "own.txt")); err != nil || !bytes.Equal(content, mine) {
		t.Errorf("own.txt is %q, %v", content, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a", "new.sh")); err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("the script is %v, %v", info, err)
	}
	steps, err := Compare(dir, files, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := steps[1].Diff(); !strings.Contains(diff, "-mine") || !strings.Contains(diff, "+angz") {
		t.Errorf("the diff is %q", diff)
	}
	if diff := cmp.Diff([]Action{Same, Change, Keep}, actions(true)); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAFolderInTheWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "main.go"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Compare(dir, []File{{Path: "main.go"}}, true)
	if err == nil || !strings.Contains(err.Error(), "there must be no file or folder of that name in the way") {
		t.Errorf("got %v", err)
	}
	if _, err := Compare(dir, []File{{Path: "main.go/x"}}, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	steps := []Step{{File: File{Path: "a.txt"}, Action: Create}, {File: File{Path: "b/c/d.txt"}, Action: Create}, {File: File{Path: "b/c/e.txt"}, Action: Keep}, {File: File{Path: "b/f.txt"}, Action: Create}}
	want := "shop/\n  a.txt\n  b/\n    c/\n      d.txt\n      e.txt  (keep)\n    f.txt\n"
	if diff := cmp.Diff(want, Tree("shop", steps)); diff != "" {
		t.Error(diff)
	}
}
