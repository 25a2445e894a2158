package features_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/servertest"
)

// startup is how long a process may take until it serves, among many others.
const startup = time.Minute

// child is one role of angz, a process of its own.
type child struct {
	name    string // for messages: "projector receipt"
	command *exec.Cmd
	ready   chan struct{} // closed when it says that everything it needs is there
	done    chan struct{} // closed when it has ended
	err     error         // what it ended with; read after done

	mu     sync.Mutex // guards the rest
	served []node.Endpoint
	said   []string
}

// startChild starts angz serve with these words and variables.
func startChild(binary string, words, environ []string) (*child, error) {
	c := &child{
		name: strings.Join(words, " "), command: exec.Command(binary, append([]string{"serve"}, words...)...),
		ready: make(chan struct{}), done: make(chan struct{}),
	}
	c.command.Env = environ // and nothing that happens to be set here
	log, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.command.Stderr = writer
	err = servertest.Start(c.command)
	_ = writer.Close() // it is the child's
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		defer close(c.done)
		c.listen(log)
		c.err = c.command.Wait()
	}()
	return c, nil
}

// listen reads the child's log until the child has ended.
func (c *child) listen(log io.ReadCloser) {
	defer log.Close()
	ready := sync.OnceFunc(func() { close(c.ready) })
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 16<<20) // a line that does not fit would hold the child up
	for lines.Scan() {
		line := struct{ Msg, Address string }{}
		_ = json.Unmarshal(lines.Bytes(), &line) // the end of a child that broke down is no JSON
		c.mu.Lock()
		c.said = append(c.said, lines.Text())
		if role, found := strings.CutPrefix(line.Msg, "serving the "); found {
			c.served = append(c.served, node.Endpoint{Role: strings.TrimSuffix(role, " role"), Address: line.Address})
		}
		c.mu.Unlock()
		if strings.HasPrefix(line.Msg, "ready") {
			ready()
		}
	}
}

func (c *child) awaitReady() error {
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return c.explain(fmt.Errorf("it ended with %w", c.err))
	case <-time.After(startup):
		return c.explain(fmt.Errorf("it was not ready after %s", startup))
	}
}

// stop asks the child to end, which it is to do in order.
func (c *child) stop() error {
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		c.kill()
		return c.explain(fmt.Errorf("it did not stop within %s", patience))
	}
	if c.err != nil {
		return c.explain(fmt.Errorf("it ended with %w", c.err))
	}
	return nil
}

// kill ends the child without warning, if it lives, and returns when it is gone.
func (c *child) kill() {
	_ = c.command.Process.Kill()
	<-c.done
}

func (c *child) endpoints() []node.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]node.Endpoint(nil), c.served...)
}

// explain adds what the child has said to what is wrong with it.
func (c *child) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Errorf("%s: %w; it said:\n%s", c.name, err, strings.Join(c.said, "\n"))
}

// said is what all processes of the scenario have said, also those that ended
// before others took their places.
func (w *world) said() string {
	var all strings.Builder
	for _, one := range w.processes {
		one.mu.Lock()
		fmt.Fprintf(&all, "%s:\n%s\n", one.name, strings.Join(one.said, "\n"))
		one.mu.Unlock()
	}
	return all.String()
}
