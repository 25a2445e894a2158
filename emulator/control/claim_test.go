package control_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/control/controltest"
)

// holdVariable makes the test binary claim the project that it names and hold it
// until it is killed.
const holdVariable = "ANGZ_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		claim, err := control.Acquire(control.Self{Project: "held", Dir: dir, Environ: os.Environ()})
		if err != nil {
			panic(err)
		}
		if _, err := claim.Listen(); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("held\n")
		select {}
	}
	os.Exit(m.Run())
}

// hold has another process claim a project.
func (w world) hold(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(append(os.Environ(), w.environ...), holdVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestAProjectRunsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	claim, err := control.Acquire(w.self(dir))
	if err != nil {
		t.Fatal(err)
	}
	_, err = control.Acquire(w.self(dir))
	taken := new(control.Taken)
	if !errors.As(err, &taken) || taken.Record.PID != os.Getpid() {
		t.Fatalf("claimed twice: %v", err)
	}
	want := dir + " runs already: process " + strconv.Itoa(os.Getpid()) + ", since "
	if text := err.Error(); !strings.HasPrefix(text, want) || !strings.Contains(text, ", detached\nstop it with \"angz stop\", or look at it with \"angz ps\"") {
		t.Errorf("got %s", text)
	}
	if err := claim.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := control.Acquire(w.self(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestOneOfManyThatStartAtOnceGetsTheProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	claims := make(chan *control.Claim, 8)
	var starting sync.WaitGroup
	for range cap(claims) {
		starting.Go(func() {
			claim, err := control.Acquire(w.self(dir))
			if taken := new(control.Taken); err == nil {
				claims <- claim
			} else if !errors.As(err, &taken) {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if len(claims) != 1 {
		t.Fatalf("%d got it", len(claims))
	}
	if err := (<-claims).Release(); err != nil {
		t.Error(err)
	}
}

func TestTheLockOfAKilledProcessIsFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	other := w.hold(t, dir)
	_, err := control.Acquire(w.self(dir))
	taken := new(control.Taken)
	if !errors.As(err, &taken) || taken.Record.PID != other.Process.Pid {
		t.Fatalf("got %v", err)
	}
	if running, err := control.Running(w.environ); err != nil || len(running) != 1 {
		t.Errorf("running: %v, %v", running, err)
	}
	kill(other)
	if _, err := os.Lstat(filepath.Join(dir, ".angz", "control.sock")); err != nil {
		t.Errorf("the test needs a socket that was left behind: %v", err)
	}
	missing := new(control.NotRunning)
	if _, err := control.Find(dir); !errors.As(err, &missing) {
		t.Errorf("found %v", err)
	}
	if running, err := control.Running(w.environ); err != nil || len(running) > 0 {
		t.Errorf("running: %v, %v", running, err)
	}
	emulator := controltest.New(shop())
	emulator.Start(t, w.self(dir))
	if _, err := find(t, dir).Status(within(t)); err != nil {
		t.Error(err)
	}
}

// What looks whether a project runs holds its lock for a moment.
func TestLookingKeepsNobodyFromStarting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	done := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if client, err := control.Find(dir); err == nil {
					client.Close()
				}
			}
		})
	}
	for range 20 {
		claim, err := control.Acquire(w.self(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := claim.Release(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	looking.Wait()
}

func TestAnEmulatorIsFoundFromInsideTheProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, "shop", shop())
	dir := filepath.Join(w.dir, "shop")
	inner := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(w.dir, "link")
	if err := os.Symlink(inner, link); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{dir, inner, link} {
		if client := find(t, from); client.Dir != dir || client.Project != "shop" {
			t.Errorf("from %s: got %+v", from, client.Record)
		}
	}
	// A project inside is one of its own.
	if err := os.WriteFile(filepath.Join(inner, "angz.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		inner: "no emulator runs for the project " + inner + "\nstart it with \"angz dev\"; \"angz ps --all\" lists those that run",
		w.dir: "there is no angz.yaml in " + w.dir + " or above it\ngo to a project, or name its folder with --project; \"angz ps --all\" lists those that run",
	} {
		if _, err := control.Find(from); err == nil || err.Error() != want {
			t.Errorf("from %s: got %v", from, err)
		}
	}
}

func TestProjectsRunSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"b/shop", "a/shop", "blog"} {
		w.start(t, name, control.Status{Project: name})
	}
	running, err := control.Running(w.environ)
	var got []string
	for _, record := range running {
		got = append(got, record.Project+" "+record.Dir)
		client, err := control.Dial(record)
		if err != nil {
			t.Fatal(err)
		}
		now, err := client.Status(within(t))
		if err != nil || filepath.Join(w.dir, now.Project) != record.Dir {
			t.Errorf("%s: got %+v, %v", record.Dir, now, err)
		}
		client.Close()
	}
	want := []string{"blog " + w.dir + "/blog", "shop " + w.dir + "/a/shop", "shop " + w.dir + "/b/shop"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAProjectWithALongPathIsControlledFromAShortOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := "shop/" + strings.Repeat("deep/", 20)
	emulator := controltest.New(shop())
	dir := w.project(t, long)
	claim := emulator.Start(t, w.self(dir))
	if filepath.Dir(claim.Socket()) != filepath.Join(w.dir, "run", "angz") || len(claim.Socket()) > 100 {
		t.Errorf("it is controlled at %s", claim.Socket())
	}
	for name, want := range map[string]os.FileMode{claim.Socket(): os.ModeSocket | 0o600, filepath.Dir(claim.Socket()): os.ModeDir | 0o700} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := find(t, dir).Status(within(t)); err != nil {
		t.Error(err)
	}
	emulator.End()
	if _, err := os.Lstat(claim.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestTheControlSocketIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, "shop", shop())
	for name, want := range map[string]os.FileMode{"control.sock": os.ModeSocket | 0o600, "control.json": 0o600, "lock": 0o600} {
		if info, err := os.Lstat(filepath.Join(w.dir, "shop", ".angz", name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestAFileInTheWayIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.project(t, "shop")
	claim, err := control.Acquire(w.self(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	path := filepath.Join(dir, ".angz", "control.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claim.Listen(); err == nil || !strings.Contains(err.Error(), path+" is in the way: remove it") {
		t.Errorf("got %v", err)
	}
}
