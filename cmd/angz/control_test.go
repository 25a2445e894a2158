package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/control/controltest"
	"github.com/angz-dev/angz/emulator/supervise"
)

// shownShop is a project of which one service is ready and one is not.
func shownShop(dir string) control.Status {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	return control.Status{
		Project: "shop", Dir: dir, File: filepath.Join(dir, "angz.yaml"), PID: os.Getpid(), Since: at, Detached: true, Store: "in memory",
		Endpoints: []control.Endpoint{{Role: "gateway", Address: "127.0.0.1:1316"}, {Role: "gateway", Address: "/run/gateway.sock"}, {Role: "query", Address: "127.0.0.1:1314"}},
		Services: []control.Service{
			{Name: "order", Kind: "domain", Language: "go", State: supervise.Ready, PID: 78, Address: "127.0.0.1:21000", Starts: 2, Since: at, Cause: "main.go was saved"},
			{Name: "receipt", Kind: "projector", Language: "python", State: supervise.Died, Address: "127.0.0.1:21001", Starts: 1, Since: at, Problem: "exit status 3", Tail: []string{"out of luck"}, Paused: true},
			{Name: "loyalty", Kind: "saga", State: supervise.Ready, Address: "127.0.0.1:21002", Since: at, Elsewhere: true},
		},
		OtherLogs: []string{"angz", "events"},
	}
}

// openShop plays the emulator of a project whose order service can be restarted
// and whose receipt service dies each time.
func openShop(t testing.TB, dir string, environ []string) *controltest.Emulator {
	t.Helper()
	dir = makeProject(t, dir)
	emulator := controltest.New(shownShop(dir))
	emulator.OnRestart = func(names []string, reason string) error {
		emulator.Change(func(s *control.Status) {
			for i := range s.Services {
				service := &s.Services[i]
				service.Since = service.Since.Add(time.Second)
				switch {
				case len(names) > 0 && service.Name != names[0]:
				case service.Name == "order":
					service.PID, service.Cause = service.PID+1, reason
					service.Starts++
				case service.Name == "receipt":
					service.Starts += 3
				}
			}
		})
		return nil
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	emulator.Log(
		control.LogLine{Time: at, Name: "angz", Level: control.LevelInfo, Text: "order is ready"},
		control.LogLine{Time: at.Add(time.Second), Name: "order", Text: "plain \x1b[2J"},
		control.LogLine{Time: at.Add(2 * time.Second), Name: "receipt", Level: control.LevelError, Text: "no", Raw: `{"level":"error","msg":"no"}`},
		control.LogLine{Time: time.Now(), Name: "order", Level: control.LevelDebug, Text: "late"},
	)
	emulator.Start(t, control.Self{Project: filepath.Base(dir), Dir: dir, Detached: true, Environ: environ})
	return emulator
}

// makeProject makes a project and returns its one absolute path.
func makeProject(t testing.TB, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "angz.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestControlScripts runs what a user types beside a running project. The scripts
// find the projects shop and blog running, and idle not.
func TestControlScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script", "control"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_RUNTIME_DIR", filepath.Join(env.WorkDir, "run"))
			env.Setenv("TZ", "UTC")
			env.Setenv("PID", fmt.Sprint(os.Getpid()))
			t := env.T().(testing.TB)
			makeProject(t, filepath.Join(env.WorkDir, "idle"))
			openShop(t, filepath.Join(env.WorkDir, "shop"), env.Vars)
			openShop(t, filepath.Join(env.WorkDir, "blog"), env.Vars)
			return nil
		},
	})
}

func TestServicesAreCompletedFromTheRunningProject(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "shop")
	emulator := openShop(t, dir, []string{"XDG_RUNTIME_DIR=" + t.TempDir()})
	complete := func(words ...string) string {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"__complete"}, words...), streams{in: strings.NewReader(""), out: &out, err: io.Discard}); code != exitOK {
			t.Errorf("%q: exit code %d", words, code)
		}
		return out.String()
	}
	project := "--project=" + dir
	for want, words := range map[string][]string{
		"order\tgo domain, ready\nreceipt\tpython projector, died\n:4\n":                                     {"restart", project, ""},
		"receipt\tpython projector, died\n:4\n":                                                              {"restart", project, "order", ""},
		"order\tgo domain, ready\nreceipt\tpython projector, died\nloyalty\tsaga, ready\nangz\nevents\n:4\n": {"logs", project, ""},
		"trace\ndebug\ninfo\nwarn\nerror\n:4\n":                                                              {"logs", project, "--level", ""},
	} {
		if got := complete(words...); got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
	emulator.End()
	if got := complete("restart", project, ""); got != ":4\n" {
		t.Errorf("without an emulator: got %q", got)
	}
}

