package generate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/scaffold"
)

// project writes .proto files and, for Go, what angz new writes.
func project(t testing.TB, protos map[string]string, targets map[string]string) Project {
	t.Helper()
	dir := t.TempDir()
	for name, content := range protos {
		place := filepath.Join(dir, "proto", name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if targets["go"] != "" {
		plan, err := scaffold.New(scaffold.Spec{Kind: scaffold.KindDomain, Project: scaffold.Name{"shop"}, Name: scaffold.Name{"customer"}, Language: "go"})
		if err != nil {
			t.Fatal(err)
		}
		steps, err := scaffold.Compare(dir, plan.Files, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := scaffold.Write(dir, steps); err != nil {
			t.Fatal(err)
		}
	}
	return Project{Dir: dir, Name: scaffold.Name{"shop"}, Protos: []string{"proto"}, Targets: targets}
}

func TestGoIsGeneratedOnceAndThenLeftAlone(t *testing.T) {
	t.Parallel()
	p := project(t, nil, map[string]string{"go": "go"})
	first, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Changed()) == 0 {
		t.Fatal("nothing was generated")
	}
	rules := filepath.Join(p.Dir, "go/gen/customerpb/customer_rules.go")
	before, err := os.Stat(rules)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if changed := second.Changed(); len(changed) > 0 {
		t.Errorf("changed again: %v", changed)
	}
	if after, err := os.Stat(rules); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("%s was written again: %v", rules, err)
	}
}

func TestWhatIsNotGeneratedAnyMoreGoes(t *testing.T) {
	t.Parallel()
	p := project(t, map[string]string{"extra.proto": "syntax = \"proto3\";\npackage extra;\nmessage A {}\n"}, map[string]string{"go": "go"})
	if _, err := Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(p.Dir, "go/gen/mine.go")
	if err := errors.Join(os.WriteFile(own, []byte("package gen\n"), 0o644), os.Remove(filepath.Join(p.Dir, "proto/extra.proto"))); err != nil {
		t.Fatal(err)
	}
	result, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, step := range result.Changed() {
		changed = append(changed, string(step.Action)+" "+step.File.Path)
	}
	if diff := cmp.Diff([]string{"remove go/gen/extrapb/extra.pb.go"}, changed); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(own); err != nil {
		t.Errorf("somebody's own file is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "go/gen/extrapb/extra.pb.go")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old code is still there: %v", err)
	}
}

func TestPlanWritesNothing(t *testing.T) {
	t.Parallel()
	p := project(t, nil, map[string]string{"go": "go"})
	result, err := Plan(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Changed()) == 0 {
		t.Error("nothing to do")
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "go/gen")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("go/gen is there: %v", err)
	}
}

