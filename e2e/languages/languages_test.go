// Package languages_test makes projects with angz new in every language and uses
// them as people do: the language's own tests, formatter and linter, angz test,
// angz dev, a command and what follows from it.
package languages_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the angz under test.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	folder, err := os.MkdirTemp("", "angz-languages")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	binary = filepath.Join(folder, "angz")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../../cmd/angz")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build angz: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// shopOf is a project that "angz new" has made in one language: the domains
// customer and order, the projector customer-list and the saga welcome.
type shopOf struct {
	t       *testing.T
	lang    string
	folder  string
	environ []string // for everything that is run
}

// newProjectOf makes a project with the domain customer, in a folder with a space
// in its name.
func newProjectOf(t *testing.T, lang string, environ ...string) *shopOf {
	t.Helper()
	s := &shopOf{t: t, lang: lang, folder: filepath.Join(t.TempDir(), "my projects"), environ: environ}
	if err := os.Mkdir(s.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	s.angz("new", "project", "shop", "--lang", lang)
	s.folder = filepath.Join(s.folder, "shop")
	return s
}

// newShopOf makes the project with everything in it.
func newShopOf(t *testing.T, lang string, environ ...string) *shopOf {
	t.Helper()
	s := newProjectOf(t, lang, environ...)
	s.angz("new", "domain", "order", "--lang", lang)
	s.angz("new", "projector", "customer-list", "--from", "customer", "--lang", lang)
	s.angz("new", "saga", "welcome", "--from", "customer", "--to", "order", "--lang", lang)
	return s
}

// angz runs angz in the project, which must not fail, and returns what it
// prints.
func (s *shopOf) angz(words ...string) string {
	s.t.Helper()
	out, said, code := s.try(words...)
	if code != 0 {
		s.t.Fatalf("angz %s: exit code %d\n%s%s", strings.Join(words, " "), code, out, said)
	}
	return out
}

// refused runs angz, which must fail with a code, and returns what it says.
func (s *shopOf) refused(code int, words ...string) string {
	s.t.Helper()
	out, said, got := s.try(words...)
	if got != code {
		s.t.Fatalf("angz %s: exit code %d, want %d\n%s%s", strings.Join(words, " "), got, code, out, said)
	}
	return said
}

func (s *shopOf) try(words ...string) (stdout, stderr string, code int) {
	command := exec.Command(binary, words...)
	command.Dir = s.folder
	command.Env = append(os.Environ(), s.environ...)
	var out, err strings.Builder
	command.Stdout, command.Stderr = &out, &err
	_ = command.Run() // how it ended is read from its state
	return out.String(), err.String(), command.ProcessState.ExitCode()
}

// tool runs a program of the language in the language's folder and returns how
// it ended and what it said.
func (s *shopOf) tool(words ...string) (string, error) {
	command := exec.Command(words[0], words[1:]...)
	command.Dir = filepath.Join(s.folder, s.lang)
	command.Env = append(os.Environ(), s.environ...)
	output, err := command.CombinedOutput()
	return string(output), err
}

// passes runs a program of the language, which must not fail.
func (s *shopOf) passes(words ...string) string {
	s.t.Helper()
	started := time.Now()
	output, err := s.tool(words...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, output)
	}
	s.t.Logf("%s: %.1f s", strings.Join(words, " "), time.Since(started).Seconds())
	return output
}

