package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFoldersComeAndGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files, pattern string
		do             func(w *world)
		changed        string
	}{
		"a new folder with a file": {"a.py", "**/*.py", func(w *world) { w.write("new/deep/down/b.py", "b") }, "new/deep/down/b.py"},
		"a folder moved in": {"a.py", "src/**/*.py", func(w *world) {
			w.write("elsewhere/deep/b.py", "b")
			w.must(os.Mkdir(w.path("src"), 0o755))
			w.rename("elsewhere", "src/moved")
		}, "src/moved/deep/b.py"},
		"a folder moved out":  {"src/deep/a.py", "src/**/*.py", func(w *world) { w.rename("src/deep", "gone") }, "src/deep/a.py"},
		"a folder renamed":    {"src/one/a.py", "**/*.py", func(w *world) { w.rename("src/one", "src/two") }, "src/one/a.py src/two/a.py"},
		"a folder deleted":    {"src/deep/a.py", "**/*.py", func(w *world) { w.remove("src") }, "src/deep/a.py"},
		"the fixed part gone": {"src/deep/a.py", "src/deep/*.py", func(w *world) { w.remove("src") }, "src/deep/a.py"},
		"the fixed part made": {"a.txt", "src/deep/*.py", func(w *world) { w.write("src/deep/a.py", "a") }, "src/deep/a.py"},
		"a file alone":        {"a.py", "a.py", func(w *world) { w.write("a.py", "new") }, "a.py"},
		"a file that is new":  {"b.py", "conf/a.py", func(w *world) { w.write("conf/a.py", "new") }, "conf/a.py"},
		"a folder alone":      {"src/deep/a.txt", "src", func(w *world) { w.write("src/deep/b.txt", "new") }, "src/deep/b.txt"},
		"a file in place of a folder": {"src/a/b.py", "src", func(w *world) {
			w.remove("src/a")
			w.write("src/a", "a")
		}, "src/a/b.py src/a"},
		"above": {"shared/a.py", "sub/../../" + "%s/shared/**", func(w *world) { w.write("shared/a.py", "new") }, "shared/a.py"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := emptyWorld(t, c.files+" last.end")
			w.watch(Rule{Name: "order", Dir: w.dir, Patterns: []string{strings.Replace(c.pattern, "%s", filepath.Base(w.dir), 1), "last.end"}})
			c.do(w)
			w.expect(strings.Fields(c.changed)...)
			w.write("last.end", "new")
			w.expect("last.end")
			// Whatever happened, changes are seen afterwards.
			for _, name := range strings.Fields(c.changed) {
				if info, err := os.Stat(w.path(name)); err == nil && !info.IsDir() {
					w.write(name, "newer")
					w.expect(name)
				}
			}
		})
	}
}

func TestWhatIsDeletedAndComesBackIsWatched(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"project", "project/src", "project/src/deep"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			w := emptyWorld(t, "project/src/deep/a.py")
			w.watch(Rule{Name: "order", Dir: w.path("project"), Patterns: []string{"src/**/*.py"}})
			for i := range 5 {
				w.remove(gone)
				w.expect("project/src/deep/a.py")
				w.write("project/src/deep/a.py", fmt.Sprint(i))
				w.expect("project/src/deep/a.py")
			}
			// Renamed away and replaced, as tools do with what they unpack.
			w.write("fresh/src/deep/a.py", "another")
			w.rename("project", "old")
			w.rename("fresh", "project")
			w.expect("project/src/deep/a.py")
			w.write("project/src/deep/a.py", "last")
			w.expect("project/src/deep/a.py")
		})
	}
}

