// Package servertest starts real servers for tests: what a driver promises is
// worth only as much as the server it was tried on. Servers run on free ports of
// the loopback, keep their data in temporary folders, and are gone when the test
// process is.
package servertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// rabbitPatience is how long a broker may take to start: 12 to 17 seconds on two
// quiet cores, more while everything else is tested.
const rabbitPatience = 2 * time.Minute

// Rabbit is a RabbitMQ of one test process. It takes long to start, so TestMain
// begins early, and all tests of the process share it:
//
//	broker := servertest.NewRabbit()
//	broker.Begin()
//	code := m.Run()
//	broker.Close()
//
// Its methods may be called from many goroutines, but Stop, Kill, Lose and
// Restart concern everybody who uses it.
type Rabbit struct {
	settings []string
	begin    sync.Once
	begun    chan struct{} // closed when the first start has succeeded or failed
	err      error         // of the first start; read after begun

	mu         sync.Mutex // guards the rest; held while the broker starts or stops
	folder     string
	port       int
	epmd       *exec.Cmd
	server     *exec.Cmd
	background sync.WaitGroup
}

// NewRabbit returns a broker that has not been started, with lines of its
// configuration file beyond the address.
func NewRabbit(settings ...string) *Rabbit {
	return &Rabbit{settings: settings, begun: make(chan struct{})}
}

// Begin starts the broker in the background.
func (r *Rabbit) Begin() {
	r.begin.Do(func() {
		r.background.Go(func() {
			defer close(r.begun)
			r.err = r.start()
		})
	})
}

// Use starts the broker if need be, waits until it serves, and returns its URL.
// The test fails when there is no broker to be had.
func (r *Rabbit) Use(t testing.TB) string {
	t.Helper()
	r.Begin()
	<-r.begun
	if r.err != nil {
		t.Fatalf("start RabbitMQ: %v", r.err)
	}
	return "amqp://guest:guest@" + r.Address() + "/"
}

// Address returns the broker's host and port, which stay the same over restarts.
func (r *Rabbit) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Stop lets the broker finish, as an operator does.
func (r *Rabbit) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end(syscall.SIGTERM)
}

// Kill ends the broker at once, as kill -9 does.
func (r *Rabbit) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end(os.Kill)
}

// Lose ends the broker and removes its data: users, queues and messages.
func (r *Rabbit) Lose() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.end(os.Kill), os.RemoveAll(filepath.Join(r.folder, "mnesia")))
}

// Restart starts the broker after Stop, Kill or Lose and waits until it serves.
func (r *Rabbit) Restart() error { return r.start() }

// Freeze stops the broker where it is, as a machine does that is suspended.
func (r *Rabbit) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw lets a frozen broker go on.
func (r *Rabbit) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Rabbit) signal(signal os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return errors.New("the broker does not run")
	}
	return r.server.Process.Signal(signal)
}

// Close ends the broker and everything that came with it.
func (r *Rabbit) Close() {
	r.begin.Do(func() { close(r.begun) })
	r.background.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.end(os.Kill)
	if r.epmd != nil {
		_ = r.epmd.Process.Kill()
		_ = r.epmd.Wait()
		r.epmd = nil
	}
	if r.folder != "" {
		_ = os.RemoveAll(r.folder)
	}
}

func (r *Rabbit) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		return errors.New("the broker runs already")
	}
	if r.folder == "" {
		if err := r.prepare(); err != nil {
			return err
		}
	}
	output, err := os.OpenFile(filepath.Join(r.folder, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	script, err := rabbitScript()
	if err != nil {
		return err
	}
	server := exec.Command(script)
	server.Env, server.Dir, server.Stdout, server.Stderr = r.environment(), r.folder, output, output
	if err := startWithParent(server); err != nil {
		return err
	}
	r.server = server
	if err := awaitAMQP(r.Address()); err != nil {
		_ = r.end(os.Kill)
		said, _ := os.ReadFile(output.Name())
		return fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return nil
}

// prepare makes the folder and starts the name server, which Erlang would
// otherwise start by itself and leave behind.
func (r *Rabbit) prepare() error {
	folder, err := os.MkdirTemp("", "angz-rabbit")
	if err != nil {
		return err
	}
	r.folder, r.port = folder, freePort()
	epmdPort, distribution := freePort(), freePort()
	for name, content := range map[string]string{
		"rabbitmq.conf": strings.Join(append(r.settings, "listeners.tcp.1 = "+r.Address(), "log.file.level = warning", ""), "\n"), "plugins": "[].\n", "env.conf": "",
		"ports": fmt.Sprintf("%d %d", epmdPort, distribution),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	epmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", strconv.Itoa(epmdPort))
	if err := startWithParent(epmd); err != nil {
		return fmt.Errorf("start Erlang's name server: %w; install rabbitmq-server with the package manager (.ci/deps does)", err)
	}
	r.epmd = epmd
	return awaitPort(epmdPort)
}

func (r *Rabbit) environment() []string {
	var epmd, distribution int
	ports, _ := os.ReadFile(filepath.Join(r.folder, "ports"))
	_, _ = fmt.Sscan(string(ports), &epmd, &distribution)
	in := func(name string) string { return filepath.Join(r.folder, name) }
	return append(os.Environ(),
		"HOME="+r.folder, // where Erlang keeps its cookie
		"RABBITMQ_NODENAME=angz"+strconv.Itoa(r.port)+"@localhost",
		"RABBITMQ_DIST_PORT="+strconv.Itoa(distribution), "ERL_EPMD_PORT="+strconv.Itoa(epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_MNESIA_BASE="+in("mnesia"), "RABBITMQ_LOG_BASE="+in("log"), "RABBITMQ_PID_FILE="+in("pid"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("plugins"), "RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE="+in("env.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("none.config"),
		// Makes the script become the broker, so that signals reach it.
		"RUNNING_UNDER_SYSTEMD=1",
	)
}

// end stops the server by a signal.
func (r *Rabbit) end(signal os.Signal) error {
	if r.server == nil {
		return nil
	}
	server := r.server
	r.server = nil
	if err := server.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError
	if err := server.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// rabbitScript finds the release's own script. The one on the path changes the
// user and ignores the environment.
func rabbitScript() (string, error) {
	for _, pattern := range []string{"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", errors.New("there is no RabbitMQ on this machine; install rabbitmq-server with the package manager (.ci/deps does)")
}

// awaitAMQP waits until the broker answers a protocol header.
func awaitAMQP(address string) error {
	var err error
	for deadline := time.Now().Add(rabbitPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = greet(address); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the broker does not answer within %s: %w", rabbitPatience, err)
}

func greet(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 7))
	return err
}

func awaitPort(port int) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return conn.Close()
		}
	}
	return err
}

// freePort returns a port of the loopback that nobody has right now.
func freePort() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// CPU is the processor time that the broker has used, where the system tells.
func (r *Rabbit) CPU() (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return 0, errors.New("the broker does not run")
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.server.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses, which may contain anything.
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("unknown form of /proc/PID/stat: %s", line)
	}
	var ticks time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond, nil
}
