package watch

import (
	"os"
	"testing"
	"time"
)

// Each of these is how a program saves order.py; other.py is saved afterwards, so
// that what should not count would be seen.
func TestEditorsSave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		save    func(w *world)
		changed bool
	}{
		"in place": {func(w *world) { w.write("order.py", "new") }, true},
		"vim": {func(w *world) {
			// As strace shows it for Vim 9.0 with backupcopy=auto: a swap file is
			// kept open, 4913 tries whether the folder is writable, the old file
			// becomes the backup until the new one is complete.
			w.write(".order.py.swp", "swap")
			w.must(os.Chmod(w.path(".order.py.swp"), 0o644))
			probe, err := os.OpenFile(w.path("4913"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			w.must(err)
			w.must(probe.Close(), os.Remove(w.path("4913")))
			w.rename("order.py", "order.py~")
			written, err := os.OpenFile(w.path("order.py"), os.O_WRONLY|os.O_CREATE, 0o644)
			w.must(err)
			_, err = written.WriteString("new")
			w.must(err, written.Sync(), written.Close(), os.Chmod(w.path("order.py"), 0o644))
			w.remove("order.py~")
			w.remove(".order.py.swp")
		}, true},
		"vim's swap file": {func(w *world) {
			w.write(".order.py.swp", "swap")
			w.write(".order.py.swx", "swap")
			w.remove(".order.py.swx")
		}, false},
		"JetBrains": {func(w *world) {
			w.write("order.py___jb_tmp___", "new")
			w.rename("order.py", "order.py___jb_old___")
			w.rename("order.py___jb_tmp___", "order.py")
			w.remove("order.py___jb_old___")
		}, true},
		"Emacs": {func(w *world) {
			w.must(os.Symlink("somebody@host.1:2", w.path(".#order.py")))
			w.write("#order.py#", "new")
			w.rename("order.py", "order.py~")
			w.write("order.py", "new")
			w.remove(".#order.py")
			w.remove("#order.py#")
		}, true},
		"GNOME": {func(w *world) {
			w.write(".goutputstream-A1B2C3", "new")
			w.rename(".goutputstream-A1B2C3", "order.py")
		}, true},
		"an atomic save with a name of its own": {func(w *world) {
			w.write("order.py.tmp.1234", "new")
			w.rename("order.py.tmp.1234", "order.py")
		}, true},
		"removed and made again": {func(w *world) {
			w.remove("order.py")
			w.write("order.py", "new")
		}, true},
		"deleted":     {func(w *world) { w.remove("order.py") }, true},
		"permissions": {func(w *world) { w.must(os.Chmod(w.path("order.py"), 0o755)) }, false},
		"a formatter that writes the same": {func(w *world) {
			w.write("order.py", "order.py")
		}, false},
		"a formatter that replaces by the same": {func(w *world) {
			w.write("order.py.new", "order.py")
			w.rename("order.py.new", "order.py")
		}, false},
		"a compiler of Python": {func(w *world) {
			w.write("__pycache__/order.cpython-311.pyc", "code")
			w.write("order.pyc", "code")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pattern := range []string{"*.py", "."} {
				w := emptyWorld(t, "order.py other.py")
				// A machine that does much else may stop this test between two steps.
				w.watchWith(Options{Debounce: 300 * time.Millisecond, LongestWait: patience}, Rule{Name: "order", Dir: w.dir, Patterns: []string{pattern}})
				w.settle()
				c.save(w)
				w.write("other.py", "new")
				wanted := []string{"other.py"}
				if c.changed {
					wanted = append(wanted, "order.py")
				}
				if pattern == "." { // which means files of any name
					w.forgive("order.py.tmp.1234", "order.py.new")
				}
				w.expect(wanted...)
			}
		})
	}
}
