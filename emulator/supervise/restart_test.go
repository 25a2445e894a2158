//go:build unix

package supervise_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/supervise"
)

// cause is a restart that somebody wants now.
func cause(why string, files ...string) supervise.Cause {
	return supervise.Cause{Why: why, At: time.Now(), Files: files}
}

// counted is a service whose build notes that it was done, and fails while the
// file "bad" is there. It returns the folder too.
func counted(t *testing.T, name string) (supervise.Spec, string) {
	dir := folder(t)
	s := spec("healthy", filepath.Join(dir, name))
	s.Name, s.Dir = name, dir
	s.Build = supervise.Command{Shell: "echo built >> builds; test ! -e bad"}
	return s, dir
}

// builds returns how often it was built.
func builds(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "builds"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "built")
}

func TestARestartBuildsFirstAndThenReplacesTheProcess(t *testing.T) {
	t.Parallel()
	s, dir := counted(t, "order")
	r := run(t, supervise.Options{}, s)
	first := r.await("order", supervise.Ready)
	r.Restart(cause("main.go was saved"), "order", "no such service")
	if got := r.await("order", supervise.Rebuilding); got.PID != first.PID || got.Cause != "main.go was saved" {
		t.Errorf("while it is built: %+v", got)
	}
	second := r.await("order", supervise.Ready)
	if second.PID == first.PID || second.Starts != 2 || second.Build <= 0 || second.Whole < second.Build+second.Took {
		t.Errorf("got %+v after %+v", second, first)
	}
	if !gone(first.PID) {
		t.Error("the process before is still there")
	}
	if got := builds(t, dir); got != 2 {
		t.Errorf("%d builds", got)
	}
}

