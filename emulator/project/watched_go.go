package project

import (
	"bytes"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

// besidesGo are the files that the compiler reads beside those in Go.
const besidesGo = "{go,c,cc,cpp,cxx,h,hh,hpp,s,S,syso}"

// goSources returns the folders of the packages that a command builds, as far as
// they are the person's own: the packages of the module, of the modules that a
// workspace or a replacement puts in their place on this machine, and what they
// embed. It is nil where it cannot be told which package is built.
func goSources(dir, run, build string) []string {
	modules := goModules(dir)
	packages := goPackages(dir, modules, run, build)
	if len(packages) == 0 || len(modules) == 0 {
		return nil
	}
	var patterns []string
	for _, module := range modules {
		patterns = append(patterns, seenFrom(dir, filepath.Join(module.dir, "go.mod")), seenFrom(dir, filepath.Join(module.dir, "go.sum")))
	}
	folders := map[string]bool{}
	for todo := packages; len(todo) > 0; todo = todo[1:] {
		folder := todo[0]
		if folders[folder] {
			continue
		}
		folders[folder] = true
		imports, embedded := goUses(folder)
		for _, path := range imports {
			if found, ok := modules.folder(path); ok {
				todo = append(todo, found)
			}
		}
		for _, pattern := range embedded {
			patterns = append(patterns, join(seenFrom(dir, folder), pattern))
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		patterns = append(patterns, join(seenFrom(dir, folder), "*."+besidesGo))
	}
	for _, module := range modules {
		patterns = append(patterns, "!"+join(seenFrom(dir, module.dir), "**/*_test.go"))
	}
	return patterns
}

func join(folder, pattern string) string {
	if folder == "." {
		return pattern
	}
	return folder + "/" + pattern
}

// goModule is a module whose sources lie on this machine outside Go's cache.
type goModule struct{ path, dir string }

type goModuleList []goModule

// folder returns where the package of an import path lies.
func (l goModuleList) folder(path string) (string, bool) {
	best := goModule{}
	for _, module := range l {
		if (path == module.path || strings.HasPrefix(path, module.path+"/")) && len(module.path) > len(best.path) {
			best = module
		}
	}
	return filepath.Join(best.dir, filepath.FromSlash(strings.TrimPrefix(path, best.path))), best.path != ""
}

// goModules returns the module of a folder and its neighbours.
func goModules(dir string) goModuleList {
	var list goModuleList
	seen := map[string]bool{}
	var add func(dir string)
	add = func(dir string) {
		file := readMod(dir)
		if file == nil || file.Module == nil || seen[dir] {
			return
		}
		seen[dir] = true
		list = append(list, goModule{file.Module.Mod.Path, dir})
		for _, replaced := range file.Replace {
			if target := filepath.FromSlash(replaced.New.Path); replaced.New.Version == "" {
				if !filepath.IsAbs(target) {
					target = filepath.Join(dir, target)
				}
				if !seen[target] {
					list = append(list, goModule{replaced.Old.Path, target})
				}
				add(target)
			}
		}
	}
	add(above(dir, "go.mod"))
	if workspace := above(dir, "go.work"); workspace != "" {
		text, _ := os.ReadFile(filepath.Join(workspace, "go.work")) // an empty one uses nothing
		if file, err := modfile.ParseWork("go.work", text, nil); err == nil {
			for _, use := range file.Use {
				target := filepath.FromSlash(use.Path)
				if !filepath.IsAbs(target) {
					target = filepath.Join(workspace, target)
				}
				add(target)
			}
		}
	}
	return list
}

func readMod(dir string) *modfile.File {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if dir == "" || err != nil {
		return nil
	}
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil { // what newer versions of Go know is no reason to give up
		file, _ = modfile.ParseLax("go.mod", text, nil)
	}
	return file
}

// above returns the nearest folder at or above one in which a file lies.
func above(dir, name string) string {
	for {
		if isFile(dir, name) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// goPackages returns the folders of the packages that the commands build.
func goPackages(dir string, modules goModuleList, commands ...string) []string {
	var folders []string
	for _, command := range commands {
		found, all := goPackagesOf(dir, words(command), modules)
		if all {
			return nil
		}
		folders = append(folders, found...)
	}
	if len(folders) == 0 && isMain(dir) {
		return []string{dir}
	}
	return folders
}

// goPackagesOf returns the folders of the packages in a command, or that it builds
// whatever there is.
func goPackagesOf(dir string, words []string, modules goModuleList) (folders []string, all bool) {
	from, verb, flag := dir, "", ""
	for _, word := range words {
		value := flag
		flag = ""
		switch {
		case value == "-C":
			from = filepath.Join(dir, word)
		case value != "":
		case filepath.Base(word) == "go":
			from, verb = dir, "go"
		case slices.Contains(goFlags, word) && verb != "":
			flag = word
		case strings.HasPrefix(word, "-"):
		case verb == "go":
			verb = word
		case verb != "build" && verb != "run" && verb != "install":
		case strings.HasSuffix(word, "..."):
			return nil, true
		default:
			if folder, ok := goPackage(from, word, modules); ok {
				folders = append(folders, folder)
			}
			if verb == "run" {
				verb = "" // the program's own arguments follow
			}
		}
	}
	return folders, false
}

// goFlags have their value in the next word.
var goFlags = []string{"-C", "-o", "-p", "-asmflags", "-buildmode", "-compiler", "-gccgoflags", "-gcflags", "-ldflags", "-mod", "-modfile", "-overlay", "-pgo", "-pkgdir", "-tags", "-toolexec", "-exec", "-covermode", "-coverpkg"}

func goPackage(dir, word string, modules goModuleList) (string, bool) {
	if strings.HasSuffix(word, ".go") {
		return filepath.Dir(filepath.Join(dir, word)), true
	}
	if word == "." || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../") {
		return filepath.Join(dir, word), true
	}
	if filepath.IsAbs(word) {
		return word, isFolder(word)
	}
	return modules.folder(word)
}

// isMain reports whether a folder holds a program.
func isMain(dir string) bool {
	return slices.ContainsFunc(goFiles(dir), func(name string) bool {
		file, _ := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly)
		return file != nil && file.Name != nil && file.Name.Name == "main"
	})
}

// goFiles lists the sources of a package for all systems and tags.
func goFiles(dir string) []string {
	entries, _ := os.ReadDir(dir) // a package that is missing has none
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && name[0] != '_' && name[0] != '.' {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}

// goUses returns what a package imports and embeds. Of a file that cannot be
// parsed it takes what comes before the mistake.
func goUses(dir string) (imports, embedded []string) {
	files := token.NewFileSet()
	for _, name := range goFiles(dir) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // deleted meanwhile
		}
		if file, _ := parser.ParseFile(files, name, text, parser.ImportsOnly); file != nil {
			for _, each := range file.Imports {
				if path, err := strconv.Unquote(each.Path.Value); err == nil {
					imports = append(imports, path)
				}
			}
		}
		if bytes.Contains(text, []byte("\n//go:embed ")) {
			embedded = append(embedded, goEmbeds(text)...)
		}
	}
	return imports, embedded
}

// goEmbeds returns the patterns of the directives in a file.
func goEmbeds(text []byte) []string {
	var patterns []string
	for line := range strings.Lines(string(text)) {
		rest, found := strings.CutPrefix(line, "//go:embed ")
		if !found {
			continue
		}
		for _, word := range strings.Fields(rest) {
			if unquoted, err := strconv.Unquote(word); err == nil {
				word = unquoted
			}
			patterns = append(patterns, strings.NewReplacer("{", `\{`, "}", `\}`).Replace(strings.TrimPrefix(word, "all:")))
		}
	}
	return patterns
}
