//go:build unix

package supervise_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/angz-dev/angz/emulator/supervise"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// untimed leaves out of a status what is different each time.
var untimed = cmpopts.IgnoreFields(supervise.Status{}, "Since", "Cause", "Build", "Took", "Whole")

// running is a group that runs for a test.
type running struct {
	*supervise.Group
	t       *testing.T
	changes chan supervise.Status
	stop    func() // and wait until all is gone

	mu    sync.Mutex
	lines map[string][]string
}

// run runs services until the test ends or stop is called.
func run(t *testing.T, options supervise.Options, specs ...supervise.Spec) *running {
	t.Helper()
	r := &running{t: t, changes: make(chan supervise.Status, 1000), lines: map[string][]string{}}
	options.Environ = os.Environ()
	options.OnChange = func(status supervise.Status) { r.changes <- status }
	options.Lines = func(name string, line []byte) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines[name] = append(r.lines[name], string(line))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	r.Group = supervise.New(options)
	go func() { ended <- r.Run(ctx, specs) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the services did not stop")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// await returns the next status of a service in this state.
func (r *running) await(name string, state supervise.State) supervise.Status {
	r.t.Helper()
	late := time.After(patience)
	var seen []string
	for {
		select {
		case status := <-r.changes:
			if status.Name == name && status.State == state {
				return status
			}
			seen = append(seen, fmt.Sprintf("%s %s %s %q", status.Name, status.State, status.Problem, status.Tail))
		case <-late:
			r.t.Fatalf("%s did not become %s, but: %s", name, state, strings.Join(seen, "; "))
		}
	}
}

// said returns what a service printed.
func (r *running) said(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines[name]...)
}

// folder returns a folder whose path is short enough for sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func socket(t *testing.T) string {
	t.Helper()
	return filepath.Join(folder(t), "s")
}

// freePort returns an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestServicesBecomeReadyAndLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for title, address := range map[string]string{"tcp": freePort(t), "unix": socket(t)} {
		for _, role := range []string{"healthy", "plain", "stubborn"} {
			t.Run(title+" "+role, func(t *testing.T) {
				t.Parallel()
				address := address
				if title == "unix" {
					address += role
				} else {
					address = freePort(t)
				}
				r := run(t, supervise.Options{Grace: 100 * time.Millisecond}, spec(role, address))
				ready := r.await(role, supervise.Ready)
				r.stop()
				if !gone(ready.PID) {
					t.Errorf("process %d is still there", ready.PID)
				}
				want := supervise.Status{Name: role, Address: address, State: supervise.Stopped, Starts: 1}
				if diff := cmp.Diff(want, r.await(role, supervise.Stopped), untimed); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestAServiceThatIsNotReadyIsReportedAndStillWaitedFor(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{ReadyTimeout: 700 * time.Millisecond}, spec("late", socket(t)))
	status := r.await("late", supervise.NotReady)
	if want := "not ready after 700ms: its health service says NOT_SERVING"; status.Problem != want {
		t.Errorf("problem %q, want %q", status.Problem, want)
	}
	if diff := cmp.Diff([]string{"warming up"}, status.Tail); diff != "" {
		t.Error(diff)
	}
	if err := syscall.Kill(status.PID, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.await("late", supervise.Ready)
}

func TestADeadServiceIsStartedAgainMoreAndMoreSlowly(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{FirstDelay: 5 * time.Millisecond, LongestDelay: 20 * time.Millisecond}, spec("crash", socket(t)))
	var delays []time.Duration
	for i := range 4 {
		status := r.await("crash", supervise.Died)
		if status.Problem != "exit status 3" || status.Starts != i+1 {
			t.Errorf("got %+v", status)
		}
		want := []string{"line 2", "line 3", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10", "line 11"}
		if diff := cmp.Diff(want, status.Tail); diff != "" {
			t.Error(diff)
		}
		delays = append(delays, status.Delay)
	}
	if delays[0] > 6*time.Millisecond || delays[3] < 16*time.Millisecond || delays[3] > 20*time.Millisecond {
		t.Errorf("delays %v", delays)
	}
}

func TestAKilledServiceComesBack(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{FirstDelay: time.Millisecond}, spec("healthy", socket(t)))
	first := r.await("healthy", supervise.Ready)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if died := r.await("healthy", supervise.Died); died.Problem != "signal: killed" {
		t.Errorf("problem %q", died.Problem)
	}
	// The socket that the killed one left behind is in nobody's way.
	if second := r.await("healthy", supervise.Ready); second.PID == first.PID {
		t.Error("the same process is said to be back")
	}
}

// TestOffspringEndsToo looks at processes that a service started itself, that
// ignore SIGTERM, keep the service's output open and, on Linux, may even have
// left for a session of their own.
func TestOffspringEndsToo(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"parent", "deserter"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			if role == "deserter" && !sweeps {
				t.Skip("only Linux shows whose offspring a process is")
			}
			r := run(t, supervise.Options{Grace: 50 * time.Millisecond, FirstDelay: time.Millisecond}, spec(role, socket(t)))
			first := r.await(role, supervise.Ready)
			if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			r.await(role, supervise.Died)
			r.await(role, supervise.Ready)
			r.stop()
			said := r.said(role)
			if len(said) != 2 {
				t.Fatalf("said %q", said)
			}
			for _, line := range said {
				pid, err := strconv.Atoi(strings.TrimPrefix(line, "offspring "))
				if err != nil {
					t.Fatal(err)
				}
				awaitGone(t, pid)
			}
		})
	}
}

