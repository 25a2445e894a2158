//go:build unix

package supervise

import (
	"errors"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

func shell(line string) *exec.Cmd { return exec.Command("/bin/sh", "-c", line) }

// terminateGroup asks a process group to end.
func terminateGroup(group int) { _ = unix.Kill(-group, unix.SIGTERM) }

// killGroup ends a process group. A group that is gone already is no error, and
// its number is not taken by another as long as it has members.
func killGroup(group int) { _ = unix.Kill(-group, unix.SIGKILL) }

// groupAlive reports whether a process of the group is still running.
func groupAlive(group int) bool {
	// Orphans fall to process 1, which angz is in some containers.
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(-group, &status, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return unix.Kill(-group, 0) == nil && hasMembers(group)
}

// detach makes a process the first of a session of its own, out of reach of the
// terminal's signals.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// heedOnlyTheEnd makes this process ignore what is meant for its parent.
func heedOnlyTheEnd() { signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT) }
