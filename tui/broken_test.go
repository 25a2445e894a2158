package tui

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// breakingDown is set for a process that shows the program and breaks down when it is
// asked for the services.
const breakingDown = "ANGZ_TUI_BREAKS_DOWN"

// breakDown is the main function of that process.
func breakDown() int {
	err := Run(context.Background(), Options{System: broken{newFake(), make(chan struct{})}, Input: os.Stdin, Output: os.Stdout, Environ: os.Environ()})
	if err != nil {
		_, _ = os.Stderr.WriteString(strings.SplitN(err.Error(), "\n", 2)[0] + "\n")
		return 1
	}
	return 0
}

// TestARealTerminalAfterABreakdown has the program break down in a terminal of tmux.
func TestARealTerminalAfterABreakdown(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is not installed: see .ci/deps")
	}
	server, folder := "angz-tui-"+strconv.Itoa(os.Getpid()), t.TempDir()
	tmux := func(words ...string) string {
		t.Helper()
		output, err := exec.Command("tmux", append([]string{"-L", server, "-f", os.DevNull}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", words, err, output)
		}
		return string(output)
	}
	until := func(word string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(tmux("capture-pane", "-p"), word); {
			if time.Now().After(deadline) {
				t.Fatalf("%q is not on the screen:\n%s", word, tmux("capture-pane", "-p"))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(folder, "script")
	text := "stty -a >before\n" + breakingDown + "=1 '" + self + "'\necho \"ended $?, $(stty -a | cmp - before && echo as before)\"\ncat\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tmux("new-session", "-d", "-x", "100", "-y", "30", "-c", folder, "-e", "LC_ALL=C.UTF-8", "sh "+script)
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", server, "kill-server").Run() })
	until("customer")
	tmux("send-keys", "3")
	until("ended 1, as before")
	until("angz tui broke down, which is a mistake of its own")
	const modes = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"
	if got := strings.TrimSpace(tmux("display-message", "-p", modes)); got != "0 0 1" {
		t.Errorf("the modes %s are %s", modes, got)
	}
}
