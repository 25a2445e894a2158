package watch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
)

func TestEachRuleHearsOfItsFiles(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "shared/a.py order/b.py inventory/c.py")
	w.watch(
		Rule{Name: "order", Dir: w.path("order"), Patterns: []string{"**/*.py", "../shared/*.py"}},
		Rule{Name: "inventory", Dir: w.path("inventory"), Patterns: []string{"**/*.py", "../shared/*.py"}},
	)
	w.write("order/b.py", "new")
	w.expectOnly(Change{Name: "order", Files: []string{"order/b.py"}, Count: 1})
	w.write("inventory/c.py", "new")
	w.expectOnly(Change{Name: "inventory", Files: []string{"inventory/c.py"}, Count: 1})
	w.write("shared/a.py", "new")
	got := []Change{w.next(), w.next()}
	slices.SortFunc(got, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	want := []Change{{Name: "inventory", Files: []string{"shared/a.py"}, Count: 1}, {Name: "order", Files: []string{"shared/a.py"}, Count: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestManyFilesAreOneChange(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "a.py")
	w.watchWith(Options{Debounce: time.Second, LongestWait: patience}, Rule{Name: "order", Dir: w.dir, Patterns: []string{"**/*.py"}})
	want := Change{Name: "order", Count: 300}
	for i := range want.Count {
		name := fmt.Sprintf("x/%03d.py", i)
		w.write(name, "new")
		if i < mostFiles {
			want.Files = append(want.Files, name)
		}
	}
	w.expectOnly(want)
}

// What changes while a rule's change is being handled is told afterwards, once.
func TestChangesOfARuleAreToldOneAtATime(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "a.py b.js")
	entered, leave := make(chan Change), make(chan struct{})
	var mu sync.Mutex
	running := map[string]int{}
	w.watchWith(Options{OnChange: func(c Change) {
		mu.Lock()
		running[c.Name]++
		if running[c.Name] > 1 {
			t.Errorf("%s is told twice at a time", c.Name)
		}
		mu.Unlock()
		entered <- c
		<-leave
		mu.Lock()
		running[c.Name]--
		mu.Unlock()
	}}, Rule{Name: "python", Dir: w.dir, Patterns: []string{"*.py"}}, Rule{Name: "js", Dir: w.dir, Patterns: []string{"*.js"}})
	w.write("a.py", "1")
	<-entered
	for i := range 5 {
		w.write("a.py", fmt.Sprint("more", i))
	}
	w.write("b.js", "1") // another rule does not wait
	if c := <-entered; c.Name != "js" {
		t.Errorf("%+v", c)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	if c := <-entered; c.Name != "python" || c.Count != 1 {
		t.Errorf("%+v", c)
	}
	leave <- struct{}{}
}

func TestRulesAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a.py b.js deep/c.js node_modules/d.js", "*.py")
	rule := func(patterns ...string) []Rule { return []Rule{{Name: "order", Dir: w.dir, Patterns: patterns}} }
	w.must(w.watcher.SetRules(rule("*.py", "**/*.js")))
	w.write("a.py", "1") // nothing of the new files is told as a change
	w.expect("a.py")
	w.write("deep/c.js", "1")
	w.expect("deep/c.js")
	w.must(w.watcher.SetRules(rule("**/*.js")))
	w.write("a.py", "2")
	w.write("b.js", "1")
	w.expect("b.js")
	if err := w.watcher.SetRules(rule("[")); err == nil {
		t.Error("a wrong pattern was taken")
	}
	w.write("b.js", "2") // the rules are as they were
	w.expect("b.js")
	w.must(w.watcher.SetRules(nil))
	if got := w.watched(); len(got) > 0 {
		t.Errorf("without rules %q is watched", got)
	}
	w.must(w.watcher.SetRules(rule("*.py")))
	w.write("b.js", "3")
	w.write("a.py", "3")
	w.expect("a.py")
}

// A file that is saved just before the rules change is not lost, whichever of
// the two is noticed first.
func TestNothingIsLostWhenRulesAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a.py", "**/*.py")
	for i := range 10 {
		name := fmt.Sprintf("new-%d/x.py", i)
		w.write(name, "new")
		w.must(w.watcher.SetRules([]Rule{{Name: "order", Dir: w.dir, Patterns: []string{"**/*.py", fmt.Sprintf("%d.js", i)}}}))
		w.expect(name)
	}
}

