//go:build unix

package supervise

import (
	"errors"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shell returns the command that runs a line as a shell understands it. The
// shell makes way for a program that needs nothing of it, so that the process
// angz knows is the service itself and not a shell that waits for it.
func shell(line string) *exec.Cmd {
	if words := strings.Fields(line); len(words) > 0 && isPlainCommand(line) && isProgram(words[0]) {
		line = "exec " + line
	}
	return exec.Command("/bin/sh", "-c", line)
}

// isPlainCommand reports whether a line is nothing but words that mean
// themselves.
func isPlainCommand(line string) bool {
	return !strings.ContainsFunc(line, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(" ./_-:,@%+=", r)
	})
}

// isProgram reports whether a shell would look for a file of this name.
func isProgram(word string) bool {
	if strings.Contains(word, "=") {
		return false // an assignment
	}
	if strings.Contains(word, "/") {
		return true
	}
	_, err := exec.LookPath(word)
	return err == nil && !slices.Contains(shellWords, word)
}

// shellWords are the words that a shell understands itself although there may be
// programs of the same name.
var shellWords = []string{
	".", ":", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "eval", "exec", "exit", "export", "fc", "fg",
	"for", "getopts", "hash", "if", "jobs", "local", "read", "readonly", "return", "set", "shift", "time", "times", "trap",
	"type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
}

// terminateGroup asks a process group to end.
func terminateGroup(group int) { _ = unix.Kill(-group, unix.SIGTERM) }

// killGroup ends a process group. A group that is gone already is no error, and
// its number is not taken by another as long as it has members.
func killGroup(group int) { _ = unix.Kill(-group, unix.SIGKILL) }

// groupAlive reports whether a process of the group is still running.
func groupAlive(group int) bool { return unix.Kill(-group, 0) == nil && hasMembers(group) }

// reapOrphans takes the dead members of a group out of the process table, whose
// parents were members too: they fall to process 1, which angz is in containers.
// The first process of the group must have been waited for.
func reapOrphans(group int) {
	for {
		pid, err := unix.Wait4(-group, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// detach makes a process the first of a session of its own, out of reach of the
// terminal's signals.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// heedOnlyTheEnd makes this process ignore what is meant for its parent.
func heedOnlyTheEnd() { signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT) }