func TestOutputArrivesWhateverItIs(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{}, spec("flood", socket(t)))
	r.await("flood", supervise.Ready)
	r.stop()
	said := r.said("flood")
	total := 0
	for len(said) > 0 && strings.HasPrefix(said[0], "x") {
		if len(said[0]) > 64<<10 {
			t.Errorf("a piece of %d bytes", len(said[0]))
		}
		total += len(said[0])
		said = said[1:]
	}
	if total != floodBytes {
		t.Errorf("%d bytes arrived, want %d", total, floodBytes)
	}
	if diff := cmp.Diff([]string{"\x00\xff\x1b[2J garbage", "end of the flood"}, said); diff != "" {
		t.Error(diff)
	}
}

func TestALastLineWithoutAnEndIsHeard(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{FirstDelay: time.Hour, LongestDelay: time.Hour}, spec("unfinished", socket(t)))
	if diff := cmp.Diff([]string{"last words"}, r.await("unfinished", supervise.Died).Tail); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedBuildKeepsOnlyItsOwnServiceFromStarting(t *testing.T) {
	t.Parallel()
	broken, fine := spec("broken", socket(t)), spec("healthy", socket(t))
	broken.Build = supervise.Command{Shell: "echo main.go:1: no such thing; exit 2"}
	r := run(t, supervise.Options{}, broken, fine)
	want := supervise.Status{
		Name: "broken", Address: broken.Address, State: supervise.BuildFailed,
		Problem: broken.Build.Shell + ": exit status 2", Tail: []string{"main.go:1: no such thing"},
	}
	got := map[string]supervise.Status{}
	for len(got) < 2 {
		status := <-r.changes
		if status.State == supervise.BuildFailed || status.State == supervise.Ready {
			got[status.Name] = status
		}
	}
	if diff := cmp.Diff(want, got["broken"], untimed); diff != "" {
		t.Error(diff)
	}
}

func TestServicesWithTheSameBuildShareIt(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	var specs []supervise.Spec
	for _, name := range []string{"one", "two", "three"} {
		s := spec("healthy", filepath.Join(dir, name))
		// The variable that tells where to listen would make the builds different.
		s.RunEnv = func(context.Context) []string { return []string{addressVariable + "=" + s.Address} }
		s.Name, s.Dir, s.Env = name, dir, s.Env[:1]
		s.Build = supervise.Command{Shell: "echo built >> log"}
		specs = append(specs, s)
	}
	r := run(t, supervise.Options{}, specs...)
	ready := map[string]bool{}
	for len(ready) < len(specs) {
		if status := <-r.changes; status.State == supervise.Ready {
			ready[status.Name] = true
		}
	}
	built, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || string(built) != "built\n" {
		t.Errorf("the build wrote %q, %v", built, err)
	}
}

func TestWhatCannotBeStartedIsExplained(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for title, c := range map[string]struct {
		change func(*supervise.Spec)
		want   string
	}{
		"no program": {func(s *supervise.Spec) { s.Run = supervise.Command{Argv: []string{"no-such-program"}} },
			"there is no program no-such-program: install it"},
		"no folder":  {func(s *supervise.Spec) { s.Dir = "/no/such/folder" }, "its folder /no/such/folder does not exist"},
		"port taken": {func(s *supervise.Spec) { s.Address = taken.Addr().String() }, "is in use by "},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := spec("healthy", socket(t))
			c.change(&s)
			r := run(t, supervise.Options{FirstDelay: time.Hour, LongestDelay: time.Hour}, s)
			if got := r.await("healthy", supervise.Died); !strings.Contains(got.Problem, c.want) {
				t.Errorf("problem %q, want %q", got.Problem, c.want)
			}
		})
	}
}

func TestAServiceStartedElsewhereIsOnlyWaitedFor(t *testing.T) {
	t.Parallel()
	address := socket(t)
	r := run(t, supervise.Options{}, supervise.Spec{Name: "elsewhere", Address: address})
	r.await("elsewhere", supervise.Waiting)
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r.await("elsewhere", supervise.NotReady) // it accepts, but does not answer
	other := run(t, supervise.Options{}, spec("healthy", address+"2"))
	other.await("healthy", supervise.Ready)
	there := run(t, supervise.Options{}, supervise.Spec{Name: "elsewhere", Address: address + "2"})
	there.await("elsewhere", supervise.Ready)
	there.stop()
	if conn, err := net.Dial("unix", address+"2"); err != nil {
		t.Errorf("the service of others was stopped: %v", err)
	} else {
		_ = conn.Close()
	}
}

func TestNamesMustTellServicesApart(t *testing.T) {
	t.Parallel()
	err := supervise.New(supervise.Options{}).Run(t.Context(), []supervise.Spec{{Name: "a"}, {Name: "a"}})
	if err == nil || !strings.Contains(err.Error(), `"a" is empty or taken twice`) {
		t.Errorf("got %v", err)
	}
}