func TestLostEventsLeadToOneLook(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(w *world){
		"by the system": func(w *world) { w.watcher.queue.notify.Errors <- fsnotify.ErrEventOverflow },
		"by ourselves": func(w *world) {
			w.watcher.queue.mu.Lock()
			w.watcher.queue.limit = 1
			w.watcher.queue.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "same.py changed.py gone/x.py touched.py", "**/*.py")
			w.settle()
			w.watcher.mu.Lock() // nobody takes events meanwhile
			lose(w)
			w.write("changed.py", "new")
			w.write("touched.py", "touched.py")
			w.remove("gone")
			w.write("new/deep/y.py", "new")
			w.until("events are lost", func() bool {
				w.watcher.queue.mu.Lock()
				defer w.watcher.queue.mu.Unlock()
				return w.watcher.queue.lost
			})
			old := w.watcher.queue
			w.watcher.mu.Unlock()
			w.expect("changed.py", "gone/x.py", "new/deep/y.py")
			w.watcher.mu.Lock()
			if w.watcher.queue == old {
				t.Error("the watches are the old ones")
			}
			w.watcher.mu.Unlock()
			w.write("new/deep/y.py", "newer")
			w.expect("new/deep/y.py")
		})
	}
}

func TestTooFewWatchesAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a.py", "**/*.py")
	w.watcher.mu.Lock()
	w.watcher.add = func(string) error { return os.NewSyscallError("inotify_add_watch", syscall.ENOSPC) }
	w.watcher.mu.Unlock()
	err := w.watcher.SetRules([]Rule{{Name: "order", Dir: w.dir, Patterns: []string{"*.py"}}})
	want := "watch the folder " + w.dir + ": the system's limit is reached (inotify_add_watch: no space left on device); raise it with: " +
		"sudo sysctl fs.inotify.max_user_watches=1048576; a line with it in /etc/sysctl.d/60-angz.conf makes it stay"
	if !errors.Is(err, ErrLimit) || !errors.Is(err, syscall.ENOSPC) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// While it runs, the limit is said once, and what is watched stays watched.
func TestTooFewWatchesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a.py", "**/*.py")
	w.watcher.mu.Lock()
	w.watcher.add = func(string) error { return syscall.ENOSPC }
	w.watcher.mu.Unlock()
	for i := range 5 {
		w.must(os.Mkdir(w.path(fmt.Sprint("new-", i)), 0o755))
	}
	w.write("a.py", "new")
	w.expect("a.py")
	if n := strings.Count(w.log.String(), "level=ERROR"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestLimitsOfEachSystem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err          error
		system, want string
	}{
		{syscall.ENOSPC, "linux", "max_user_watches"}, {syscall.EMFILE, "linux", "max_user_instances"}, {syscall.EMFILE, "darwin", "ulimit -n"},
		{syscall.ENOENT, "linux", ""},
	} {
		if got := adviceFor(c.err, c.system); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v on %s: %s", c.err, c.system, got)
		}
	}
}

// The service writes a file of its own whenever it starts.
func TestAServiceThatWritesWhatItWatches(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "a.py data.json")
	starts := make(chan Change, 100)
	count := 0
	w.watchWith(Options{OnChange: func(c Change) {
		count++
		w.watcher.Started("order")
		w.write("data.json", fmt.Sprint(count))
		starts <- c
	}}, Rule{Name: "order", Dir: w.dir, Patterns: []string{"."}})
	w.write("a.py", "new")
	var muted Change
	for muted.Muted == 0 {
		select {
		case muted = <-starts:
		case <-time.After(patience):
			t.Fatal("it is not muted")
		}
	}
	if count > freeRounds+1 || w.relative(muted.Files[0]) != "data.json" {
		t.Errorf("after %d restarts: %+v", count, muted)
	}
}

func TestAWatcherThatIsNotRunIsClosed(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t, "a.py")
	watcher, err := New([]Rule{{Name: "order", Dir: w.dir, Patterns: []string{"*.py"}}}, Options{})
	w.must(err)
	watcher.Close()
	watcher.Close()
	w.must(watcher.SetRules(nil))
}
