package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// interactive is how each shell is started without a person's settings, and what
// it is told so that it completes.
var interactive = map[string]struct{ start, prepare string }{
	"bash": {"bash --norc --noprofile -i", "source /usr/share/bash-completion/bash_completion; source <(angz completion bash)"},
	"zsh":  {"zsh -f -i", "autoload -U compinit; compinit -u -D; source <(angz completion zsh)"},
	"fish": {"fish --no-config --private", "angz completion fish | source"},
}

// Every shell completes commands, flags, and names of the project, when Tab is
// pressed.
func TestShellsComplete(t *testing.T) {
	t.Parallel()
	project := t.TempDir()
	writeProject(t, project, "domains:\n  - {name: customer, run: x}\n  - {name: inventory, run: x}\nprojectors:\n  - {name: receipt, run: x}\n")
	for name, shell := range interactive {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(name); err != nil {
				t.Fatalf("%s is not installed: see .ci/deps", name)
			}
			w := openTerminal(t, "HOME="+shellHome(t))
			w.types("cd " + project + "; PATH=" + filepath.Dir(binary) + ":$PATH exec " + shell.start)
			w.types("true") // the shell reads its first line when it is there
			w.types(shell.prepare)
			w.types("echo prepa''red")
			w.sees("prepared")
			for typed, completed := range map[string]string{
				"angz conf":                  "angz config ",
				"angz send inv":              "angz send inventory ",
				"angz events cu":             "angz events customer ",
				"angz dlq list pro":          "angz dlq list projector/receipt ",
				"angz config check --role g": "angz config check --role gateway ",
			} {
				w.tmux("send-keys", "-l", typed)
				w.press("Tab")
				w.sees(strings.TrimSpace(completed))
				w.press("C-u")
			}
		})
	}
}

// shellHome returns a home for a shell, which may still write its history there
// while the test ends.
func shellHome(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("", "angz-home")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	return home
}

// A system that does not answer gives nothing, and the shell goes on.
func TestCompletionDoesNotWaitForADeadServer(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody takes
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	sh := newShell(t, t.TempDir())
	if seen := sh.run("angz __complete events --address " + dead.Addr().String() + " order '' 2>/dev/null"); seen != ":4\n" {
		t.Errorf("seen %q, want no names and no files", seen)
	}
}

// The pages of all commands are such that neither man nor mandoc complains.
func TestManualPagesAreRight(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"mandoc", "man"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not installed: see .ci/deps", program)
		}
	}
	sh := newShell(t, t.TempDir(), "LC_ALL=C.UTF-8")
	if seen := sh.run("angz man pages 2>/dev/null && angz man | cmp - pages/angz.1"); seen != "" {
		t.Fatal(seen)
	}
	if seen := sh.run("mandoc -T lint -W warning pages/*.1"); seen != "" {
		t.Errorf("mandoc warns:\n%s", seen)
	}
	if seen := sh.run(`for page in pages/*.1; do man --warnings -l "$page" 2>&1 >/dev/null; done`); seen != "" {
		t.Errorf("man warns:\n%s", seen)
	}
	for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"} {
		if seen := sh.run("grep -L '^.SH " + section + "' pages/*.1 | grep -v '/angz.1$' || true"); seen != "" {
			t.Errorf("there is no %s in\n%s", section, seen)
		}
	}
}
