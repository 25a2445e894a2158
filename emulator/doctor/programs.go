package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// commands examines whether a service can be started: its folder is there, and
// so are the programs that its commands begin with.
func (s service) commands(context.Context) []Finding {
	if s.Run.IsZero() {
		return nil // whoever starts it knows how; whether it answers is another check
	}
	if info, err := os.Stat(s.dir); err != nil || !info.IsDir() {
		return problem(s.label, "its folder "+s.dir+" is not there", "make it, or correct dir", "ls "+filepath.Dir(s.dir))
	}
	for _, named := range []struct {
		key     string
		command config.Command
	}{{"build", s.Build}, {"run", s.Run}} {
		word := firstProgram(named.command)
		if word == "" || s.finds(word) {
			continue
		}
		if strings.ContainsRune(word, filepath.Separator) && named.key == "run" && !s.Build.IsZero() {
			continue // it is made by the build
		}
		return problem(s.label, fmt.Sprintf("%s: there is no program %s", named.key, word), "install it, or correct "+named.key, "command -v "+word)
	}
	return ok(s.label, "can be started: "+supervise.Command(s.Run).String())
}

// finds reports whether a program is there, as the service's shell would look for it.
func (s service) finds(program string) bool {
	if strings.ContainsRune(program, filepath.Separator) && !filepath.IsAbs(program) {
		program = filepath.Join(s.dir, program)
	}
	if path, set := s.Env["PATH"]; set && !strings.ContainsRune(program, filepath.Separator) {
		return slices.ContainsFunc(filepath.SplitList(path), func(folder string) bool {
			_, err := exec.LookPath(filepath.Join(folder, program))
			return err == nil
		})
	}
	_, err := exec.LookPath(program)
	return err == nil
}

// inShell are words with which a line for the shell may begin and which are no
// programs.
var inShell = []string{
	".", ":", "[", "{", "!", "alias", "case", "cd", "eval", "export", "for", "function", "if", "read", "set", "source", "test", "time", "trap", "ulimit", "umask", "until", "while",
}

// firstProgram returns the program that a command begins with, empty when only a
// shell could tell.
func firstProgram(command config.Command) string {
	if len(command.Argv) > 0 {
		return command.Argv[0]
	}
	for _, word := range strings.Fields(command.Shell) {
		name, _, assigns := strings.Cut(word, "=")
		switch {
		case word == "exec" || word == "command" || word == "env":
		case assigns && name != "" && !strings.ContainsAny(word, "'\"`$&|;()<>\\"):
		case strings.ContainsAny(word, "'\"`$&|;()<>{}*?~\\=#"), slices.Contains(inShell, word), strings.HasPrefix(word, "-"):
			return ""
		default:
			return word
		}
	}
	return ""
}

// tool is how the version of a language's tools is asked for.
type tool struct {
	words []string
	get   string // where it can be had
}

var tools = map[string]tool{
	"Go":         {[]string{"go", "version"}, "https://go.dev/doc/install"},
	"Python":     {[]string{"python3", "--version"}, "https://www.python.org/downloads"},
	"Rust":       {[]string{"cargo", "--version"}, "https://rustup.rs"},
	"Java":       {[]string{"java", "-version"}, "https://adoptium.net"},
	"TypeScript": {[]string{"node", "--version"}, "https://nodejs.org"},
	"JavaScript": {[]string{"node", "--version"}, "https://nodejs.org"},
	"C++":        {[]string{"c++", "--version"}, "your system's package manager"},
}

// languages returns a check for each language that services are written in.
func languages(services []service) (checks []node.Check) {
	users := map[string][]service{}
	var names []string
	for _, s := range services {
		if s.language == "" {
			continue
		}
		if users[s.language] == nil {
			names = append(names, s.language)
		}
		users[s.language] = append(users[s.language], s)
	}
	for _, name := range names {
		checks = append(checks, node.Check{What: name, Run: func(ctx context.Context) []Finding { return examineLanguage(ctx, name, users[name]) }})
	}
	return checks
}

// examineLanguage asks for the version of a language's tools, as the services
// that need them find them.
func examineLanguage(ctx context.Context, language string, users []service) []Finding {
	wanted, known := tools[language]
	if !known {
		return nil
	}
	var names []string
	for _, s := range users {
		names = append(names, s.Name)
	}
	needed := "for " + strings.Join(names, ", ")
	words := slices.Clone(wanted.words)
	if own := users[0].interpreter(language); own != "" {
		words[0] = own
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return warning(language, fmt.Sprintf("%s is not there, %s", words[0], needed), "install it: "+wanted.get, "command -v "+words[0])
	}
	command := exec.CommandContext(ctx, path, words[1:]...)
	command.Dir = users[0].dir
	output, err := command.CombinedOutput() // some write it to standard error
	line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	if err != nil {
		return problem(language, fmt.Sprintf("%s fails: %v %s", strings.Join(words, " "), err, line), "install it anew: "+wanted.get, strings.Join(words, " "))
	}
	return ok(language, fmt.Sprintf("%s at %s, %s", line, path, needed))
}

// interpreter returns the service's own interpreter, such as .venv/bin/python, when
// it is there already.
func (s service) interpreter(language string) string {
	word := firstProgram(s.Run)
	if language != "Python" || !strings.ContainsRune(word, filepath.Separator) || project.Language("", word) != language {
		return ""
	}
	if !filepath.IsAbs(word) {
		word = filepath.Join(s.dir, word)
	}
	if _, err := os.Stat(word); err != nil {
		return ""
	}
	return word
}