// TestFaults sees mistakes with their places, all at once.
func TestFaults(t *testing.T) {
	t.Parallel()
	const options = "import \"angzarr/options.proto\";\n"
	tests := map[string]struct {
		protos map[string]string
		want   string
	}{
		"two files": {
			map[string]string{"a.proto": "syntax = \"proto3\";\nmessage A {\n  strin name = 1;\n}\n", "b.proto": "syntax = \"proto3\";\nimport \"missing.proto\";\n"},
			"proto/a.proto:3:3: field A.name: unknown type strin\n    3 |   strin name = 1;\n      |   ^\nproto/b.proto:2:8: there is no missing.proto in proto\n    2 | import \"missing.proto\";\n      |        ^",
		},
		"syntax": {
			map[string]string{"a.proto": "syntax = \"proto3\";\nmessage A {\n"},
			"proto/a.proto:3:1: syntax error: the file ends where more is expected",
		},
		"a kind without a domain": {
			map[string]string{"a.proto": "syntax = \"proto3\";\n" + options + "message Do {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n"},
			"proto/a.proto:3:1: Do is marked KIND_COMMAND, but its file belongs to no domain; expected option (angzarr.domain) = \"NAME\"; at the top of the file\n    3 | message Do {\n      | ^",
		},
		"two states": {
			map[string]string{"a.proto": "syntax = \"proto3\";\n" + options + "option (angzarr.domain) = \"a\";\nmessage A { option (angzarr.kind) = KIND_STATE; }\nmessage B { option (angzarr.kind) = KIND_STATE; }\n"},
			"proto/a.proto:5:1: B is marked KIND_STATE, and so is A; expected one state in the domain \"a\"\n    5 | message B { option (angzarr.kind) = KIND_STATE; }\n      | ^",
		},
		"one domain twice": {
			map[string]string{"a.proto": "syntax = \"proto3\";\n" + options + "option (angzarr.domain) = \"a\";\n", "b.proto": "syntax = \"proto3\";\n" + options + "option (angzarr.domain) = \"a\";\n"},
			"proto/b.proto: the domain \"a\" is described in a.proto already; expected all its messages in one file",
		},
		"a name that functions cannot have": {
			map[string]string{"a.proto": "syntax = \"proto3\";\n" + options + "option (angzarr.domain) = \"a\";\nmessage create_a { option (angzarr.kind) = KIND_COMMAND; }\n"},
			"proto/a.proto:4:1: create_a is marked KIND_COMMAND, and functions are named after it; expected words that begin with capitals, as in CreateA\n    4 | message create_a { option (angzarr.kind) = KIND_COMMAND; }\n      | ^",
		},
		"no state": {
			map[string]string{"a.proto": "syntax = \"proto3\";\n" + options + "option (angzarr.domain) = \"a\";\nmessage DoA { option (angzarr.kind) = KIND_COMMAND; }\n"},
			"proto/a.proto: the domain \"a\" has no state; expected a message with option (angzarr.kind) = KIND_STATE;",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Plan(t.Context(), project(t, test.protos, map[string]string{"go": "go"}))
			faults := (*Faults)(nil)
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			if diff := cmp.Diff(test.want, faults.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMissingTool(t *testing.T) {
	t.Parallel()
	err := failed([]string{"go", "tool"}, "", &os.PathError{Op: "exec", Path: "go", Err: os.ErrNotExist})
	if err == nil || strings.Contains(err.Error(), "not installed") {
		t.Errorf("another error is taken for a missing tool: %v", err)
	}
	j := &job{project: Project{Dir: t.TempDir()}}
	_, err = j.run(context.Background(), nil, "no-such-tool-anywhere", "x")
	if missing := (*MissingTool)(nil); !errors.As(err, &missing) || !strings.Contains(err.Error(), "no-such-tool-anywhere is not installed; install it, and see that it is in your PATH") {
		t.Errorf("got %v", err)
	}
}

// FuzzCompile has any text as a .proto file.
func FuzzCompile(f *testing.F) {
	f.Add("syntax = \"proto3\";\nimport \"angzarr/options.proto\";\noption (angzarr.domain) = \"a\";\nmessage A { option (angzarr.kind) = KIND_EVENT; string name = 1; }\n")
	f.Add("syntax = \"proto2\"; message A { required group B = 1 { optional int32 c = 2; } extensions 4 to max; }")
	f.Add("edition = \"2023\"; message A { oneof x { int32 y = 1; map<string, A> z = 2; } }")
	dir := f.TempDir()
	place := filepath.Join(dir, "a.proto")
	f.Fuzz(func(t *testing.T, content string) {
		if err := os.WriteFile(place, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Describe(t.Context(), Project{Dir: dir, Protos: []string{"."}})
		if faults := (*Faults)(nil); err != nil && (!errors.As(err, &faults) || len(faults.Faults) == 0 || faults.Faults[0].Message == "") {
			t.Errorf("%q: %v", content, err)
		}
	})
}

func BenchmarkTenGoFiles(b *testing.B) {
	protos := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		protos[name+".proto"] = "syntax = \"proto3\";\npackage " + name + ";\nmessage A { string name = 1; A next = 2; }\n"
	}
	p := project(b, protos, map[string]string{"go": "go"})
	for b.Loop() {
		if _, err := Run(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}
