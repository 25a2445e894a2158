package project

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// sources are the files of a service that is written in a language and about
// whose folder nothing else is known. What languages build is never among them.
var sources = map[string][]string{
	"Go":     {"**/*.go", "!**/*_test.go", "go.mod", "go.sum"},
	"Python": {"**/*.py", "!**/test_*.py", "!**/*_test.py", "!**/conftest.py", pythonProject},
	"Rust": {"**/*.rs", "!**/tests/**", "!**/benches/**", "!target", "**/Cargo.toml", "Cargo.lock", "rust-toolchain*",
		".cargo/config.toml", "**/*.proto"},
	"Java": {"**/*.{java,kt,kts,scala,groovy}", "**/src/main/resources/**", "!**/src/test/**", "!{target,build,out,bin}/**", "!*/{target,build,out,bin}/**",
		"**/pom.xml", "**/*.gradle", "**/gradle.properties", "gradle/**/*.{toml,properties}", "**/*.proto"},
	"TypeScript": {"**/*.{ts,tsx,mts,cts,js,mjs,cjs,json}", "!**/*.{test,spec}.*", "!**/__tests__/**", "!{dist,build,out,coverage}/**", "!**/*.tsbuildinfo", "**/*.proto"},
	"JavaScript": {"**/*.{js,mjs,cjs,jsx,json}", "!**/*.{test,spec}.*", "!**/__tests__/**", "!{build,out,coverage}/**", "**/*.proto"},
	"C++": {"**/*.{c,cc,cpp,cxx,c++,h,hh,hpp,hxx,inl,ipp,tpp}", "**/CMakeLists.txt", "**/*.cmake", "CMakePresets.json", "**/meson.build",
		"**/{BUILD,MODULE}.bazel", "conanfile.*", "vcpkg.json", "!{build,out}/**", "!{cmake-build-*,bazel-*}/**", "**/*.proto"},
}

// Watched returns the files whose changes restart a service, as patterns for the
// package watch seen from the service's folder. It reads the sources, so that of
// services that share a folder or a module only those restart that are made of
// what has changed; of a broken source it takes what can be read. It is called
// again when one of the files has changed, since they may use others then.
//
// The run and build commands tell where to begin. The files that they name
// count too, such as the script that builds, and what that script reads: .proto
// files when it generates code. What a command makes never counts.
func Watched(language, dir, run, build string) []string {
	var patterns []string
	switch language {
	case "Go":
		patterns = goSources(dir, run, build)
	case "Python":
		patterns = pythonSources(dir, run)
	case "Rust":
		patterns = slices.Concat(sources["Rust"], rustNeighbours(dir))
	default:
		patterns = slices.Clone(sources[language])
	}
	if patterns == nil {
		patterns = slices.Clone(sources[language])
	}
	patterns = append(patterns, namedFiles(dir, run, build)...)
	if generates(dir, build) && !slices.Contains(patterns, "**/*.proto") {
		patterns = append(patterns, "**/*.proto")
	}
	return unique(patterns)
}

func unique(patterns []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(patterns, func(pattern string) bool {
		if seen[pattern] {
			return true
		}
		seen[pattern] = true
		return false
	})
}

// words splits a command as far as it takes to find the files in it.
func words(command string) []string {
	return strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()<>'\"`", r) })
}

// scripts are the endings of files that people write and commands run.
var scripts = []string{".sh", ".bash", ".zsh", ".fish", ".ps1", ".bat", ".cmd", ".py", ".rb", ".js", ".mjs", ".cjs", ".ts", ".mts", ".toml", ".yaml", ".yml", ".json", ".mk", ".cmake"}

// makefiles are read by programs that are not told their names.
var makefiles = map[string][]string{
	"make": {"Makefile", "GNUmakefile", "makefile"}, "just": {"justfile", "Justfile"}, "task": {"Taskfile.yml", "Taskfile.yaml"},
	"buf": {"buf.yaml", "buf.gen.yaml"},
}

// namedFiles returns the files of people's that the commands name.
func namedFiles(dir, run, build string) []string {
	var named []string
	for _, command := range []string{build, run} {
		for i, word := range words(command) {
			for _, name := range makefiles[filepath.Base(word)] {
				if isFile(dir, name) {
					named = append(named, name)
				}
			}
			// The program that is run without a build was built by somebody else.
			is := slices.Contains(scripts, filepath.Ext(word)) || build == "" && (i == 0 || filepath.Ext(word) == ".jar") || command == build && i == 0
			if is && isFile(dir, word) && !inTools(word) && !(build != "" && outputs.MatchString(filepath.ToSlash(filepath.Clean(word)))) {
				named = append(named, escape(filepath.ToSlash(filepath.Clean(word))))
			}
		}
	}
	return named
}

// outputs is where builds put what they make.
var outputs = regexp.MustCompile(`(^|/)(dist|build|out|target|bin|obj)/`)

// toolFolders are where programs lie that no person writes.
var toolFolders = regexp.MustCompile(`(^|/)(\.venv|venv|node_modules|\.angz)/|/bin/(python|node)[0-9.]*$|^/(usr|bin|opt)/`)

func inTools(word string) bool { return toolFolders.MatchString(filepath.ToSlash(word)) }

func isFile(dir, name string) bool {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

var generators = regexp.MustCompile(`\bprotoc|\bbuf\b|grpc_tools|\bgenerate\b|\.proto\b`)

// generates reports whether a build makes code of .proto files, by what it or a
// file that it names says.
func generates(dir, build string) bool {
	if generators.MatchString(build) {
		return true
	}
	return slices.ContainsFunc(namedFiles(dir, "", build), func(name string) bool {
		text, err := os.ReadFile(filepath.Join(dir, name))
		return err == nil && len(text) < 1<<20 && generators.Match(text)
	})
}

// escape makes a pattern that matches a name as it is.
func escape(name string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`, `\`, `\\`).Replace(name)
}

// seenFrom returns a path with / as it is written from a folder, as a pattern.
func seenFrom(dir, path string) string {
	relative, err := filepath.Rel(dir, path)
	if err != nil { // on another drive
		relative = path
	}
	pattern := escape(filepath.ToSlash(relative))
	if strings.HasPrefix(pattern, "!") {
		pattern = "./" + pattern
	}
	return pattern
}

var pathDependency = regexp.MustCompile(`(?m)\bpath\s*=\s*"([^"\n]+)"`)

// rustNeighbours returns the sources of the crates outside a crate's folder that
// it depends on by their path, and of those that they depend on, and the
// workspace's files.
func rustNeighbours(dir string) []string {
	var patterns []string
	seen := map[string]bool{dir: true}
	for todo := []string{dir}; len(todo) > 0; todo = todo[1:] {
		manifest, err := os.ReadFile(filepath.Join(todo[0], "Cargo.toml"))
		if err != nil {
			continue
		}
		for _, match := range pathDependency.FindAllSubmatch(manifest, -1) {
			crate := filepath.Join(todo[0], filepath.FromSlash(string(match[1])))
			if seen[crate] || strings.HasPrefix(crate, dir+string(filepath.Separator)) || !isFile(crate, "Cargo.toml") {
				continue
			}
			seen[crate] = true
			todo = append(todo, crate)
			from := seenFrom(dir, crate)
			patterns = append(patterns, from+"/**/*.{rs,proto}", from+"/Cargo.toml", "!"+from+"/{target,tests,benches}/**")
		}
	}
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		if isFile(above, "Cargo.lock") {
			return append(patterns, seenFrom(dir, filepath.Join(above, "Cargo.toml")), seenFrom(dir, filepath.Join(above, "Cargo.lock")))
		}
	}
	return patterns
}