// edit replaces text in a file of the project.
func (s *shopOf) edit(name, old, replacement string) {
	s.t.Helper()
	place := filepath.Join(s.folder, name)
	content, err := os.ReadFile(place)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		s.t.Fatalf("%s does not have %q:\n%s", name, old, content)
	}
	if err := os.WriteFile(place, []byte(strings.Replace(string(content), old, replacement, 1)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// works brings the project up and sees a command's event, the saga's effect in
// the other domain, the projection, a refusal, and a snapshot. variables may say
// that services listen on sockets.
func (s *shopOf) works(variables ...string) {
	s.t.Helper()
	before := s.environ
	defer func() { s.environ = before }()
	s.environ = append(append([]string(nil), before...), variables...)
	started := time.Now()
	s.angz("dev", "--ports", "auto", "--detach", "--wait", "8m")
	s.t.Logf("angz dev: ready after %.1f s", time.Since(started).Seconds())
	defer func() {
		if s.t.Failed() {
			out, said, _ := s.try("logs")
			s.t.Logf("the logs:\n%s%s", out, said)
		}
		s.angz("stop")
	}()
	id := fmt.Sprintf("alice-%d@example.com", len(variables))
	out := s.angz("send", "customer", id, "CreateCustomer", `{"name":"Alice","email":"alice@example.com"}`, "--sync", "simple")
	for _, want := range []string{"CustomerCreated", `"name":"Alice"`, "customer-list", `"changes":1`} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the answer lacks %s:\n%s", want, out)
		}
	}
	s.awaitEvents("order", id, "OrderCreated", `"name":"Alice"`)
	if said := s.refused(1, "send", "customer", id, "CreateCustomer", `{"name":"Bob"}`); !strings.Contains(said, "Customer already exists") {
		s.t.Errorf("the refusal is %q", said)
	}
	if said := s.refused(1, "send", "customer", "new-"+id, "CreateCustomer", `{}`); !strings.Contains(said, "Customer name is required") {
		s.t.Errorf("the refusal is %q", said)
	}
	s.manyCommands(id)
	// A read model is cleared away and made anew.
	s.angz("projections", "rebuild", "customer-list", "--yes", "--timeout", "2m")
	if out := s.angz("send", "customer", id, "RenameCustomer", `{"name":"Alice"}`, "--sync", "simple"); !strings.Contains(out, `"changes":122`) {
		s.t.Errorf("after a rebuild the answer lacks the 122 changes:\n%s", out)
	}
}

// manyCommands renames a customer so often that its history is cut by a
// snapshot.
func (s *shopOf) manyCommands(id string) {
	s.t.Helper()
	const count = 120
	for i := range count {
		s.angz("send", "customer", id, "RenameCustomer", fmt.Sprintf(`{"name":"Alice %d"}`, i))
	}
	s.awaitEvents("customer", id, fmt.Sprintf(`"name":"Alice %d"`, count-1))
	if said := s.refused(1, "send", "customer", id, "RenameCustomer", fmt.Sprintf(`{"name":"Alice %d"}`, count-1)); !strings.Contains(said, fmt.Sprintf("Customer is already called Alice %d", count-1)) {
		s.t.Errorf("after a snapshot the refusal is %q", said)
	}
	for at, name := range map[string]string{"0": "Alice", "50": "Alice 49", fmt.Sprint(count): fmt.Sprintf("Alice %d", count-1)} {
		if state := s.angz("state", "customer", id, "--at", at); !strings.Contains(state, `"name": "`+name+`"`) {
			s.t.Errorf("the state after event %s is %s", at, state)
		}
	}
}

// awaitEvents waits until the events of an aggregate contain some words.
func (s *shopOf) awaitEvents(domain, id string, words ...string) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		out, said, _ := s.try("events", domain, id)
		missing := ""
		for _, word := range words {
			if !strings.Contains(out, word) {
				missing = word
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the events of %s %s never have %q:\n%s%s", domain, id, missing, out, said)
		}
		time.Sleep(20 * time.Millisecond) // another process makes them
	}
}

// refusedCheck returns what "angz generate --check" says when code is out of
// date.
func (s *shopOf) refusedCheck() string {
	s.t.Helper()
	return s.refused(1, "generate", "--check")
}

// socketFolder returns a folder whose path is short enough for sockets.
func socketFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "angz-s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// toolCaches are variables that let projects of these tests share what their
// languages have compiled.
func toolCaches(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"CARGO_BUILD_BUILD_DIR=" + filepath.Join(cache, "angz-e2e", "cargo"), "CARGO_INCREMENTAL=0"}
}
