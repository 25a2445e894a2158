package protocheck_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/protocheck"
)

// repository makes a Git repository of the files and commits them.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	for _, words := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "first"}} {
		command := exec.Command("git", words...)
		command.Dir = dir
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", words, err, output)
		}
	}
	return dir
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		place := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRevisionIsRead(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{
		"shop/proto/customer.proto": "one\n", "shop/proto/a b/c.proto": "", "shop/proto/.hidden/x.proto": "x", "shop/proto/readme.md": "x", "other/x.proto": "x",
	})
	shop := filepath.Join(dir, "shop")
	write(t, shop, map[string]string{"proto/customer.proto": "two", "proto/new.proto": "new"})
	got, err := protocheck.ReadGit(t.Context(), shop, "HEAD", []string{"proto", "nothing"})
	want := protocheck.Source{
		"customer.proto": {Shown: "HEAD:shop/proto/customer.proto", Content: []byte("one\n")},
		"a b/c.proto":    {Shown: "HEAD:shop/proto/a b/c.proto", Content: []byte{}},
	}
	if err != nil || !cmp.Equal(want, got) {
		t.Error(err, cmp.Diff(want, got))
	}
	now, err := protocheck.Read(shop, []string{"proto"})
	if err != nil || len(now) != 3 || string(now["customer.proto"].Content) != "two" || now["customer.proto"].Shown != "proto/customer.proto" {
		t.Error(err, now)
	}
	if got, err := protocheck.ReadGit(t.Context(), dir, "HEAD", []string{"."}); err != nil || len(got) != 3 {
		t.Error(err, got)
	}
}

func TestRevisionThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"a.proto": ""})
	for _, revision := range []string{"nope", "--help", "HEAD~7", "HEAD:a.proto"} {
		var missing *protocheck.NoRevision
		if _, err := protocheck.ReadGit(t.Context(), dir, revision, []string{"."}); !errors.As(err, &missing) {
			t.Errorf("%s: %v", revision, err)
		}
	}
	if _, err := protocheck.ReadGit(t.Context(), t.TempDir(), "HEAD", []string{"."}); !errors.As(err, new(*protocheck.NoRevision)) {
		t.Error(err)
	}
}

func TestMistakesAreToldTogether(t *testing.T) {
	t.Parallel()
	_, err := protocheck.Compile(t.Context(), protocheck.Source{
		"a.proto": {Shown: "proto/a.proto", Content: []byte("syntax = \"proto3\";\nimport \"nowhere.proto\";\n")},
		"b.proto": {Shown: "proto/b.proto", Content: []byte("syntax = \"proto3\";\nmessage A {\n  strin a = 1;\n}\n")},
	})
	var broken *protocheck.Broken
	if !errors.As(err, &broken) || len(broken.Findings) != 2 {
		t.Fatal(err)
	}
	if got := err.Error(); !strings.Contains(got, "proto/a.proto:2:8: error: ") || !strings.Contains(got, "proto/b.proto:3:3: error: ") || !strings.Contains(got, "    3 |   strin a = 1;\n      |   ^") {
		t.Error(got)
	}
}

func TestNothingIsASchemaToo(t *testing.T) {
	t.Parallel()
	empty, err := protocheck.Compile(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if findings := protocheck.Compare(empty, compile(t, event("string a = 1;")), protocheck.Options{}); len(findings) > 0 {
		t.Error(findings)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(event("string a = 1;"), event("int32 a = 1;"))
	f.Add("syntax = \"proto2\"; message A { required group B = 1 { optional string c = 2; } }", "message A { oneof b { string c = 1; } }")
	f.Fuzz(func(t *testing.T, before, after string) {
		old, err := protocheck.Compile(t.Context(), protocheck.Source{"a.proto": {Shown: "a.proto", Content: []byte(before)}})
		if err != nil {
			return
		}
		now, err := protocheck.Compile(t.Context(), protocheck.Source{"a.proto": {Shown: "a.proto", Content: []byte(after)}})
		if err != nil {
			return
		}
		_ = fmt.Sprint(protocheck.Compare(old, now, protocheck.Options{}), protocheck.Lint(now, nil))
		if same := protocheck.Compare(old, old, protocheck.Options{All: true}); len(same) > 0 {
			t.Error(same)
		}
	})
}

func BenchmarkHundredFiles(b *testing.B) {
	source := protocheck.Source{}
	for i := range 100 {
		text := strings.Repeat("// A comment.\n", 10) + fmt.Sprintf("syntax = \"proto3\";\npackage p%d;\nimport \"angzarr/options.proto\";\noption (angzarr.domain) = \"p%d\";\n", i, i)
		for j := range 10 {
			text += fmt.Sprintf("message M%d { option (angzarr.kind) = KIND_EVENT; string a = 1; int32 b = 2; repeated string c = 3; map<string, int32> d = 4; }\n", j)
		}
		name := fmt.Sprintf("p%d.proto", i)
		source[name] = protocheck.File{Shown: name, Content: []byte(text)}
	}
	for b.Loop() {
		schema, err := protocheck.Compile(b.Context(), source)
		if err != nil {
			b.Fatal(err)
		}
		protocheck.Lint(schema, nil)
		if findings := protocheck.Compare(schema, schema, protocheck.Options{}); len(findings) > 0 {
			b.Fatal(findings)
		}
	}
}
