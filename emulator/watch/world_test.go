package watch

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is for machines that do much else.
const patience = time.Minute

// world is a project in a folder of its own with a watcher on it.
type world struct {
	t       *testing.T
	dir     string
	watcher *Watcher
	changes chan Change
	log     *lockedBuffer
	ignored []string // files that may count as changed, or not
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newWorld makes files, whose content is their name, and watches them for one
// rule.
func newWorld(t *testing.T, files string, patterns ...string) *world {
	t.Helper()
	w := emptyWorld(t, files)
	w.watch(Rule{Name: "order", Dir: w.dir, Patterns: patterns})
	return w
}

func emptyWorld(t *testing.T, files string) *world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, changes: make(chan Change, 1000), log: &lockedBuffer{}}
	for _, name := range strings.Fields(files) {
		w.write(name, name)
	}
	return w
}

func (w *world) watch(rules ...Rule) { w.t.Helper(); w.watchWith(Options{}, rules...) }

func (w *world) watchWith(options Options, rules ...Rule) {
	w.t.Helper()
	options.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if options.OnChange == nil {
		options.OnChange = func(c Change) { w.changes <- c }
	}
	if options.LongestWait == 0 {
		options.LongestWait = 200 * time.Millisecond // of calm is enough here, too
	}
	watcher, err := New(rules, options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(watcher)
}

func (w *world) run(watcher *Watcher) {
	w.watcher = watcher
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		if w.t.Failed() {
			w.t.Logf("%s", w.log)
		}
	})
}

func (w *world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// write saves a file in one step, as if all its folders had always been there.
func (w *world) write(name, content string) {
	w.t.Helper()
	path := w.path(name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

func (w *world) must(errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) remove(name string)     { w.t.Helper(); w.must(os.RemoveAll(w.path(name))) }
func (w *world) rename(from, to string) { w.t.Helper(); w.must(os.Rename(w.path(from), w.path(to))) }
func (w *world) relative(path string) string {
	relative, err := filepath.Rel(w.dir, path)
	w.must(err)
	return filepath.ToSlash(relative)
}

func (w *world) next() Change {
	w.t.Helper()
	select {
	case change := <-w.changes:
		for i, path := range change.Files {
			change.Files[i] = w.relative(path)
		}
		return change
	case <-time.After(patience):
		w.t.Fatalf("no change was told\n%s", w.log)
		return Change{}
	}
}

// expect waits until exactly these files have changed, in one change or several.
// Since changes are told in order, it also shows that nothing before counted.
func (w *world) expect(files ...string) {
	w.t.Helper()
	missing := map[string]bool{}
	for _, name := range files {
		missing[name] = true
	}
	for len(missing) > 0 {
		for _, name := range w.next().Files {
			if !slices.Contains(files, name) && !slices.Contains(w.ignored, name) {
				w.t.Fatalf("%s counts as changed, expected only %q\n%s", name, files, w.log)
			}
			delete(missing, name)
		}
	}
}

// forgive names files that exist for so short that it is left open whether they
// are seen.
func (w *world) forgive(files ...string) { w.ignored = files }

// expectOnly is expect for files that all changed in one go.
func (w *world) expectOnly(want Change) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.next()); diff != "" {
		w.t.Fatalf("%s\n%s", diff, w.log)
	}
}

// settle waits until the content of all files is known.
func (w *world) settle() {
	w.t.Helper()
	w.until("all files are read", func() bool {
		w.watcher.mu.Lock()
		defer w.watcher.mu.Unlock()
		for _, f := range w.watcher.folders {
			for _, known := range f.files {
				if known.readable() {
					return false
				}
			}
		}
		return true
	})
}

func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not so: %s\n%s", what, w.log)
		}
	}
}

// watched lists the folders with a watch.
func (w *world) watched() []string {
	w.watcher.mu.Lock()
	defer w.watcher.mu.Unlock()
	var list []string
	for path := range w.watcher.folders {
		list = append(list, w.relative(path))
	}
	return list
}
