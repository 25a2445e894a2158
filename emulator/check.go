package emulator

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/angz-dev/angz/emulator/supervise"
)

// pythonCheck compiles files as Python would, and writes nothing.
const pythonCheck = `import sys
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        compile(file.read(), path, "exec", dont_inherit=True)`

// nodeCheck has Node.js look at one file after the other.
const nodeCheck = `for file do node --check "$file" || exit; done`

// check returns the command that finds out whether files that were saved can be
// run at all, for languages that nobody builds: with a mistake of syntax the
// process that runs is better than the next one.
func (s plannedService) check(files []string) supervise.Command {
	switch s.language {
	case "Python":
		if python := s.interpreter(); len(python) > 0 {
			return withFiles(append(python, "-c", pythonCheck), files, ".py")
		}
	case "JavaScript":
		return withFiles([]string{"sh", "-c", nodeCheck, "sh"}, files, ".js", ".mjs", ".cjs")
	}
	return supervise.Command{}
}

// interpreter returns the words by which the service's own Python is called, such
// as ".venv/bin/python" or "uv run python"; none if they cannot be told.
func (s plannedService) interpreter() []string {
	words := s.config.Run.Argv
	if len(words) == 0 {
		words = strings.Fields(s.config.Run.Shell)
	}
	i := slices.IndexFunc(words, func(word string) bool {
		return strings.TrimRight(filepath.Base(word), "0123456789.") == "python"
	})
	if i < 0 || strings.ContainsAny(strings.Join(words[:i+1], ""), "'\"`$&|;()<>=\\") {
		return nil
	}
	return slices.Clone(words[:i+1])
}

// withFiles adds to a command those of the files that end so and are still there;
// without any there is nothing to be checked.
func withFiles(command, files []string, endings ...string) supervise.Command {
	before := len(command)
	for _, file := range files {
		if slices.Contains(endings, filepath.Ext(file)) && !slices.Contains(command[before:], file) && exists(file) {
			command = append(command, file)
		}
	}
	if len(command) == before {
		return supervise.Command{}
	}
	return supervise.Command{Argv: command}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
