package project

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// language is how one language is recognised.
type language struct {
	name     string
	programs []string // whose use in a command gives it away
	endings  []string // of files named in a command or lying in the folder
	files    []string // that lie in the folder of such a service
}

// languages are in the order in which they are tried: those whose signs are used
// by others too come last.
var languages = []language{
	{"Rust", []string{"cargo"}, []string{".rs"}, []string{"Cargo.toml"}},
	{"Go", []string{"go"}, []string{".go"}, []string{"go.mod"}},
	{"Java", []string{"java", "mvn", "mvnw", "gradle", "gradlew"}, []string{".jar", ".java"}, []string{"pom.xml", "build.gradle", "build.gradle.kts"}},
	{"TypeScript", []string{"tsx", "tsc", "ts-node", "deno", "bun"}, []string{".ts", ".mts"}, []string{"tsconfig.json"}},
	{"JavaScript", []string{"node", "npm", "npx", "pnpm", "yarn"}, []string{".js", ".mjs", ".cjs"}, []string{"package.json"}},
	{"C++", []string{"cmake", "ninja", "bazel"}, []string{".cc", ".cpp", ".cxx"}, []string{"CMakeLists.txt"}},
	{"Python", []string{"python", "python3", "uv", "poetry", "pipenv"}, []string{".py"}, []string{"pyproject.toml", "requirements.txt", "setup.py"}},
}

// Language says in which language a service is written, as far as that can be
// told from its commands, given in the order in which they count, and from the
// files of its folder. It is empty when that cannot be told.
func Language(dir string, commands ...string) string {
	for _, command := range commands {
		if name := languageOf(command); name != "" {
			// A TypeScript service is usually run by JavaScript's tools.
			if name == "JavaScript" && exists(dir, "tsconfig.json") {
				return "TypeScript"
			}
			return name
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, candidate := range languages {
		for _, entry := range entries {
			if slices.Contains(candidate.files, entry.Name()) || slices.Contains(candidate.endings, filepath.Ext(entry.Name())) {
				return candidate.name
			}
		}
	}
	return ""
}

// languageOf looks at the programs and files that a command names.
func languageOf(command string) string {
	found := ""
	for _, word := range strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()'\"", r) }) {
		switch name := languageOfWord(filepath.Base(word)); name {
		case "":
		case "JavaScript":
			found = name // unless a later word shows that it is TypeScript
		default:
			return name
		}
	}
	return found
}

func languageOfWord(word string) string {
	if program := strings.TrimRight(word, "0123456789."); program == "python" {
		word = program
	}
	for _, candidate := range languages {
		if slices.Contains(candidate.programs, word) || slices.Contains(candidate.endings, filepath.Ext(word)) {
			return candidate.name
		}
	}
	return ""
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
