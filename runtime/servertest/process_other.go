//go:build !linux

package servertest

import "os/exec"

// startWithParent starts a command.
func startWithParent(command *exec.Cmd) error { return command.Start() }
