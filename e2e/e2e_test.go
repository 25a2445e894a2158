// Package e2e_test uses angz from the outside, as people do: the real binary, real
// child processes, real sockets, and every way of pulling the plug.
package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// binary is the angz under test.
var binary string

func TestMain(m *testing.M) {
	// Processes that play a user's service are told what; see services_test.go.
	if len(os.Args) == 2 && !strings.HasPrefix(os.Args[1], "-") {
		play(os.Args[1])
		return
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	folder, err := os.MkdirTemp("", "angz-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	binary = filepath.Join(folder, "angz")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../cmd/angz")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build angz: %v\n%s", err, output)
		return 1
	}
	defer postgres.Close()
	defer rabbit.Close()
	return m.Run()
}

// dev is a running "angz dev".
type dev struct {
	t       testing.TB
	process *exec.Cmd
	output  *buffer
	ports   ports
	mark    string // in the environment of angz and everything it starts
	done    chan struct{}
	err     error // how it ended, once done
}

// ports are where a dev listens.
type ports struct{ aggregate, query, gateway, stream int }

// seedPorts are the ones in the documentation.
var seedPorts = ports{1313, 1314, 1316, 50051}

// free returns ports that nobody listens on. They are below those that the
// system gives to outgoing connections, one of which would soon take a port again
// that was only looked at.
func free(t testing.TB, count int) []int {
	t.Helper()
	// A process that is just being started would keep the ports open until it is.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var found []int
	for tries := 0; len(found) < count; tries++ {
		port := 10_000 + rand.IntN(18_000)
		if port >= 21_000 { // angz gives those from 21,000 to 25,000 to services
			port += 4_000
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			if tries > 1000 {
				t.Fatal(err)
			}
			continue
		}
		defer listener.Close()
		found = append(found, port)
	}
	return found
}

func freePorts(t testing.TB) ports {
	t.Helper()
	found := free(t, 4)
	return ports{found[0], found[1], found[2], found[3]}
}

func (p ports) environ() []string {
	return []string{
		"ANGZARR_SERVER__AGGREGATE_PORT=" + strconv.Itoa(p.aggregate), "ANGZARR_SERVER__EVENT_QUERY_PORT=" + strconv.Itoa(p.query),
		"ANGZARR_GATEWAY__PORT=" + strconv.Itoa(p.gateway), "ANGZARR_STREAM__PORT=" + strconv.Itoa(p.stream),
	}
}

// startDev starts "angz dev" on a project's folder, or on a configuration file,
// and waits until it takes commands. The test's end stops it and checks that
// nothing is left.
func startDev(t testing.TB, project string, at ports, environ ...string) *dev {
	t.Helper()
	d := launchDev(t, project, at, environ...)
	t.Cleanup(d.stop)
	d.awaitHealth(at.gateway)
	return d
}

// launchDev starts "angz dev" and waits for nothing. Whoever calls it stops it.
func launchDev(t testing.TB, project string, at ports, environ ...string) *dev {
	t.Helper()
	d := &dev{t: t, output: &buffer{}, ports: at, mark: fmt.Sprintf("ANGZ_E2E_MARK=%s-%d", filepath.Base(project), time.Now().UnixNano()), done: make(chan struct{})}
	d.process = exec.Command(binary, "dev", project)
	if strings.HasSuffix(project, ".yaml") {
		d.process = exec.Command(binary, "dev", "--config", project)
	}
	d.process.Env = append(append(append(os.Environ(), at.environ()...), environ...), d.mark)
	d.process.Stdout, d.process.Stderr = d.output, d.output
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.process.Wait()
		close(d.done)
	}()
	return d
}

// awaitHealth waits until the server on a port says that it serves.
func (d *dev) awaitHealth(port int) {
	d.t.Helper()
	conn := d.dial(port)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), 2*time.Minute)
	defer cancel()
	for {
		answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err == nil && answer.Status == healthpb.HealthCheckResponse_SERVING {
			return
		}
		select {
		case <-d.done:
			d.t.Fatalf("angz dev ended with %v:\n%s", d.err, d.output)
		case <-ctx.Done():
			d.t.Fatalf("angz dev does not become healthy: %v\n%s", err, d.output)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (d *dev) dial(port int) *grpc.ClientConn {
	d.t.Helper()
	conn, err := grpc.NewClient("127.0.0.1:"+strconv.Itoa(port), grpc.WithTransportCredentials(insecure.NewCredentials()), eagerly)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// eagerly has a connection tried again at once: by default the second attempt
// comes after a second, and most of a test would be waiting for that.
var eagerly = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 5 * time.Millisecond},
	MinConnectTimeout: 5 * time.Second,
})

// stop ends angz in order and checks that nothing is left behind.
func (d *dev) stop() {
	select {
	case <-d.done:
		return
	default:
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		if d.err != nil {
			d.t.Errorf("after SIGTERM angz dev ended with %v:\n%s", d.err, d.output)
		}
	case <-time.After(2 * time.Minute):
		_ = d.process.Process.Kill()
		<-d.done
		d.t.Errorf("angz dev did not stop:\n%s", d.output)
	}
	d.checkNothingLeft()
}

// kill ends angz with SIGKILL and checks that nothing is left behind.
func (d *dev) kill() {
	d.t.Helper()
	if err := d.process.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	<-d.done
	d.checkNothingLeft()
}

// checkNothingLeft waits a moment for the processes of this dev to be gone.
func (d *dev) checkNothingLeft() {
	d.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		left := marked(d.mark)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			d.t.Errorf("processes are left behind: %v\n%s", left, d.output)
			return
		}
		time.Sleep(2 * time.Millisecond) // nothing signals the end of a stranger's child
	}
	for _, port := range []int{d.ports.aggregate, d.ports.query, d.ports.gateway, d.ports.stream} {
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			d.t.Errorf("port %d is left behind: %v", port, err)
			continue
		}
		_ = listener.Close()
	}
}

// marked lists the running processes with this entry in their environment.
func marked(mark string) (left []string) {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte(mark)) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if text := strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " ")); text != "" {
			left = append(left, filepath.Base(filepath.Dir(path))+" "+text)
		}
	}
	return left
}

// buffer collects output and is safe for concurrent use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
