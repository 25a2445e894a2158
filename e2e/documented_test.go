package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shell types lines as a reader of the documentation does: in a folder, with
// what these tests built first on the path.
type shell struct {
	t       *testing.T
	folder  string
	environ []string
}

func newShell(t *testing.T, folder string, environ ...string) shell {
	t.Helper()
	environ = append(os.Environ(), environ...)
	return shell{t, folder, append(environ, "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))}
}

// run types a line and returns what is seen, with times and correlation ids made
// the same, and with the exit code unless it is 0.
func (s shell) run(line string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	output, err := s.command(ctx, line).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v", line, err)
	}
	seen := changing.ReplaceAllStringFunc(string(output), func(text string) string {
		if strings.HasPrefix(text, "correlation") {
			return "correlation ID"
		}
		return "TIME"
	})
	if err != nil {
		seen += exit.Error() + "\n"
	}
	return seen
}

func (s shell) command(ctx context.Context, line string) *exec.Cmd {
	command := exec.CommandContext(ctx, "sh", "-c", line)
	command.Dir, command.Env = s.folder, s.environ
	return command
}

// changing is what differs from run to run: times and correlation ids.
var changing = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|correlation [0-9a-f-]{36}`)

// shown runs a line and returns what it shows. One that only looks is run until it
// shows what is wanted: that may come a moment later.
func (s shell) shown(line, want string) string {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		seen := s.run(line)
		if seen == want || !strings.HasPrefix(line, "angz events ") || time.Now().After(deadline) {
			return seen
		}
		time.Sleep(10 * time.Millisecond) // another line of the documentation can only be typed again
	}
}

// follow types the lines of a section of a Markdown file, except those that start
// with one of skipped, and compares what each of them shows.
func (s shell) follow(path, section string, skipped []string, want []string) {
	s.t.Helper()
	lines := documented(s.t, path, section, skipped)
	if len(lines) != len(want) {
		s.t.Fatalf("%s, %s has %d lines to type, this test knows %d:\n%s", path, section, len(lines), len(want), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if diff := cmp.Diff(want[i], s.shown(line, want[i])); diff != "" {
			s.t.Errorf("%s\n(-want +got):\n%s", line, diff)
		}
	}
}

// documented returns the lines of the code blocks of a section. A line with an
// open quote goes on in the next.
func documented(t *testing.T, path, section string, skipped []string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(text), section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, section)
	}
	body, _, _ = strings.Cut(body, "\n## ")
	inside, open := false, ""
	for _, line := range strings.Split(body, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside
		case inside && strings.TrimSpace(line) != "":
			open += line + "\n"
			if strings.Count(open, "'")%2 != 0 {
				continue
			}
			if !hasAnyPrefix(open, skipped) {
				lines = append(lines, strings.TrimSuffix(open, "\n"))
			}
			open = ""
		}
	}
	return lines
}

func hasAnyPrefix(text string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// TestTheQuickstart types what its README says and what "angz dev" itself says to
// type next.
func TestTheQuickstart(t *testing.T) {
	t.Parallel()
	const folder = "../examples/quickstart"
	at := freePorts(t)
	d := startDev(t, folder, at, "ANGZARR_STORAGE__SQLITE__PATH="+filepath.Join(t.TempDir(), "dev.db"))
	sh := newShell(t, folder, at.environ()...)
	sh.follow(filepath.Join(folder, "README.md"), "# quickstart: to-do lists", []string{"angz dev ", "cd "}, []string{
		"stored todo groceries\n  0  TaskAdded  {\"title\":\"milk\"}\ncorrelation ID\n",
		"stored todo groceries\n  1  TaskAdded  {\"title\":\"tea\"}\ncorrelation ID\n",
		"stored todo groceries\n  2  TaskCompleted  {\"title\":\"milk\"}\ncorrelation ID\n",
		"stored todo groceries\n  3  TaskCompleted  {\"title\":\"tea\"}\n  4  ListCompleted  {\"tasks\":2}\ncorrelation ID\n",
		"refused: Task \"tea\" is already done (FAILED_PRECONDITION)\nexit status 1\n",
		"   0  TIME  TaskAdded  {\"title\":\"milk\"}\n   1  TIME  TaskAdded  {\"title\":\"tea\"}\n" +
			"   2  TIME  TaskCompleted  {\"title\":\"milk\"}\n   3  TIME  TaskCompleted  {\"title\":\"tea\"}\n   4  TIME  ListCompleted  {\"tasks\":2}\n",
	})
	next := regexp.MustCompile(`(?m)^next:  (.*)$`)
	said := settled(t, 2, func() []string { return next.FindStringSubmatch(d.output.String()) })
	if len(said) != 2 {
		t.Fatalf("angz dev does not say what to do next:\n%s", d.output)
	}
	if diff := cmp.Diff("stored todo todo-1\n  0  TaskAdded  {\"title\":\"some title\"}\ncorrelation ID\n", sh.run(said[1])); diff != "" {
		t.Errorf("%s\n(-want +got):\n%s", said[1], diff)
	}
}