func TestGitChangesTheBranch(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	w := emptyWorld(t, "same.py changed.py old/deep/gone.py README")
	git := func(words ...string) {
		t.Helper()
		command := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"}, words...)...)
		command.Dir, command.Env = w.dir, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", words, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-qm", "one")
	git("checkout", "-qb", "other")
	w.remove("old")
	w.write("changed.py", "other")
	w.write("new/deep/added.py", "added")
	git("add", ".")
	git("commit", "-qm", "two")
	git("checkout", "-q", "main")
	w.watch(Rule{Name: "order", Dir: w.dir, Patterns: []string{"**/*.py"}})
	w.settle()
	git("checkout", "-q", "other")
	w.expect("changed.py", "old/deep/gone.py", "new/deep/added.py")
	git("checkout", "-q", "main")
	w.expect("changed.py", "old/deep/gone.py", "new/deep/added.py")
	w.write("old/deep/gone.py", "there again")
	w.expect("old/deep/gone.py")
}

func TestLinkedFolders(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "real/src/a.py shared/b.py")
	w.must(os.Symlink(w.path("real"), w.path("link")), os.Symlink("../shared", w.path("real/shared")))
	w.watch(
		Rule{Name: "by the link", Dir: w.path("link"), Patterns: []string{"**/*.py"}},
		Rule{Name: "by the folder", Dir: w.path("real"), Patterns: []string{"**/*.py", "shared/*.py"}},
	)
	w.write("real/src/a.py", "new")
	got := []string{w.next().Files[0], w.next().Files[0]}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"link/src/a.py", "real/src/a.py"}, got); diff != "" {
		t.Error(diff)
	}
	w.write("link/src/a.py", "newer")
	got = []string{w.next().Files[0], w.next().Files[0]}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"link/src/a.py", "real/src/a.py"}, got); diff != "" {
		t.Error(diff)
	}
	w.write("shared/b.py", "new")
	if change := w.next(); change.Name != "by the folder" || change.Files[0] != "real/shared/b.py" {
		t.Errorf("%+v", change)
	}
}

func TestOnlyWhatCanMatchIsWatched(t *testing.T) {
	t.Parallel()
	files := `a/src/x.py a/docs/x.md b/src/deep/x.py c/other/x.py
		node_modules/p/x.py .git/objects/x.py .angz/bin/x.py .venv/lib/x.py env/pyvenv.cfg env/lib/x.py
		rust/Cargo.toml rust/target/x.py rust/src/target/x.py cache/CACHEDIR.TAG cache/x.py
		web/package.json web/dist/x.py web/build/x.py build/x.py dist/x.py`
	for name, c := range map[string]struct {
		patterns string
		want     string
	}{
		"everything": {"**/*.py", `. a a/docs a/src b b/src b/src/deep build c c/other dist rust rust/src rust/src/target web`},
		"parts":      {"*/src/*.py", "a a/src b b/src build c dist rust rust/src web ."},
		"fixed":      {"a/src/*.py b/src/**", ". a a/src b b/src b/src/deep"},
		"taken away": {"**/*.py !b !c/** !rust/src", ". a a/docs a/src build dist rust web"},
		"asked for":  {"node_modules/p/*.py .venv/**", ". .venv .venv/lib node_modules node_modules/p"},
		"a file":     {"a/src/x.py", ". a a/src"},
		"missing":    {"a/src/none/*.py none/x/**", ". a a/src"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files, strings.Fields(c.patterns)...)
			want := strings.Fields(c.want)
			got := w.watched()
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatTurnsOutToBeACacheIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a.py", "**/*.py")
	w.write("env/lib/deep/x.py", "x")
	w.write("env/pyvenv.cfg", "home = /usr")
	w.until("env is forgotten", func() bool {
		return !slices.Contains(w.watched(), "env/lib/deep") && !slices.Contains(w.watched(), "env")
	})
	for len(w.changes) > 0 {
		<-w.changes // it may have been told before
	}
	w.write("env/lib/deep/x.py", "new")
	w.write("a.py", "new")
	w.expect("a.py")
}

func TestMoreIsIgnoredOnDemand(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "a.py gen/x.py data-1/x.py deep/big/x.py")
	w.watchWith(Options{Ignore: []string{"gen", "data-*", w.path("deep/big")}}, Rule{Name: "order", Dir: w.dir, Patterns: []string{"**/*.py"}})
	got := w.watched()
	slices.Sort(got)
	if diff := cmp.Diff([]string{".", "deep"}, got); diff != "" {
		t.Error(diff)
	}
}
