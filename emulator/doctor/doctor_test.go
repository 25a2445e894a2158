package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// makeProject writes an angz.yaml into a new folder and loads it.
func makeProject(t *testing.T, text string) Options {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "away"), 0o700), os.WriteFile(filepath.Join(dir, "angz.yaml"), []byte(ownPorts+text), 0o600)); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{Dir: dir, Dev: true})
	return Options{Config: loaded, Mistakes: err, Dir: dir, Dev: true, Version: "test", Within: 20 * time.Second}
}

// ownPorts lets angz choose its ports, so that tests do not depend on what runs here.
const ownPorts = "server: {aggregate_port: 0, event_query_port: 0}\ngateway: {port: 0}\nstream: {port: 0}\n"

// about returns what was found about one thing.
func about(findings []Finding, what string) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.What != what })
}

// expect checks that there is one finding about something, that it is of a state
// and says a text.
func expect(t *testing.T, findings []Finding, state node.State, what, text string) {
	t.Helper()
	for _, f := range about(findings, what) {
		if f.State == state && strings.Contains(f.Text+": "+f.Fix, text) {
			if state != node.OK && f.Fix == "" && !strings.ContainsAny(f.Text, ":;") {
				t.Errorf("%s: %q does not say what to do", what, f.Text)
			}
			return
		}
	}
	t.Errorf("there is no %s about %s that says %q in\n%+v", state, what, text, about(findings, what))
}

func TestAProjectInOrderHasNoProblem(t *testing.T) {
	t.Parallel()
	found := Examine(t.Context(), makeProject(t, "domains: [{name: order, run: sh order.sh}]\n"))
	for _, f := range found {
		if f.State == node.Problem {
			t.Errorf("%s: %s", f.What, f.Text)
		}
	}
	expect(t, found, node.OK, "angz.yaml", "is right")
	expect(t, found, node.OK, "angz dev", "does not run")
	expect(t, found, node.OK, "domain order", "can be started: sh order.sh")
	expect(t, found, node.OK, "store", "dev.db is made")
	expect(t, found, node.OK, ".angz", "room for")
}

