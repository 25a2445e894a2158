package e2e_test

import (
	"context"
	"fmt"
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
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// plant is angz in production on one machine: every role a process of its own,
// of most of them two, over a real database and a real broker, with a small
// system of two domains, a saga and a projector that this test binary plays.
type plant struct {
	t         testing.TB
	folder    string
	file      string // the configuration, one for all processes
	processes []*process
	services  []*process
	mark      string
	options   plantOptions
}

// process is one process that a test ends and starts again as it likes.
type process struct {
	t       testing.TB
	name    string // for messages
	role    string
	args    []string
	environ []string
	port    int
	output  *buffer

	mu      sync.Mutex
	command *exec.Cmd
	done    chan struct{}
	err     error
}

// plantOptions say what a plant is made of.
type plantOptions struct {
	database, broker string // URLs; no broker means messaging.type channel
	more             string // further lines of configuration
	prefix           string // of the exchange and the queues, so that plants share a broker
	through          func(role string, port int) int
}

// ports of a plant, by role; two of most.
type plantPorts struct{ aggregate, query, projector, saga, gateway, stream []int }

func newPlant(t testing.TB, o plantOptions) *plant {
	t.Helper()
	p := &plant{t: t, options: o, folder: t.TempDir(), mark: fmt.Sprintf("ANGZ_E2E_MARK=plant-%d", time.Now().UnixNano())}
	p.file = filepath.Join(p.folder, "angz.yaml")
	all := free(t, 15) // at once, so that none is there twice
	ports := plantPorts{all[0:2], all[2:4], all[4:6], all[6:8], all[8:10], all[10:11]}
	services := all[11:]
	p.play("source", "aggregate", services[0])
	p.play("target", "aggregate", services[1])
	p.play("lines", "projector", services[2], "LINES="+filepath.Join(p.folder, "lines"))
	p.play("copier", "saga", services[3])
	through := o.through
	if through == nil {
		through = func(_ string, port int) int { return port }
	}
	p.write(o, ports, services, through)
	for i := range 2 {
		p.add("aggregate", ports.aggregate[i], nil, "ANGZARR_SERVER__EVENT_QUERY_PORT="+strconv.Itoa(ports.query[i]))
		p.add("projector", ports.projector[i], []string{"lines"})
		p.add("saga", ports.saga[i], []string{"copier"})
		p.add("gateway", ports.gateway[i], nil)
	}
	p.add("stream", ports.stream[0], nil)
	t.Cleanup(p.end)
	return p
}

// write writes the configuration that all processes share.
func (p *plant) write(o plantOptions, ports plantPorts, services []int, through func(string, int) int) {
	p.t.Helper()
	list := func(role string, of []int) string {
		var addresses []string
		for _, port := range of {
			addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", through(role, port)))
		}
		return strings.Join(addresses, "|")
	}
	messaging := "messaging: {type: channel}\n"
	if o.broker != "" {
		messaging = fmt.Sprintf("messaging: {type: amqp, amqp: {url: %q, exchange: %q, queue_prefix: %q, queue_type: classic}}\n",
			o.broker, o.prefix+".events", o.prefix+".")
	}
	text := fmt.Sprintf("storage: {type: postgres, postgres: {uri: %q}}\n", o.database) + messaging +
		"server: {host: 127.0.0.1}\n" +
		fmt.Sprintf("gateway: {stream_address: %q}\n", list("stream", ports.stream)) +
		fmt.Sprintf("business_logic:\n  - {name: source, address: %q, coordinator: %q}\n  - {name: target, address: %q, coordinator: %q}\n",
			local(services[0]), list("aggregate", ports.aggregate), local(services[1]), list("aggregate", ports.aggregate)) +
		fmt.Sprintf("projectors:\n  - {name: lines, address: %q, coordinator: %q, domains: [source]}\n", local(services[2]), list("projector", ports.projector)) +
		fmt.Sprintf("sagas:\n  - {name: copier, address: %q, coordinator: %q, domains: [source]}\n", local(services[3]), list("saga", ports.saga)) +
		o.more
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// play adds one of the user's services.
func (p *plant) play(name, as string, port int, environ ...string) {
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.services = append(p.services, &process{
		t: p.t, name: name, role: "service", args: []string{self, as}, port: port, output: &buffer{},
		environ: append([]string{p.mark, "PORT=" + strconv.Itoa(port)}, environ...),
	})
}

// add adds one process of angz.
func (p *plant) add(role string, port int, names []string, environ ...string) {
	args := append([]string{binary, "serve", role}, names...)
	p.processes = append(p.processes, &process{
		t: p.t, name: fmt.Sprintf("%s at %d", role, port), role: role, args: append(args, "--config", p.file), port: port, output: &buffer{},
		environ: append([]string{p.mark, "ANGZARR_TRANSPORT__TCP__PORT=" + strconv.Itoa(port)}, environ...),
	})
}

// begin starts everything and waits until all of it serves.
func (p *plant) begin() {
	p.t.Helper()
	for _, process := range p.all() {
		process.start()
	}
	p.awaitServing()
}

func (p *plant) all() []*process {
	return append(append([]*process(nil), p.services...), p.processes...)
}

// of returns the processes of a role.
func (p *plant) of(role string) []*process {
	var found []*process
	for _, process := range p.processes {
		if process.role == role {
			found = append(found, process)
		}
	}
	return found
}

func (p *plant) awaitServing() {
	p.t.Helper()
	for _, process := range p.all() {
		process.awaitServing()
	}
}

// end stops everything, in order where it still runs, and checks that nothing is
// left.
func (p *plant) end() {
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].stop()
	}
	for _, service := range p.services {
		service.stop()
	}
	if p.t.Failed() {
		for _, process := range p.all() {
			p.t.Logf("%s said:\n%s", process.name, tail(process.output.String()))
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for left := marked(p.mark); len(left) > 0; left = marked(p.mark) {
		if time.Now().After(deadline) {
			p.t.Errorf("processes are left behind: %v", left)
			return
		}
		time.Sleep(5 * time.Millisecond) // nothing signals the end of a stranger's child
	}
}

// tail returns the end of a long text.
func tail(text string) string {
	const most = 8000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

func (p *process) start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	command := exec.Command(p.args[0], p.args[1:]...)
	command.Env = append(os.Environ(), p.environ...)
	command.Stdout, command.Stderr = p.output, p.output
	command.SysProcAttr = diesWithTest()
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.command, p.done, p.err = command, done, nil
	go func() {
		err := command.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
}

func (p *process) running() (process *os.Process, done chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		return nil, nil
	}
	return p.command.Process, p.done
}

// signal sends a signal, such as SIGSTOP.
func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	process, _ := p.running()
	if err := process.Signal(signal); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill ends the process at once and returns when it is gone.
func (p *process) kill() {
	p.t.Helper()
	process, done := p.running()
	_ = process.Kill() // fails when it has just ended by itself
	<-done
}

// stop ends the process in order; one that does not end, or not with 0, is a
// fault. One that has not been started or has ended is left alone.
func (p *process) stop() {
	process, done := p.running()
	if process == nil {
		return
	}
	select {
	case <-done:
		return
	default:
	}
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err != nil {
			p.t.Errorf("after SIGTERM %s ended with %v:\n%s", p.name, p.err, tail(p.output.String()))
		}
	case <-time.After(40 * time.Second):
		_ = process.Kill()
		<-done
		p.t.Errorf("%s did not stop:\n%s", p.name, tail(p.output.String()))
	}
}

// awaitServing waits until the process's health service says that it serves.
func (p *process) awaitServing() { p.awaitHealth(healthpb.HealthCheckResponse_SERVING) }

// awaitNotServing waits until it says that it does not serve.
func (p *process) awaitNotServing() { p.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING) }

func (p *process) awaitHealth(want healthpb.HealthCheckResponse_ServingStatus) {
	p.t.Helper()
	conn := dialLocal(p.t, p.port)
	defer conn.Close()
	_, done := p.running()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), 90*time.Second)
	defer cancel()
	for {
		answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && answer.Status == want {
			return
		}
		select {
		case <-done:
			p.t.Fatalf("%s ended with %v:\n%s", p.name, p.err, tail(p.output.String()))
		case <-ctx.Done():
			p.t.Fatalf("%s does not become %s: %v, %v\n%s", p.name, want, answer.GetStatus(), err, tail(p.output.String()))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func dialLocal(t testing.TB, port int) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(local(port), grpc.WithTransportCredentials(insecure.NewCredentials()), eagerly)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
