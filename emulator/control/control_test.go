package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/control/controltest"
	"github.com/angz-dev/angz/emulator/supervise"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// world is a machine with one person on it.
type world struct {
	dir     string   // has room for projects
	environ []string // of everything that the person starts
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir, err := os.MkdirTemp("", "angz") // sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return world{dir: dir, environ: []string{"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "TMPDIR=" + dir}}
}

// project makes a project and returns its folder.
func (w world) project(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "angz.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (w world) self(dir string) control.Self {
	return control.Self{Project: filepath.Base(dir), Dir: dir, Detached: true, Environ: w.environ}
}

// start runs an emulator and returns it with a connection to it.
func (w world) start(t *testing.T, name string, status control.Status) (*controltest.Emulator, *control.Client) {
	t.Helper()
	dir := w.project(t, name)
	emulator := controltest.New(status)
	emulator.Start(t, w.self(dir))
	return emulator, find(t, dir)
}

func find(t *testing.T, dir string) *control.Client {
	t.Helper()
	client, err := control.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	t.Cleanup(stop)
	return ctx
}

var at = time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC).Local()

func shop() control.Status {
	return control.Status{
		Project: "shop", Dir: "/shop", File: "/shop/angz.yaml", PID: 77, Since: at, Detached: true, Store: "sqlite, /shop/.angz/dev.db",
		Endpoints: []control.Endpoint{{Role: "gateway", Address: "127.0.0.1:1316"}, {Role: "query", Address: "127.0.0.1:1314"}},
		Services: []control.Service{
			{Name: "order", Kind: "domain", Language: "go", State: supervise.Ready, PID: 78, Address: "127.0.0.1:21000", Starts: 2, Since: at, Cause: "main.go was saved"},
			{Name: "receipt", Kind: "projector", State: supervise.Died, Address: "127.0.0.1:21001", Starts: 1, Since: at, Problem: "exit status 3", Tail: []string{"out of luck"}, Paused: true},
			{Name: "loyalty", Kind: "saga", State: supervise.Waiting, Address: "127.0.0.1:21002", Since: at, Elsewhere: true},
		},
		OtherLogs: []string{"angz", "events"},
	}
}