func TestWithoutAProjectTheMachineIsExamined(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	loaded, err := config.Load(config.Options{Dir: dir, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	found := Examine(t.Context(), Options{Config: loaded, Dir: dir, Dev: true, Version: "test"})
	expect(t, found, node.OK, "angz.yaml", "there is none")
	expect(t, found, node.OK, "clock", "UTC")
	if got := about(found, "store"); len(got) > 0 {
		t.Errorf("there is no store: %+v", got)
	}
}

func TestAllMistakesOfTheFileAreFindings(t *testing.T) {
	t.Parallel()
	found := Examine(t.Context(), makeProject(t, "domain: []\nstorage: {type: sqlit}\n"))
	expect(t, found, node.Problem, "angz.yaml", `did you mean "domains"`)
	expect(t, found, node.Problem, "angz.yaml", `did you mean "sqlite"`)
	expect(t, found, node.OK, "clock", "UTC")
}

func TestServicesThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	options := makeProject(t, `domains:
  - {name: nofolder, dir: away, run: go run .}
  - {name: noprogram, run: no-such-program serve}
  - {name: noscript, run: ./serve.sh}
  - {name: built, build: sh make.sh, run: bin/serve}
  - {name: shell, run: "cd x && whatever"}
  - {name: words, run: [no-such-program, serve]}
  - {name: assigned, run: A=1 exec no-such-program}
`)
	if err := os.Remove(filepath.Join(options.Dir, "away")); err != nil {
		t.Fatal(err)
	}
	found := Examine(t.Context(), options)
	expect(t, found, node.Problem, "domain nofolder", "its folder "+filepath.Join(options.Dir, "away")+" is not there")
	expect(t, found, node.Problem, "domain noprogram", "there is no program no-such-program")
	expect(t, found, node.Problem, "domain noscript", "there is no program ./serve.sh")
	expect(t, found, node.OK, "domain built", "bin/serve")
	expect(t, found, node.OK, "domain shell", "")
	expect(t, found, node.Problem, "domain words", "no-such-program")
	expect(t, found, node.Problem, "domain assigned", "no-such-program")
}

func TestPortsThatOthersHave(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	found := Examine(t.Context(), makeProject(t, fmt.Sprintf("domains: [{name: order, run: sh o.sh, address: '127.0.0.1:%d'}]\n", port)))
	what := fmt.Sprintf("port %d", port)
	expect(t, found, node.Problem, what, "(domain order) is in use by ")
	if self := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(about(found, what)[0].Text, self) && fileExists("/proc/net/tcp") {
		t.Errorf("it is not said that it is %s: %+v", self, about(found, what))
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestSocketsThatWereLeftBehind(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("/tmp", "angz") // short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	stale := filepath.Join(base, "business-order.sock")
	listener, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
	if err := os.WriteFile(filepath.Join(base, "saga-loyalty.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found := Examine(t.Context(), makeProject(t, "transport: {type: uds, uds: {base_path: "+base+"}}\ndomains: [{name: order, run: sh o.sh}]\nsagas: [{name: loyalty, run: sh l.sh}]\n"))
	expect(t, found, node.Warning, "sockets", stale+" was left behind")
	expect(t, found, node.Problem, "sockets", "saga-loyalty.sock is there and is no socket")
}

func TestARunningEmulatorThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	options := makeProject(t, "domains: [{name: order, run: sh o.sh}]\n")
	claim, err := control.Acquire(control.Self{Project: "p", Dir: options.Dir, Environ: []string{"XDG_RUNTIME_DIR=" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = claim.Release() })
	options.Within = time.Second
	found := Examine(t.Context(), options)
	expect(t, found, node.Problem, "angz dev", fmt.Sprintf("process %d runs the project, but does not answer", os.Getpid()))
	expect(t, found, node.OK, "ports", "are those of the running angz dev")
}

func TestAStoreOfANewerAngz(t *testing.T) {
	t.Parallel()
	options := makeProject(t, "domains: [{name: order, run: sh o.sh}]\n")
	if err := os.MkdirAll(filepath.Join(options.Dir, ".angz"), 0o700); err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 4096)
	copy(header, "SQLite format 3\x00")
	copy(header[60:], []byte{0, 0, 0, 99})
	copy(header[68:], "angz")
	if err := os.WriteFile(filepath.Join(options.Dir, ".angz", "dev.db"), header, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, Examine(t.Context(), options), node.Problem, "store", "was written by a newer angz")
}

func TestAFileFromTheFuture(t *testing.T) {
	t.Parallel()
	options := makeProject(t, "domains: [{name: order, run: sh o.sh}]\n")
	folder := filepath.Join(options.Dir, ".angz")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(folder, later, later); err != nil {
		t.Fatal(err)
	}
	expect(t, (&options).clock(t.Context()), node.Warning, "clock", "was written at")
	options.Built = later
	expect(t, (&options).clock(t.Context()), node.Problem, "clock", "before this angz was made")
}

// A check that hangs costs its bound, whether or not it listens to its context.
func TestAHungCheckIsAFinding(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	found := bounded(t.Context(), time.Millisecond, node.Check{What: "drive", Run: func(context.Context) []Finding { <-never; return nil }})
	if len(found) != 1 || found[0].State != node.Problem || found[0].What != "drive" || !strings.Contains(found[0].Text, "no answer within 1ms") {
		t.Errorf("found %+v", found)
	}
}

// A backend that accepts connections and says nothing is found out in time.
func TestABackendThatHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	address := silent.Addr().String()
	options := makeProject(t, "storage: {type: postgres, postgres: {uri: 'postgres://angz:s3cret@"+address+"/shop'}}\n"+
		"messaging: {type: amqp, amqp: {url: 'amqp://angz:s3cret@"+address+"/'}}\ndomains: [{name: order, address: '"+address+"'}]\n")
	options.Within = 200 * time.Millisecond
	found := Examine(t.Context(), options)
	expect(t, found, node.Problem, "PostgreSQL", "")
	expect(t, found, node.Problem, "RabbitMQ", "")
	expect(t, found, node.Problem, "domain order", "")
	for _, f := range found {
		if text := fmt.Sprint(f); strings.Contains(text, "s3cret") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestTheFirstProgramOfACommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"go run .": "go", "A=1 B=2 ./x y": "./x", "exec python x.py": "python", "cd x && go run .": "", "$HOME/bin/x": "", "'a b' c": "",
		"(a)": "", "env -u A x": "", "": "", "npm start": "npm", "~/x": "", "if true; then x; fi": "",
	} {
		if diff := cmp.Diff(want, firstProgram(config.Command{Shell: line})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

func TestTheOrderOfFindingsStaysTheSame(t *testing.T) {
	t.Parallel()
	options := makeProject(t, "domains: [{name: order, run: sh o.sh}, {name: other, run: go run .}]\nprojectors: [{name: receipt, run: python3 x.py}]\n")
	order := func() (names []string) {
		for _, f := range Examine(t.Context(), options) {
			names = append(names, f.What)
		}
		return names
	}
	first := order()
	for range 3 {
		if diff := cmp.Diff(first, order()); diff != "" {
			t.Error(diff)
		}
	}
}
