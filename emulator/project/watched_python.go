package project

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// pythonSources returns the files that a command's program imports, as far as
// they are the person's own. It is nil where that cannot be told: when the
// command names no program, or a file loads others by names made at run time.
func pythonSources(dir, run string) []string {
	roots, entries := pythonEntry(dir, run)
	if len(entries) == 0 {
		return nil
	}
	found, missing := map[string]bool{}, map[string]bool{}
	for todo := entries; len(todo) > 0; todo = todo[1:] {
		if found[todo[0]] {
			continue
		}
		found[todo[0]] = true
		text, err := os.ReadFile(todo[0])
		if err != nil {
			continue // it is missing, and will be seen when it comes
		}
		if dynamic.Match(text) {
			return nil
		}
		for _, each := range pythonImports(string(text)) {
			files, ok := each.files(todo[0], roots)
			if !ok && each.level == 0 {
				name, _, _ := strings.Cut(each.module, ".")
				missing[name] = true
			}
			todo = append(todo, files...)
		}
	}
	var patterns []string
	for _, file := range slices.Sorted(maps.Keys(found)) {
		patterns = append(patterns, seenFrom(dir, file))
	}
	for _, root := range slices.Concat([]string{dir}, roots) {
		patterns = append(patterns, join(seenFrom(dir, root), pythonProject))
	}
	return append(patterns, expectedModules(dir, roots, missing)...)
}

// pythonProject are the files that say what a program needs.
const pythonProject = "{pyproject.toml,requirements*.txt,setup.py,setup.cfg,uv.lock,poetry.lock,Pipfile,Pipfile.lock}"

// expectedModules returns where modules would lie that are imported and not there:
// installed ones never will, but one that is written next has to be seen.
func expectedModules(dir string, roots []string, missing map[string]bool) []string {
	if len(missing) == 0 {
		return nil
	}
	names := "{" + strings.Join(slices.Sorted(maps.Keys(missing)), ",") + "}"
	var patterns []string
	for _, root := range roots {
		patterns = append(patterns, join(seenFrom(dir, root), names+".py"), join(seenFrom(dir, root), names+"/**/*.py"))
	}
	return patterns
}

// dynamic is what programs use to load modules by names made at run time.
var dynamic = regexp.MustCompile(`\bimportlib\.import_module\b|\bimport_module\(|\b__import__\(|\bpkgutil\.(iter_modules|walk_packages)\b|\brunpy\.|\bspec_from_file_location\b`)

// pythonEntry returns the folders in which a command's program looks for modules,
// and its own files.
func pythonEntry(dir, run string) (roots, entries []string) {
	fields := words(run)
	for i, word := range fields {
		switch {
		case strings.HasSuffix(word, ".py"):
			script := word
			if !filepath.IsAbs(script) {
				script = filepath.Join(dir, script)
			}
			return folders(filepath.Dir(script), dir), []string{script}
		case word == "-m" && i > 0 && languageOfWord(filepath.Base(fields[i-1])) == "Python" && i+1 < len(fields):
			roots = folders(dir)
			if files, ok := module(roots, fields[i+1], "__main__"); ok {
				return roots, files
			}
		case strings.Contains(word, ":") && application.MatchString(word): // as in uvicorn shop.main:app
			roots = folders(dir)
			name, _, _ := strings.Cut(word, ":")
			if files, ok := module(roots, name); ok {
				return roots, files
			}
		}
	}
	return nil, nil
}

var application = regexp.MustCompile(`^[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?$`)

// folders adds those in which projects keep their packages.
func folders(list ...string) []string {
	list = append(list, filepath.Join(list[len(list)-1], "src"))
	return slices.DeleteFunc(list, func(path string) bool { return !isFolder(path) })
}

// pythonImport is one import: of a module, and of names in it that may be
// modules, too.
type pythonImport struct {
	level  int // dots before the module
	module string
	names  []string
}