func TestTheStatusArrivesWhole(t *testing.T) {
	t.Parallel()
	_, client := newWorld(t).start(t, "shop", shop())
	got, err := client.Status(within(t))
	if diff := cmp.Diff(shop(), got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestChangesAreWatched(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", shop())
	var stores []string
	for now, err := range client.Watch(within(t)) {
		if err != nil {
			if !errors.Is(err, control.ErrEnded) {
				t.Error(err)
			}
			break
		}
		stores = append(stores, now.Store)
		switch len(stores) {
		case 1:
			emulator.Change(func(s *control.Status) { s.Store = "in memory" })
		case 2:
			emulator.End()
		}
	}
	if diff := cmp.Diff([]string{"sqlite, /shop/.angz/dev.db", "in memory"}, stores); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatServicesPrintIsPassedOnAsFarAsItIsText(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", control.Status{Services: []control.Service{{Name: "order", Problem: "\xff", Tail: []string{"a\xc3"}}}})
	emulator.Log(control.LogLine{Time: at, Name: "order", Text: "\xfe!", Raw: "\xfe!"})
	now, err := client.Status(within(t))
	if err != nil || now.Services[0].Problem != "\uFFFD" || now.Services[0].Tail[0] != "a\uFFFD" {
		t.Errorf("got %+v, %v", now, err)
	}
	err = client.Logs(within(t), control.LogFilter{Tail: -1}, func(line control.LogLine) error {
		if line.Text != "\uFFFD!" || line.Raw != "\xfe!" {
			t.Errorf("got %+v", line)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUnknownNamesAreAnsweredWithTheNearest(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", shop())
	emulator.OnRestart = func([]string, string) error { return errors.New("no more room") }
	const known = "(known: order, receipt, loyalty)"
	for title, c := range map[string]struct {
		got  error
		want string
	}{
		"misspelt":    {client.Restart(within(t), []string{"oder"}, ""), `there is no service "oder"; did you mean "order"? ` + known},
		"far off":     {client.Pause(within(t), "x"), `there is no service "x" ` + known},
		"resumed":     {client.Resume(within(t), "order", ""), `there is no service "" ` + known},
		"of the logs": {client.Logs(within(t), control.LogFilter{Names: []string{"event"}}, nil), `there is no service "event"; did you mean "events"? (known: order, receipt, loyalty, angz, events)`},
		"elsewhere":   {client.Restart(within(t), []string{"loyalty"}, ""), `loyalty has no "run" in angz.yaml: you start it, so restart it where you did`},
		"refused":     {client.Restart(within(t), nil, ""), "no more room"},
	} {
		if c.got == nil || c.got.Error() != c.want {
			t.Errorf("%s: got %v, want %s", title, c.got, c.want)
		}
		if refused := new(control.Refused); !errors.As(c.got, &refused) {
			t.Errorf("%s: got %T", title, c.got)
		}
	}
}

func TestServicesArePaused(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", shop())
	if err := errors.Join(client.Pause(within(t)), client.Resume(within(t), "receipt")); err != nil {
		t.Fatal(err)
	}
	var paused []bool
	for _, service := range emulator.Status().Services {
		paused = append(paused, service.Paused)
	}
	if diff := cmp.Diff([]bool{true, false, true}, paused); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogsAreFilteredAndFollowed(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", shop())
	line := func(second int, name string, level control.Level) control.LogLine {
		return control.LogLine{Time: at.Add(time.Duration(second) * time.Second), Name: name, Level: level, Text: name, Raw: `{"msg":"` + name + `"}`}
	}
	lines := []control.LogLine{
		line(0, "order", control.LevelDebug), line(1, "angz", control.LevelUnknown), line(2, "order", control.LevelError), line(3, "receipt", control.LevelWarn),
	}
	emulator.Log(lines...)
	for title, c := range map[string]struct {
		filter control.LogFilter
		want   []control.LogLine
	}{
		"all":        {control.LogFilter{Tail: -1}, lines},
		"none":       {control.LogFilter{}, nil},
		"the newest": {control.LogFilter{Tail: 1}, lines[3:]},
		"of some":    {control.LogFilter{Tail: 9, Names: []string{"angz", "receipt"}}, []control.LogLine{lines[1], lines[3]}},
		"grave":      {control.LogFilter{Tail: -1, MinLevel: control.LevelInfo}, lines[1:]},
		"graver":     {control.LogFilter{Tail: -1, MinLevel: control.LevelError}, lines[2:3]},
		"since":      {control.LogFilter{Tail: -1, Since: at.Add(2 * time.Second)}, lines[2:]},
	} {
		var got []control.LogLine
		err := client.Logs(within(t), c.filter, func(line control.LogLine) error { got = append(got, line); return nil })
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", title, err, diff)
		}
	}
	seen := 0
	err := client.Logs(within(t), control.LogFilter{Tail: -1, Follow: true}, func(control.LogLine) error {
		switch seen++; seen {
		case len(lines):
			emulator.Log(line(4, "order", control.LevelInfo))
		case len(lines) + 1:
			go emulator.End()
		}
		return nil
	})
	if err != nil || seen != len(lines)+1 {
		t.Errorf("followed %d lines, %v", seen, err)
	}
}

func TestAReaderOfLogsMayHaveEnough(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", shop())
	emulator.Log(control.LogLine{Name: "order"})
	enough := errors.New("enough")
	if err := client.Logs(within(t), control.LogFilter{Tail: -1, Follow: true}, func(control.LogLine) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	ctx, interrupt := context.WithCancel(within(t))
	err := client.Logs(ctx, control.LogFilter{Tail: -1, Follow: true}, func(control.LogLine) error { interrupt(); return nil })
	if err != nil {
		t.Errorf("got %v", err)
	}
}

func TestStoppingIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, client := w.start(t, "shop", shop())
	if err := errors.Join(client.Stop(within(t)), client.AwaitGone(within(t))); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "shop")
	missing := new(control.NotRunning)
	if _, err := control.Find(dir); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"control.sock", "control.json"} {
		if _, err := os.Lstat(filepath.Join(dir, ".angz", name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if listed, err := os.ReadDir(filepath.Join(w.dir, "run", "angz")); err != nil || len(listed) > 0 {
		t.Errorf("left in the registry: %v, %v", listed, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	_, other := w.start(t, "other", shop())
	stop()
	if err := other.AwaitGone(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("one that stays is gone: %v", err)
	}
}

func TestOneThatDoesNotAnswerIsSaidToBeThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	claim, err := control.Acquire(w.self(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	_, err = find(t, dir).Status(ctx)
	if err == nil || !strings.Contains(err.Error(), "does not answer: it may be starting or ending") {
		t.Errorf("got %v", err)
	}
}
