//go:build unix && !linux

package supervise

import (
	"os/exec"
	"syscall"
)

// setAttributes puts a child into a process group of its own.
func setAttributes(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// hasMembers is asked about groups that can be sent a signal, which here are
// those with members.
func hasMembers(int) bool { return true }

// sweep needs a look into other processes' environments, which these systems do
// not grant; process groups must do.
func sweep(string) {}

// Holder does not know who listens on a port here.
func Holder(string) (string, bool) { return "", false }
