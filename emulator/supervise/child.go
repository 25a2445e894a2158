package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// drainTime is how long the output of a dead process group is still read: what
// was written before the death is in the pipe, and only a process that escaped
// from the group could keep it open.
const drainTime = 200 * time.Millisecond

// child is one process with all its offspring: its process group.
type child struct {
	group  *Group
	cmd    *exec.Cmd
	pid    int    // also the number of the process group
	mark   string // the variable that all its offspring inherits
	tail   tail
	output *os.File
	exited chan struct{} // closed when the process has ended and was waited for
	read   chan struct{} // closed when its output has been read
}

// spawn starts a command of a service. nth tells its starts apart.
func (g *Group) spawn(spec Spec, command Command, env []string, nth string) (*child, error) {
	c := &child{group: g, mark: markOf(g.mark, spec.Name+"."+nth), exited: make(chan struct{}), read: make(chan struct{})}
	c.cmd = commandLine(command)
	c.cmd.Dir = spec.Dir
	c.cmd.Env = slices.Concat(g.options.Environ, spec.Env, env, []string{c.mark})
	setAttributes(c.cmd)
	if info, err := os.Stat(spec.Dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("its folder %s does not exist", spec.Dir)
	}
	// One pipe for both streams keeps them in order, as on a terminal.
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.output, c.cmd.Stdout, c.cmd.Stderr = output, input, input
	err = g.forker.start(c.cmd)
	_ = input.Close()
	if err != nil {
		_ = output.Close()
		return nil, explainStart(command, err)
	}
	c.pid = c.cmd.Process.Pid
	g.guardian.add(c.pid)
	go c.listen(spec.Name)
	go func() {
		// How it ended is read from ProcessState; an error says nothing more.
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

func commandLine(command Command) *exec.Cmd {
	if command.Shell != "" {
		return shell(command.Shell)
	}
	return exec.Command(command.Argv[0], command.Argv[1:]...)
}

func explainStart(command Command, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no program %s: install it, or correct the command", commandLine(command).Args[0])
	}
	return err
}

// listen passes the child's output on, line by line.
func (c *child) listen(name string) {
	defer close(c.read)
	readLines(c.output, func(line []byte) {
		c.tail.add(line)
		c.group.options.Lines(name, line)
	})
}

// stop ends the whole process group: politely, then after the grace period by
// force. It returns when nothing of it is left, and whether it took force.
func (c *child) stop(grace time.Duration) (killed bool) {
	terminateGroup(c.pid)
	deadline := time.Now().Add(grace)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.exited:
		awaitGone(c.pid, deadline)
	case <-timer.C:
		killed = true
	}
	c.clean()
	return killed
}

// clean kills what is left of the process group and waits until it is gone and
// its output was read.
func (c *child) clean() {
	killGroup(c.pid)
	<-c.exited
	awaitGone(c.pid, time.Now().Add(2*time.Second))
	reapOrphans(c.pid)
	c.group.guardian.forget(c.pid)
	_ = c.output.SetReadDeadline(time.Now().Add(drainTime))
	<-c.read
	_ = c.output.Close()
}

// awaitGone waits until a process group is empty, at most until the deadline.
func awaitGone(group int, deadline time.Time) {
	for wait := time.Millisecond; groupAlive(group) && time.Now().Before(deadline); wait = min(2*wait, 20*time.Millisecond) {
		time.Sleep(wait)
	}
}

// forker starts all children from one thread. Linux tells a child of its
// parent's death when the thread that made it ends, and the Go runtime ends
// threads as it likes, except those that a goroutine has locked.
type forker struct {
	requests chan forkRequest
}

type forkRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newForker() *forker { return &forker{requests: make(chan forkRequest)} }

// run serves requests until stop. It must outlive the children.
func (f *forker) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for request := range f.requests {
		request.result <- request.cmd.Start()
	}
}

func (f *forker) start(cmd *exec.Cmd) error {
	request := forkRequest{cmd, make(chan error, 1)}
	f.requests <- request
	return <-request.result
}

func (f *forker) stop() { close(f.requests) }

// markName is the variable by which the offspring of a group is recognised, also
// when it has left its process group and lost its parents.
const markName = "ANGZ_SUPERVISED"

// markOf returns the variable of one process, or without rest what the variables
// of the group's processes have in common at their beginning.
func markOf(group, rest string) string {
	return markName + "=" + group + "." + strings.ReplaceAll(rest, "\x00", "")
}
