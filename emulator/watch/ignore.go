package watch

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ignoredFolders hold nothing that a person edits, wherever they lie.
var ignoredFolders = names(
	".git .hg .svn .jj", // version control
	".angz",
	"node_modules .pnpm-store bower_components",           // packages of JavaScript
	".venv .tox .nox __pypackages__ .eggs *.egg-info",     // packages of Python
	"__pycache__ .mypy_cache .pytest_cache .ruff_cache",   // caches of Python
	".next .nuxt .svelte-kit .turbo .parcel-cache .cache", // outputs and caches of JavaScript
	".gradle .mvn-cache .bsp .metals .kotlin",             // caches of Java's tools
	".ccls-cache .clangd",                                 // caches of C++'s tools
	".idea .vscode .vs .fleet .settings",                  // editors
	".direnv .terraform .nyc_output",
)

// outputFolders hold what tools make, but only beside the files by which such a
// tool is recognised: "build" and "target" are good names for sources, too.
var outputFolders = []struct{ folders, beside []string }{
	{names("target"), names("Cargo.toml pom.xml")},
	{names("build out bin"), names("build.gradle build.gradle.kts settings.gradle settings.gradle.kts .classpath")},
	{names("build dist"), names("pyproject.toml setup.py setup.cfg")},
	{names("build dist out coverage"), names("package.json")},
	{names("build out cmake-build-*"), names("CMakeLists.txt")},
	{names("bin obj"), names("*.csproj *.fsproj *.vbproj")},
	{names("bazel-*"), names("MODULE.bazel WORKSPACE WORKSPACE.bazel")},
}

// markers are files by which a folder says that it holds what a tool has made: a
// cache (Cargo, pytest, Mypy, Ruff and uv write the tag), a virtual environment
// of Python, a build of CMake.
var markers = names("CACHEDIR.TAG pyvenv.cfg CMakeCache.txt")

// ignoredFiles are those that editors and interpreters write beside the files
// of people.
var ignoredFiles = names(
	".*.sw? .*.sw?? 4913 *~ .#* #*#", // vim and Emacs
	"*___jb_tmp___ *___jb_old___",    // JetBrains
	".goutputstream-* .*.kate-swp *.un~ .~lock.*#",
	"*.pyc *.pyo .DS_Store Thumbs.db",
)

func names(lists ...string) []string { return strings.Fields(strings.Join(lists, " ")) }

// matchesAny reports whether a name is one of the names, which may be globs.
func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return pattern == name || strings.ContainsAny(pattern, "*?") && doublestar.MatchUnvalidated(pattern, name)
	})
}

// ignoring says which folders and files are never looked at.
type ignoring struct {
	names []string // of folders, may be globs
	paths []string // of folders
}

// newIgnoring adds a person's list: absolute paths, and names of folders.
func newIgnoring(extra []string) *ignoring {
	i := &ignoring{names: slices.Clone(ignoredFolders)}
	for _, each := range extra {
		if filepath.IsAbs(each) {
			i.paths = append(i.paths, realPath(filepath.Clean(each)))
			continue
		}
		i.names = append(i.names, strings.Trim(filepath.ToSlash(each), "/"))
	}
	return i
}

// folder reports whether a folder is ignored, given what lies beside it.
func (i *ignoring) folder(path, name string, beside func(name string) bool) bool {
	if matchesAny(i.names, name) || slices.Contains(i.paths, path) {
		return true
	}
	return slices.ContainsFunc(outputFolders, func(output struct{ folders, beside []string }) bool {
		return matchesAny(output.folders, name) && slices.ContainsFunc(output.beside, beside)
	})
}

func isMarker(name string) bool { return slices.Contains(markers, name) }

func ignoredFile(name string) bool { return matchesAny(ignoredFiles, name) }
