package supervise

import (
	"os"
	"os/exec"
)

func shell(line string) *exec.Cmd { return exec.Command("cmd", "/C", line) }

func setAttributes(*exec.Cmd) {}

func detach(*exec.Cmd) {}

func heedOnlyTheEnd() {}

// terminateGroup ends the one process: there are no process groups here.
func terminateGroup(group int) { killGroup(group) }

func killGroup(group int) {
	if process, err := os.FindProcess(group); err == nil {
		_ = process.Kill()
	}
}

func groupAlive(int) bool { return false }

func reapOrphans(int) {}

func sweep(string) {}

// Holder does not know who listens on a port here.
func Holder(string) (string, bool) { return "", false }