var (
	importLine = regexp.MustCompile(`(?m)(?:^|[;:])[ \t]*import[ \t]+([^\n#;]+)`)
	fromLine   = regexp.MustCompile(`(?m)(?:^|[;:])[ \t]*from[ \t]+(\.*)[ \t]*([\w.]*)[ \t]+import[ \t]*(?:\(([^)]*)\)?|([^\n#;]+))`)
	comment    = regexp.MustCompile(`(?m)#.*$`)
)

// pythonImports finds the imports of a file, also of one that is not complete.
func pythonImports(text string) []pythonImport {
	text = strings.NewReplacer("\\\r\n", " ", "\\\n", " ", "\r", "").Replace(text)
	var imports []pythonImport
	for _, match := range importLine.FindAllStringSubmatch(text, -1) {
		for _, name := range importedNames(match[1]) {
			imports = append(imports, pythonImport{module: name})
		}
	}
	for _, match := range fromLine.FindAllStringSubmatch(text, -1) {
		imports = append(imports, pythonImport{len(match[1]), match[2], importedNames(cmp.Or(match[3], match[4]))})
	}
	return imports
}

var moduleName = regexp.MustCompile(`^([\pL_][\pL\d_.]*|\*)$`)

// importedNames splits what follows the word import.
func importedNames(list string) []string {
	var names []string
	for each := range strings.SplitSeq(comment.ReplaceAllString(list, ""), ",") {
		if fields := strings.Fields(each); len(fields) > 0 && moduleName.MatchString(fields[0]) {
			names = append(names, fields[0])
		}
	}
	return names
}

// files returns the files that an import reads; false means that its module is
// in none of the folders.
func (i pythonImport) files(from string, roots []string) ([]string, bool) {
	if i.level > 0 {
		root := filepath.Dir(from)
		for range i.level - 1 {
			root = filepath.Dir(root)
		}
		roots = []string{root}
		if i.module == "" {
			return submodules(root, i.names), true
		}
	}
	if i.module == "" {
		return nil, true
	}
	files, ok := module(roots, i.module, i.names...)
	return files, ok
}

// module returns the files of a module: those of the packages around it, its
// own, and those of the names in it that are modules.
func module(roots []string, name string, names ...string) ([]string, bool) {
	parts := strings.Split(name, ".")
	for _, root := range roots {
		var files []string
		path := root
		for n, part := range parts {
			path = filepath.Join(path, part)
			initial := filepath.Join(path, "__init__.py")
			switch {
			case isFile(path, "__init__.py"):
				files = append(files, initial)
			case n == len(parts)-1 && isFile("", path+".py"):
				return append(files, path+".py"), true
			case isFolder(path) && len(goneOrPython(path)) > 0: // a package without a file of its own
			default:
				path = ""
			}
			if path == "" {
				break
			}
		}
		if path != "" {
			return append(files, submodules(path, names)...), true
		}
	}
	return nil, false
}

// goneOrPython lists the modules and packages in a folder.
func goneOrPython(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "*.py")) // the pattern is a good one
	deeper, _ := filepath.Glob(filepath.Join(dir, "*", "*.py"))
	return append(found, deeper...)
}

// submodules returns the files of those names that are modules in a package's
// folder; * stands for all.
func submodules(dir string, names []string) []string {
	files := []string{}
	if isFile(dir, "__init__.py") {
		files = append(files, filepath.Join(dir, "__init__.py"))
	}
	for _, name := range names {
		switch {
		case name == "*":
			all, _ := filepath.Glob(filepath.Join(dir, "*.py")) // the pattern is a good one
			files = append(files, all...)
		case isFile(dir, name+".py"):
			files = append(files, filepath.Join(dir, name+".py"))
		case isFile(filepath.Join(dir, name), "__init__.py"):
			files = append(files, filepath.Join(dir, name, "__init__.py"))
		}
	}
	return files
}
