package servertest

import "os/exec"

// Start starts a command that is not to outlive this process: where the kernel
// can, it kills the command when this process ends, however it ends.
func Start(command *exec.Cmd) error { return startWithParent(command) }
