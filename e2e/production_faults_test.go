package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/servertest"
)

// The servers of this test process, started when a test first wants them.
var (
	postgres = servertest.NewDurablePostgres()
	rabbit   = servertest.NewRabbit()
)

// production returns a plant that runs, over a database of its own and the broker
// of the process.
func production(t *testing.T) *plant {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a database, a broker and a dozen processes")
	}
	rabbit.Begin() // it takes long
	p := newPlant(t, plantOptions{database: postgres.Use(t), broker: rabbit.Use(t), prefix: path.Base(t.Name())})
	p.begin()
	return p
}

// enough waits until so many commands have been acknowledged.
func (l *load) enough(count int64) {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for l.acknowledged() < count {
		if time.Now().After(deadline) {
			l.t.Errorf("only %d commands were acknowledged in a minute; clients were told:\n%s", l.acknowledged(), &l.failures)
			return
		}
		time.Sleep(5 * time.Millisecond) // other processes send no signal
	}
}

// more waits until so many further commands have been acknowledged.
func (l *load) more(count int64) { l.enough(l.acknowledged() + count) }

// TestProductionWithoutFaults is what the others are compared with, and stopping
// in order must look the same to clients.
func TestProductionWithoutFaults(t *testing.T) {
	p := production(t)
	load := p.startLoad("calm", writers)
	load.enough(1000)
	for _, role := range []string{"aggregate", "projector", "saga"} {
		for _, process := range p.of(role) {
			process.stop()
			process.start()
			process.awaitServing()
			load.more(50)
		}
	}
	p.settle(load)
	if text := load.failures.String(); text != "" {
		t.Errorf("clients were told: %s", text)
	}
	p.seesEverything()
}