func TestLogsAreFollowedUntilCtrlC(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "shop")
	emulator := openShop(t, dir, []string{"XDG_RUNTIME_DIR=" + t.TempDir()})
	ctx, interrupt := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"logs", "-f", "--tail=1", "--output=json", "--project=" + dir}, streams{in: strings.NewReader(""), out: writer, err: io.Discard})
		writer.Close()
	}()
	next := func() string {
		text := make([]byte, 4096)
		n, err := reader.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	if got := next(); !strings.Contains(got, `"text":"late"`) {
		t.Errorf("got %s", got)
	}
	emulator.Log(control.LogLine{Name: "order", Text: "new"})
	if got := next(); got != `{"service":"order","level":"info","text":"new"}`+"\n" {
		t.Errorf("got %s", got)
	}
	interrupt()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// playEmulator is a process that plays "angz dev" as its argument says.
func playEmulator() {
	if err := play(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func play(how, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Fprintln(os.Stderr, "starting", filepath.Base(dir))
	if how == "dies" {
		return errors.New("port 1316 is in use")
	}
	order := control.Service{Name: "order", State: supervise.Ready, Address: "127.0.0.1:21000"}
	switch how {
	case "slow":
		order.State = supervise.Starting
	case "unbuilt":
		order.State, order.Problem, order.Tail = supervise.BuildFailed, "exit status 1", []string{"main.go:1: no"}
	case "ends":
		order.State = supervise.Starting
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		time.AfterFunc(100*time.Millisecond, cancel)
	}
	return playUntil(ctx, dir, order)
}

// playUntil is the emulator of a project with one service until the context ends.
func playUntil(ctx context.Context, dir string, service control.Service) error {
	claim, err := control.Acquire(control.Self{Project: filepath.Base(dir), Dir: dir, Environ: os.Environ()})
	if err != nil {
		return err
	}
	listener, err := claim.Listen()
	if err != nil {
		return errors.Join(err, claim.Release())
	}
	emulator := controltest.New(control.Status{
		Project: filepath.Base(dir), Dir: dir, PID: os.Getpid(), Since: time.Now(), Ready: service.State == supervise.Ready, Services: []control.Service{service},
		Endpoints: []control.Endpoint{{Role: "gateway", Address: "/run/gateway.sock"}, {Role: "gateway", Address: "127.0.0.1:1316"}, {Role: "stream", Address: "127.0.0.1:1340"}},
	})
	return errors.Join(listener.Serve(ctx, emulator, slog.New(slog.DiscardHandler)), claim.Release())
}

// detached returns a detachment of an emulator that behaves like that.
func detached(t *testing.T, how string, wait time.Duration) detachment {
	t.Helper()
	player, err := exec.LookPath("emulator")
	if err != nil {
		t.Fatal(err)
	}
	dir := makeProject(t, filepath.Join(t.TempDir(), "shop"))
	return detachment{argv: []string{player, how, dir}, environ: append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir()), dir: dir, wait: wait}
}

func TestADetachedEmulatorStaysWhenItIsReady(t *testing.T) {
	t.Parallel()
	d := detached(t, "ready", time.Minute)
	now, err := d.run(t.Context())
	if err != nil || now.Project != "shop" || now.PID == os.Getpid() {
		t.Fatalf("got %+v, %v", now, err)
	}
	client, err := control.Find(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// A second one is refused, and the log of the first one stays.
	taken := new(control.Taken)
	if _, err := d.run(t.Context()); !errors.As(err, &taken) || taken.Record.PID != now.PID {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(logFile(d.dir)); string(text) != "starting shop\n" {
		t.Errorf("the log: %q, %v", text, err)
	}
	if err := syscall.Kill(now.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := client.AwaitGone(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADetachedEmulatorThatIsNotReadyIsStopped(t *testing.T) {
	t.Parallel()
	for how, c := range map[string]struct {
		wait time.Duration
		want string
	}{
		"slow":    {2 * time.Second, "not ready within 2s: order is not ready: starting\nangz dev was stopped again; its log: LOG"},
		"unbuilt": {time.Minute, "order is not ready: build failed: exit status 1\n  | main.go:1: no\nangz dev was stopped again; its log: LOG"},
		"dies":    {time.Minute, "angz dev has ended: exit status 1\n  | starting shop\n  | error: port 1316 is in use\nthe whole log: LOG"},
		"ends":    {time.Minute, "angz dev has ended: exit status 0\n  | starting shop\nthe whole log: LOG"},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			d := detached(t, how, c.wait)
			_, err := d.run(t.Context())
			if err == nil || strings.ReplaceAll(err.Error(), logFile(d.dir), "LOG") != c.want {
				t.Errorf("got %v", err)
			}
			if client, err := control.Find(d.dir); !errors.As(err, new(*control.NotRunning)) {
				t.Errorf("found %v, %v", client, err)
			}
		})
	}
}

func TestInterruptingTheWaitStopsTheEmulator(t *testing.T) {
	t.Parallel()
	d := detached(t, "slow", time.Hour)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := d.run(ctx); ended <- err }()
	for {
		if client, err := control.Find(d.dir); err == nil {
			client.Close()
			break
		}
	}
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if client, err := control.Find(d.dir); !errors.As(err, new(*control.NotRunning)) {
		t.Errorf("found %v, %v", client, err)
	}
}

func TestAnEmulatorIsStartedAgainWithTheSameFlags(t *testing.T) {
	t.Parallel()
	root := newRootCommand(streams{})
	cmd, args, err := root.Find([]string{"dev", "--detach", "--wait", "3s", "-q", "--config", "a b.yaml", "shop"})
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	want := []string{"dev", "--detached", "--log-format=text", "--config=a b.yaml", "--quiet=true", "--"}
	if diff := cmp.Diff(want, again(cmd)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTheLogOfADetachedEmulatorIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	log := &boundedLog{path: logFile(dir), most: 100}
	defer log.Close()
	for i := range 50 {
		if _, err := fmt.Fprintf(log, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	newest, err := os.ReadFile(logFile(dir))
	before, errBefore := os.ReadFile(logFile(dir) + ".1")
	if err := errors.Join(err, errBefore); err != nil || len(before) > 100 || len(newest) > 100 {
		t.Errorf("%d and %d bytes, %v", len(before), len(newest), err)
	}
	if lines := strings.Fields(string(before) + string(newest)); lines[len(lines)-1] != "49" || len(lines) < 24 {
		t.Errorf("got %q", lines)
	}
}

// executing runs a command with a played emulator around it and returns what a
// person sees.
func executing(t *testing.T, state supervise.State, argv ...string) (got seen, dir string) {
	t.Helper()
	dir = makeProject(t, filepath.Join(t.TempDir(), "shop"))
	var out, talk bytes.Buffer
	e := execution{dir: dir, wait: time.Minute, emulate: func(ctx context.Context, log io.Writer) error {
		fmt.Fprintln(log, "starting")
		if state == "" {
			return errors.New("port 1316 is in use")
		}
		return playUntil(ctx, dir, control.Service{Name: "order", State: state, Problem: "exit status 1", Tail: []string{"no"}})
	}}
	err := e.run(t.Context(), streams{in: strings.NewReader("in"), out: &out, err: &talk, environ: os.Environ()}, argv)
	var code exitCode
	switch {
	case errors.As(err, &code):
		got.Code = int(code)
	case err != nil:
		got.Code = exitFailed
		fmt.Fprint(&talk, strings.ReplaceAll(err.Error(), logFile(dir), "LOG"))
	}
	got.Out, got.Err = out.String(), talk.String()
	return got, dir
}

func TestACommandRunsAgainstTheProject(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		state supervise.State
		argv  []string
		want  seen
	}{
		"with its addresses": {supervise.Ready, []string{"sh", "-c", `cat; echo; echo $COMMAND_ADDRESS $EVENT_QUERY_ADDRESS $STREAM_ADDRESS; echo oh >&2`},
			seen{Out: "in\n127.0.0.1:1316 127.0.0.1:1340\n", Err: "oh\n"}},
		"and its exit code is passed on": {supervise.Ready, []string{"sh", "-c", "exit 7"}, seen{Code: 7}},
		"or its signal":                  {supervise.Ready, []string{"sh", "-c", "kill -TERM $$"}, seen{Code: 128 + 15}},
		"unless it is not there": {supervise.Ready, []string{"no-such-command"},
			seen{Code: 127, Err: "error: run COMMAND: exec: \"no-such-command\": executable file not found in $PATH\n"}},
		"unless it is no program":             {supervise.Ready, []string{"/dev/null"}, seen{Code: 126, Err: "error: run COMMAND: fork/exec /dev/null: permission denied\n"}},
		"unless a service does not get ready": {supervise.BuildFailed, []string{"echo"}, seen{Code: 1, Err: "order is not ready: build failed: exit status 1\n  | no\nthe log: LOG"}},
		"unless the emulator fails":           {"", []string{"echo"}, seen{Code: 1, Err: "port 1316 is in use"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			got, dir := executing(t, c.state, c.argv...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if client, err := control.Find(dir); !errors.As(err, new(*control.NotRunning)) {
				t.Errorf("found %v, %v", client, err)
			}
		})
	}
}
