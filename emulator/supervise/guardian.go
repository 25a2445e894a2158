package supervise

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
)

// guardian is this process's end of the line to the one that runs Guard. All its
// methods do nothing when there is none.
type guardian struct {
	logger  *slog.Logger
	cmd     *exec.Cmd
	started chan struct{} // closed when cmd was started or could not be

	mu    sync.Mutex
	pipe  *os.File // nil when there is no guardian
	start error
}

// startGuardian starts the guardian beside everything else: what it is to know
// waits for it in the pipe.
func startGuardian(argv []string, mark string, logger *slog.Logger) *guardian {
	g := &guardian{logger: logger, started: make(chan struct{})}
	if len(argv) == 0 {
		close(g.started)
		return g
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		g.start = err
		close(g.started)
		return g
	}
	g.pipe = writer
	g.cmd = exec.Command(argv[0], argv[1:]...)
	g.cmd.Stdin, g.cmd.Dir = reader, os.TempDir()
	// Without an environment it cannot be taken for one of the services.
	g.cmd.Env = []string{}
	detach(g.cmd)
	go func() {
		defer close(g.started)
		defer reader.Close()
		if g.start = g.cmd.Start(); g.start != nil {
			logger.Warn("no guardian: if angz is killed, children of its services may stay", "error", g.start)
		}
	}()
	g.send("parent %d\n", os.Getpid())
	g.send("mark %q\n", markOf(mark, ""))
	return g
}

// send writes one order. A guardian that is gone reads none; that was said.
func (g *guardian) send(format string, values ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe != nil {
		_, _ = fmt.Fprintf(g.pipe, format, values...)
	}
}

// add names a process group to be killed.
func (g *guardian) add(group int) { g.send("group %d %q\n", group, startTime(group)) }

// forget takes a process group back.
func (g *guardian) forget(group int) { g.send("forget %d\n", group) }

// socket names a socket to be removed.
func (g *guardian) socket(path string) { g.send("socket %q\n", path) }

// dismiss tells the guardian that nothing is left to do, and waits for its end.
func (g *guardian) dismiss() {
	<-g.started
	if g.pipe == nil {
		return
	}
	g.send("done\n")
	_ = g.pipe.Close()
	if g.start == nil {
		_ = g.cmd.Wait()
	}
}