func TestAFailingBuildLeavesTheProcessAlone(t *testing.T) {
	t.Parallel()
	s, dir := counted(t, "order")
	r := run(t, supervise.Options{}, s)
	first := r.await("order", supervise.Ready)
	touch(t, dir, "bad")
	r.Restart(cause("saved"))
	failed := r.await("order", supervise.Outdated)
	if failed.PID != first.PID || failed.Problem != "echo built >> builds; test ! -e bad: exit status 1" || gone(first.PID) {
		t.Errorf("got %+v", failed)
	}
	// If it crashes now, what was built before is better than nothing.
	r.Kill("order")
	if got := r.await("order", supervise.Outdated); got.PID == first.PID || got.Problem != failed.Problem {
		t.Errorf("after the crash: %+v", got)
	}
	remove(t, dir, "bad")
	r.Restart(cause("saved"))
	if got := r.await("order", supervise.Ready); got.Problem != "" || got.Starts != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestAServiceThatCouldNotBeBuiltStartsWhenItCan(t *testing.T) {
	t.Parallel()
	s, dir := counted(t, "order")
	touch(t, dir, "bad")
	r := run(t, supervise.Options{}, s)
	r.await("order", supervise.BuildFailed)
	r.Restart(cause("saved"))
	r.await("order", supervise.BuildFailed)
	remove(t, dir, "bad")
	r.Restart(cause("saved"))
	if got := r.await("order", supervise.Ready); got.Starts != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestFilesThatCannotBeRunAreNotRun(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := spec("healthy", filepath.Join(dir, "s"))
	s.Dir = dir
	s.Check = func(files []string) supervise.Command {
		return supervise.Command{Argv: append([]string{"sh", "-c", `for f do test ! -e "$f" || { echo "$f is wrong"; exit 1; }; done`, "sh"}, files...)}
	}
	r := run(t, supervise.Options{}, s)
	first := r.await("healthy", supervise.Ready)
	touch(t, dir, "bad")
	r.Restart(cause("bad was saved", "bad"))
	if got := r.await("healthy", supervise.Outdated); got.PID != first.PID || got.Problem != "what was saved cannot be run" || !cmp.Equal(got.Tail, []string{"bad is wrong"}) {
		t.Errorf("got %+v", got)
	}
	// Another file is fine, but the bad one would be run with it.
	r.Restart(cause("good was saved", "good"))
	r.await("healthy", supervise.Outdated)
	remove(t, dir, "bad")
	r.Restart(cause("bad was saved", "bad"))
	if got := r.await("healthy", supervise.Ready); got.Starts != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestACrashLoopEndsAtOnceWhenSomethingIsSaved(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := spec("healthy", filepath.Join(dir, "s"))
	s.Run = supervise.Command{Shell: fmt.Sprintf("test -e %s/good && exec %s", dir, s.Run.Argv[0])}
	r := run(t, supervise.Options{FirstDelay: time.Hour, LongestDelay: time.Hour}, s)
	r.await("healthy", supervise.Died)
	touch(t, dir, "good")
	r.Restart(cause("saved"))
	r.await("healthy", supervise.Ready)
}

func TestANewOrderGivesUpTheBuildUnderWay(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := spec("healthy", filepath.Join(dir, "s"))
	s.Dir = dir
	s.Build = supervise.Command{Shell: "echo building; test -e quick || sleep 1000"}
	touch(t, dir, "quick")
	r := run(t, supervise.Options{}, s)
	r.await("healthy", supervise.Ready)
	remove(t, dir, "quick")
	r.Restart(cause("slow"))
	r.await("healthy", supervise.Rebuilding)
	touch(t, dir, "quick")
	r.Restart(cause("quick"))
	if got := r.await("healthy", supervise.Ready); got.Starts != 2 || got.Cause != "quick" {
		t.Errorf("got %+v", got)
	}
}

func TestServicesThatShareABuildAreBuiltOnce(t *testing.T) {
	t.Parallel()
	one, dir := counted(t, "one")
	two := one
	two.Name, two.Address = "two", filepath.Join(dir, "two")
	one.Env, two.Env = nil, nil
	one.Run, two.Run = supervise.Command{Shell: playing(one.Address)}, supervise.Command{Shell: playing(two.Address)}
	r := run(t, supervise.Options{}, one, two)
	r.awaitAll(supervise.Ready, "one", "two")
	at := cause("shared.go was saved")
	r.Restart(at, "one")
	r.Restart(at, "two")
	r.awaitAll(supervise.Ready, "one", "two")
	if got := builds(t, dir); got != 2 {
		t.Errorf("%d builds, want one at the start and one for the restart", got)
	}
}

// playing is a line that plays a healthy service at an address.
func playing(address string) string {
	return fmt.Sprintf("%s=healthy %s=%s exec %s", roleVariable, addressVariable, address, os.Args[0])
}

// awaitAll waits until each of the services has come into the state once.
func (r *running) awaitAll(state supervise.State, names ...string) {
	r.t.Helper()
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
	}
	late := time.After(patience)
	for len(missing) > 0 {
		select {
		case status := <-r.changes:
			if status.State == state {
				delete(missing, status.Name)
			}
		case <-late:
			r.t.Fatalf("%v did not become %s", missing, state)
		}
	}
}

func TestApplyTouchesOnlyWhatIsDescribedOtherwise(t *testing.T) {
	t.Parallel()
	stays, changes, leaves := spec("healthy", socket(t)), spec("healthy", socket(t)), spec("healthy", socket(t))
	stays.Name, changes.Name, leaves.Name = "stays", "changes", "leaves"
	r := run(t, supervise.Options{}, stays, changes, leaves)
	r.awaitAll(supervise.Ready, "stays", "changes", "leaves")
	comes := spec("healthy", leaves.Address)
	comes.Name = "comes"
	changes.Env = append(changes.Env[:len(changes.Env):len(changes.Env)], "MORE=1")
	if err := r.Apply([]supervise.Spec{stays, changes}); err != nil {
		t.Fatal(err)
	}
	r.awaitAll(supervise.Stopped, "leaves")
	if err := r.Apply([]supervise.Spec{stays, changes, comes}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for !seen["comes"] || !seen["changes"] {
		select {
		case status := <-r.changes:
			seen[status.Name] = seen[status.Name] || status.State == supervise.Ready
			if status.Name == "stays" {
				t.Errorf("it was touched: %+v", status)
			}
		case <-time.After(patience):
			t.Fatalf("only %v became ready", seen)
		}
	}
	if err := r.Apply([]supervise.Spec{stays, stays}); err == nil {
		t.Error("two services of one name were taken")
	}
}

func TestAServiceThatIsStartedElsewhereMayComeAndGo(t *testing.T) {
	t.Parallel()
	address := socket(t)
	elsewhere := supervise.Spec{Name: "elsewhere", Address: address}
	r := run(t, supervise.Options{}, elsewhere)
	r.await("elsewhere", supervise.Waiting)
	for range 2 {
		there := run(t, supervise.Options{}, spec("healthy", address))
		r.await("elsewhere", supervise.Ready)
		there.stop()
		if got := r.await("elsewhere", supervise.Waiting); got.Problem != "it went away" {
			t.Errorf("got %+v", got)
		}
	}
	r.Restart(cause("asked for"), "elsewhere") // of no effect
}

func TestAStubbornProcessIsReplacedAllTheSame(t *testing.T) {
	t.Parallel()
	r := run(t, supervise.Options{Grace: 100 * time.Millisecond}, spec("stubborn", socket(t)))
	first := r.await("stubborn", supervise.Ready)
	r.Restart(cause("asked for"))
	if got := r.await("stubborn", supervise.Ready); got.PID == first.PID || !gone(first.PID) {
		t.Errorf("got %+v", got)
	}
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
