package servertest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starts hands commands to a thread that lives as long as the process: Linux
// tells a child of its parent's end when the thread that started it ends.
var starts = sync.OnceValue(func() chan<- starting {
	requests := make(chan starting)
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request.started <- request.command.Start()
		}
	}()
	return requests
})

type starting struct {
	command *exec.Cmd
	started chan error
}

// startWithParent starts a command that the kernel kills when this process ends,
// however it ends.
func startWithParent(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	request := starting{command, make(chan error)}
	starts() <- request
	return <-request.started
}
