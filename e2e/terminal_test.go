package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/angz-dev/angz/emulator/control"
)

// terminal is a real terminal with a shell in it, kept by tmux.
type terminal struct {
	t      testing.TB
	server string // of tmux, for this test only
}

func openTerminal(t testing.TB, environ ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is not installed: see .ci/deps")
	}
	w := &terminal{t: t, server: "angz-e2e-" + strconv.Itoa(os.Getpid()) + "-" + strings.ReplaceAll(t.Name(), "/", "-")}
	command := []string{"new-session", "-d", "-x", "110", "-y", "40"}
	for _, variable := range environ {
		command = append(command, "-e", variable)
	}
	w.tmux(append(command, "env PS1='prompt> ' sh")...)
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", w.server, "kill-server").Run() })
	w.sees("prompt>")
	return w
}

func (w *terminal) tmux(words ...string) string {
	w.t.Helper()
	output, err := exec.Command("tmux", append([]string{"-L", w.server}, words...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %q: %v\n%s", words, err, output)
	}
	return string(output)
}

// types types text and then the key Enter.
func (w *terminal) types(text string) {
	w.t.Helper()
	w.tmux("send-keys", "-l", text)
	w.press("Enter")
}

// press presses keys, by tmux's names for them.
func (w *terminal) press(keys ...string) {
	w.t.Helper()
	w.tmux(append([]string{"send-keys"}, keys...)...)
}

// screen returns what is to be seen now.
func (w *terminal) screen() string {
	w.t.Helper()
	return w.tmux("capture-pane", "-p")
}

// history returns what was to be seen since the terminal was opened.
func (w *terminal) history() string {
	w.t.Helper()
	return w.tmux("capture-pane", "-p", "-J", "-S", "-")
}

// sees waits until a text is on the screen or has been.
func (w *terminal) sees(text string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(w.history(), text); {
		if time.Now().After(deadline) {
			w.t.Fatalf("%q does not appear:\n%s", text, w.history())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// terminalProject is a project of two services that this test binary plays.
func terminalProject(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "proto"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "proto", "order.proto"), "syntax = \"proto3\"; package order; message Place { string text = 1; }\n", 0o600)
	writeProject(t, folder, "domains:\n"+played(t, "order", "aggregate")+"    watch: [code.txt]\n"+
		"projectors:\n"+played(t, "receipt", "projector")+"    env: {LINES: "+filepath.Join(folder, "lines")+"}\n    watch: [other.txt]\n")
	return folder
}

// devTerminal runs angz dev in a terminal until it is ready.
func devTerminal(t *testing.T, project string) (*terminal, *dev) {
	t.Helper()
	at := freePorts(t)
	left := &dev{t: t, ports: at, output: &buffer{}, mark: fmt.Sprintf("ANGZ_E2E_MARK=%s-%d", filepath.Base(project), time.Now().UnixNano())}
	w := openTerminal(t, append(at.environ(), left.mark, "ANGZ="+binary)...)
	w.types("$ANGZ dev " + project)
	w.sees("is ready after")
	return w, left
}

func TestKeysSteerTheEmulator(t *testing.T) {
	t.Parallel()
	project := terminalProject(t)
	w, _ := devTerminal(t, project)
	client, err := control.Find(project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	shop := &workshop{dev: &dev{t: t, output: &buffer{}}, folder: project, control: client}
	restarted := func(name string, starts int) {
		t.Helper()
		shop.until(fmt.Sprintf("%s has been started %d times", name, starts), func(s control.Status) bool {
			return s.Ready && service(s, name).Starts == starts
		})
	}
	restarted("order", 1)

	w.press("?")
	w.sees("this list")
	w.press("r")
	w.sees("1 order, 2 receipt")
	w.press("2")
	restarted("receipt", 2)
	w.press("r", "x") // nothing
	w.press("r", "a")
	restarted("receipt", 3)
	restarted("order", 2)

	w.press("p")
	w.sees("paused:")
	write(t, filepath.Join(project, "code.txt"), "while paused", 0o600)
	w.sees("restarts are paused")
	w.press("p")
	w.sees("resumed:")
	write(t, filepath.Join(project, "code.txt"), "again", 0o600)
	restarted("order", 3)
	w.sees("code.txt was saved")

	w.press("c")
	for deadline := time.Now().Add(time.Minute); strings.Contains(w.screen(), "ready"); {
		if time.Now().After(deadline) {
			t.Fatalf("the screen was not cleared:\n%s", w.screen())
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.press("o")
	w.sees("FOR CLIENTS")
	w.press("q")
	w.sees("prompt>")
	// The terminal is as it was: what is typed is seen, a line at a time.
	w.types("stty -a | tr ' ' '\\n' | grep -x -e echo -e icanon | tr '\\n' '+'")
	w.sees("icanon+echo+")
}

// However angz dev ends, nothing of it is left.
func TestNothingIsLeftHoweverItEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*terminal, int){
		"Ctrl-C":                 func(w *terminal, _ int) { w.press("C-c") },
		"the terminal is closed": func(w *terminal, _ int) { w.tmux("kill-server") },
		"kill":                   func(_ *terminal, pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) },
		"kill -9":                func(_ *terminal, pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := terminalProject(t)
			w, left := devTerminal(t, project)
			client, err := control.Find(project)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			status, err := client.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			end(w, status.PID)
			left.awaitOnlyShell()
			if sockets := settled(t, -1, func() []string {
				found, _ := filepath.Glob(filepath.Join(project, ".angz", "*.sock"))
				return found
			}); len(sockets) > 0 {
				t.Errorf("sockets are left behind: %q", sockets)
			}
		})
	}
}

// awaitOnlyShell is checkNothingLeft for an angz that was started by a shell in a
// terminal, which may stay.
func (d *dev) awaitOnlyShell() {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var left []string
		for _, process := range marked(d.mark) {
			if _, command, _ := strings.Cut(process, " "); command != "sh" && !strings.Contains(command, "tmux") {
				left = append(left, process)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("processes are left behind: %q", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
