package watch

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// known returns a folder as if it had been reached by the patterns.
func known(t *testing.T, dir, path string, patterns ...string) *folder {
	t.Helper()
	rules, err := compile([]Rule{{Name: "order", Dir: dir, Patterns: patterns}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rules[0].patterns {
		p.rule = rules[0]
	}
	return &folder{path: path, patterns: rules[0].patterns}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for patterns, c := range map[string]struct{ matches, not string }{
		"**/*.py":                {"a.py x/a.py x/y/.a.py", "a.pyx x.py/a"},
		"*.py":                   {"a.py .py", "x/a.py"},
		"**":                     {"a x/a", "../a"},
		"src":                    {"src src/a src/x/a", "a srcs/a"},
		"src/":                   {"src/a", "srcs/a"},
		"./src/./x//a.py":        {"src/x/a.py", "src/a.py"},
		".":                      {"a x/a", "../a"},
		"../shared":              {"../shared/a", "shared/a"},
		"../shared/**/*.py":      {"../shared/a.py ../shared/x/a.py", "a.py"},
		"src/*/a.py":             {"src/x/a.py", "src/a.py src/x/y/a.py"},
		"src/**/x/*.py":          {"src/x/a.py src/y/z/x/a.py", "src/a.py"},
		"{a,b/c}/*.py":           {"a/x.py b/c/x.py", "b/x.py"},
		"{src,lib}/**/*.{py,js}": {"src/a.py lib/x/a.js", "a.py src/a.ts"},
		"[ab].py":                {"a.py b.py", "c.py"},
		`\[a\].py`:               {"[a].py", "a.py"},
		"**/*.py !**/*_test.py":  {"a.py x/b.py", "a_test.py x/b_test.py"},
		"src !src/gen src/gen/a": {"src/b src/gen/a", "src/gen/b"},
		"!a.py":                  {"", "a.py"},
		"/elsewhere/*.py":        {"/elsewhere/a.py", "a.py"},
		"**/.env":                {".env x/.env", "a.env"},
		"a?.py":                  {"ab.py", "a.py abc.py"},
	} {
		t.Run(patterns, func(t *testing.T) {
			t.Parallel()
			for _, list := range []struct {
				files string
				want  bool
			}{{c.matches, true}, {c.not, false}} {
				for _, name := range strings.Fields(list.files) {
					path := name
					if !filepath.IsAbs(path) {
						path = filepath.Join("/top/project", name)
					}
					f := known(t, "/top/project", filepath.Dir(path), strings.Fields(patterns)...)
					if got := f.covers(filepath.Base(path)); got != list.want {
						t.Errorf("%s: %v", name, got)
					}
				}
			}
		})
	}
}

func TestMistakesInRulesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New([]Rule{
		{Name: "a", Dir: "relative"},
		{Name: "b", Dir: "/b", Patterns: []string{"ok/**", "a[", "", "!", "*/../x", "{a", "x\x00y"}},
		{Name: "b", Dir: "/b"},
		{Dir: "/c"},
	}, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		`watch files: a: the folder "relative" is not an absolute path`,
		`b: the pattern "x\x00y" has a zero byte in it`,
		`b: the pattern "{a" is not a glob: a [ or { has no end, or a \ has nothing after it`,
		`b: the pattern "*/../x" has .. after a wildcard: write what lies outside as a pattern of its own`,
		`b: the pattern "!" is empty: write the name of a file or folder, or a glob such as **/*.py`,
		`b: the pattern "" is empty: write the name of a file or folder, or a glob such as **/*.py`,
		`b: the pattern "a[" is not a glob: a [ or { has no end, or a \ has nothing after it`,
		`the name "b" is empty or taken twice`,
		`the name "" is empty or taken twice`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// Whatever a pattern matches has to lie in a folder that is reached.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"**/*.py", "a/b/c.py"}, {"{a,b/c}/*", "b/c/d"}, {"!src/**", "src/x"}, {"../x", "../x/y"}, {`\[a\]`, "[a]"}, {"a{b,**}/c", "a/x/c"},
		{"[a-/]b/*", "a/b/c"}, {"/", "a"}, {"a/**/b/**", "a/b"}, {"*", ""}, {"{,a}/b", "b"}, {"**/**", "x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := newPattern("/top/project", text)
		if err != nil {
			return
		}
		full := filepath.Join("/top/project", filepath.FromSlash(path))
		dir, name := filepath.Dir(full), filepath.Base(full)
		p.takesAll(dir)
		p.shown(full)
		p.reaches(dir)
		if !p.matches(dir, name) {
			return
		}
		for above := dir; above != filepath.Dir(above); above = filepath.Dir(above) {
			if !p.reaches(above) {
				t.Errorf("%q matches %q, but does not reach %q", text, full, above)
			}
		}
	})
}

func TestIgnoredNames(t *testing.T) {
	t.Parallel()
	i := newIgnoring(nil)
	beside := func(there ...string) func(string) bool {
		return func(pattern string) bool {
			return slices.ContainsFunc(there, func(name string) bool { return matchesAny([]string{pattern}, name) })
		}
	}
	for _, c := range []struct {
		name   string
		beside string
		want   bool
	}{
		{".git", "", true}, {"node_modules", "", true}, {"__pycache__", "", true}, {"shop.egg-info", "", true},
		{"src", "Cargo.toml package.json", false},
		{"target", "", false}, {"target", "Cargo.toml", true}, {"target", "pom.xml", true},
		{"build", "main.go", false}, {"build", "build.gradle.kts", true}, {"build", "pyproject.toml", true}, {"build", "CMakeLists.txt", true},
		{"cmake-build-debug", "CMakeLists.txt", true}, {"dist", "package.json", true}, {"dist", "", false},
		{"bin", "Cargo.toml", false}, {"bin", "Shop.csproj", true}, {"obj", "Shop.csproj", true},
	} {
		if got := i.folder("/x/"+c.name, c.name, beside(strings.Fields(c.beside)...)); got != c.want {
			t.Errorf("%s beside %q: %v", c.name, c.beside, got)
		}
	}
	for name, want := range map[string]bool{".a.py.swp": true, "a.py~": true, "#a.py#": true, ".#a.py": true, "a.pyc": true, "a.py": false, ".env": false, "4913": true} {
		if ignoredFile(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