// seesEverything asks through a gateway what people ask, of processes that share a
// log and know different services.
func (p *plant) seesEverything() {
	p.t.Helper()
	address := fmt.Sprintf("localhost:%d", p.of("gateway")[0].port)
	sees := func(words []string, wanted ...string) string {
		p.t.Helper()
		out, said, code := cli(p.t.TempDir(), append(words, "--address", address)...)
		if code != 0 {
			p.t.Errorf("angz %s: exit code %d\n%s%s", strings.Join(words, " "), code, out, said)
		}
		for _, word := range wanted {
			if !strings.Contains(out, word) {
				p.t.Errorf("angz %s does not show %s:\n%s", strings.Join(words, " "), word, clip(out))
			}
		}
		return out
	}
	sees([]string{"domains"}, "source", "target")
	sees([]string{"roots"}, "calm-")
	sees([]string{"roots", "source", "calm-0"}, "calm-0")
	sees([]string{"projections"}, "projector/", "saga/")
	sees([]string{"topology", "--output", "json"}, "source", "postgres", "amqp", `"to":["target"]`)
	last := sees([]string{"tail", "source", "calm-0", "--last", "10000", "--once", "--output", "json"}, "correlation_id")
	lines := strings.Split(strings.TrimSpace(last), "\n")
	var event struct {
		Correlation string `json:"correlation_id"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &event); err != nil {
		p.t.Fatal(err)
	}
	sees([]string{"trace", event.Correlation}, "source calm-0", "→ target")
	if _, said, code := cli(p.t.TempDir(), "state", "source", "calm-0", "--address", address); code != 1 || !strings.Contains(said, "does not offer Replay") {
		p.t.Errorf("angz state: exit code %d\n%s", code, said)
	}
}

// TestKillMinusNineOfAnyRoleLosesAndDoublesNothing kills every process in turn at
// random moments. ANGZ_PRODUCTION_ROUNDS says how often.
func TestKillMinusNineOfAnyRoleLosesAndDoublesNothing(t *testing.T) {
	p := production(t)
	load := p.startLoad("killed", writers)
	load.enough(200)
	p.killAtRandom(rounds(t))
	p.settle(load)
}

// TestARebuildSurvivesItsProcesses has a read model made anew while events come, and
// kills whoever may be at it.
func TestARebuildSurvivesItsProcesses(t *testing.T) {
	p := production(t)
	load := p.startLoad("rebuilt", writers)
	load.enough(500)
	address := fmt.Sprintf("localhost:%d", p.of("gateway")[0].port)
	for _, flag := range []string{"--detach", "--timeout=2m"} {
		if _, said, code := cli(t.TempDir(), "projections", "rebuild", "lines", "--yes", flag, "--address", address); code != 0 {
			t.Fatalf("angz projections rebuild: exit code %d\n%s", code, said)
		}
		for _, victim := range append(p.of("projector"), p.of("service")...) {
			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond) // the random moment is the test
			victim.kill()
			victim.start()
			load.more(20)
		}
	}
	p.settle(load)
}

// TestAFrozenProcessIsFencedOff stops one of each role for longer than a lease and
// lets it go on.
func TestAFrozenProcessIsFencedOff(t *testing.T) {
	p := production(t)
	load := p.startLoad("frozen", writers)
	load.enough(200)
	p.freeze([]*process{p.of("projector")[0], p.of("saga")[0], p.of("aggregate")[0]}, 20*time.Second)
	load.more(200)
	p.settle(load)
}

// TestTheDatabaseComesAndGoes ends connections at random and the whole server.
func TestTheDatabaseComesAndGoes(t *testing.T) {
	p := production(t)
	load := p.startLoad("database", writers)
	load.enough(200)
	for range 20 {
		if _, err := postgres.Terminate(t.Context(), p.database(), 0.3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // the random moment is the test
	}
	for range 3 {
		load.more(50)
		if err := postgres.Stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		if err := postgres.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	load.more(200)
	p.settle(load)
}

// database returns the name of the plant's database.
func (p *plant) database() string {
	_, name, _ := strings.Cut(strings.TrimPrefix(p.options.database, "postgres://"), "/")
	return name
}

// TestTheBrokerComesAndGoes restarts the broker, and then lets it lose all it had.
// Commands go on without it.
func TestTheBrokerComesAndGoes(t *testing.T) {
	p := production(t)
	load := p.startLoad("broker", writers)
	load.enough(200)
	for _, end := range []func() error{rabbit.Kill, rabbit.Lose} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		load.more(100)
		if err := rabbit.Restart(); err != nil {
			t.Fatal(err)
		}
		load.more(100)
	}
	p.settle(load)
}

// TestTheNetworkIsCut cuts the ways between processes, and to the database and the
// broker, one after the other.
func TestTheNetworkIsCut(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a database, a broker and a dozen processes")
	}
	rabbit.Begin()
	ways := map[string]*servertest.Proxy{}
	way := func(name, to string) *servertest.Proxy {
		proxy := servertest.NewProxy(t, to)
		ways[name] = proxy
		return proxy
	}
	uri, url := postgres.Use(t), rabbit.Use(t)
	uri = strings.Replace(uri, postgres.Address(), way("database", postgres.Address()).Address(), 1)
	url = strings.Replace(url, rabbit.Address(), way("broker", rabbit.Address()).Address(), 1)
	p := newPlant(t, plantOptions{database: uri, broker: url, prefix: t.Name(), through: func(role string, port int) int {
		return way(role, local(port)).Port()
	}})
	p.begin()
	load := p.startLoad("cut", writers)
	load.enough(200)
	for round := range 2 {
		for name, proxy := range ways {
			proxy.Cut()
			time.Sleep(time.Duration(200+rand.IntN(800*(round+1))) * time.Millisecond)
			proxy.Mend()
			load.more(20)
			if t.Failed() {
				t.Fatalf("after the way to the %s was cut", name)
			}
		}
	}
	p.settle(load)
}

// TestAbsentServersAreWaitedFor starts every role before its database, and lets it
// find it.
func TestAbsentServersAreWaitedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a database, a broker and a dozen processes")
	}
	rabbit.Begin()
	uri := postgres.Use(t)
	proxy := servertest.NewProxy(t, postgres.Address())
	proxy.Cut()
	p := newPlant(t, plantOptions{database: strings.Replace(uri, postgres.Address(), proxy.Address(), 1), broker: rabbit.Use(t), prefix: t.Name()})
	for _, process := range p.all() {
		process.start()
	}
	for _, process := range p.processes {
		process.awaitNotServing()
	}
	proxy.Mend()
	p.awaitServing()
	load := p.startLoad("late", writers)
	load.enough(100)
	proxy.Cut()
	for _, role := range []string{"aggregate", "projector", "saga", "stream"} {
		p.of(role)[0].awaitNotServing()
	}
	proxy.Mend()
	p.awaitServing()
	load.more(100)
	p.settle(load)
}

// TestSignalsWhileWaiting: what waits for its database stops when it is told to.
func TestSignalsWhileWaiting(t *testing.T) {
	t.Parallel()
	p := newPlant(t, plantOptions{database: "postgres://nobody@" + local(free(t, 1)[0]) + "/none"})
	waiting := p.of("projector")[0]
	waiting.start()
	waiting.awaitNotServing()
	waiting.signal(syscall.SIGTERM)
	_, done := waiting.running()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it does not stop")
	}
	if waiting.err != nil {
		t.Errorf("it ended with %v:\n%s", waiting.err, waiting.output)
	}
}

// TestAPoisonousEventStopsItsAggregateOnly sends, under load, what the projector
// cannot take, and has it skipped as a person does.
func TestAPoisonousEventStopsItsAggregateOnly(t *testing.T) {
	p := production(t)
	load := p.startLoad("healthy", writers)
	gateway := p.of("gateway")[0]
	conn := dialLocal(t, gateway.port)
	defer conn.Close()
	commands := pb.NewAggregateCoordinatorClient(conn)
	for number, value := range []string{"0", poison, "2", "3"} {
		_, err := commands.Handle(t.Context(), &pb.CommandBook{
			Cover: &pb.Cover{Domain: "source", AggregateId: "poisoned"},
			Pages: []*pb.CommandPage{{Sequence: uint32(number), Command: &anypb.Any{TypeUrl: "e2e.Do", Value: []byte(value)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	dlq := func(args ...string) string {
		t.Helper()
		output, err := exec.Command(binary, append(args, "--address", local(gateway.port))...).CombinedOutput()
		if err != nil {
			t.Fatalf("angz %q: %v\n%s", args, err, output)
		}
		return string(output)
	}
	listed := within(time.Minute, 3, func() []string {
		return strings.Split(strings.TrimSpace(dlq("dlq", "list", "--output", "json")), "\n")
	})
	if len(listed) != 3 || !strings.Contains(listed[0], "this event cannot be projected") {
		t.Fatalf("the dead letters are:\n%s", strings.Join(listed, "\n"))
	}
	load.more(200)
	dlq("dlq", "skip", "projector/lines", position(t, listed[0]), "--note", "it was a test")

	root := book.Root("source", "poisoned")
	want := []string{fmt.Sprintf("%x/0/0", root[:]), fmt.Sprintf("%x/2/2", root[:]), fmt.Sprintf("%x/3/3", root[:])}
	got := within(time.Minute, len(want), func() []string { return p.linesOf("poisoned") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the skip:\n%s", diff)
	}
	p.settle(load)
}

// position returns the position in a dead letter as angz prints it.
func position(t *testing.T, letter string) string {
	t.Helper()
	var read struct{ Position json.Number }
	if err := json.Unmarshal([]byte(letter), &read); err != nil || read.Position == "" {
		t.Fatalf("no position in %s: %v", letter, err)
	}
	return read.Position.String()
}

// linesOf returns what the read model has of an aggregate.
func (p *plant) linesOf(name string) []string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, "lines"))
	if err != nil {
		p.t.Fatal(err)
	}
	root := book.Root("source", name)
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		return !strings.HasPrefix(line, fmt.Sprintf("%x/", root[:]))
	})
}
