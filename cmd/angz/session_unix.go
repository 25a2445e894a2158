//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownSession keeps a process out of reach of the terminal's signals.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
