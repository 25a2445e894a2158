package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/runtime/node"
)

// machine returns the checks of what every project on this machine needs.
func (o *Options) machine() []node.Check {
	checks := []node.Check{{What: "clock", Run: o.clock}, {What: "open files", Run: openFiles}}
	if o.Dev {
		checks = append(checks, node.Check{What: "watching files", Run: o.watching})
	}
	return append(checks, node.Check{What: "temporary files", Run: temporary})
}

// fewFiles is how many open files are too few for many clients at once.
const fewFiles = 1024

func openFiles(context.Context) []Finding {
	const what = "open files"
	limit, known := fileLimit()
	switch {
	case !known:
		return nil
	case limit < fewFiles:
		return warning(what, fmt.Sprintf("a process may have %d", limit), "allow more with: ulimit -n 65536", "ulimit -a")
	}
	return ok(what, fmt.Sprintf("a process may have %d", limit))
}

// watching tries to watch the folder, which is what a limit that is reached
// prevents, however large it is.
func (o *Options) watching(context.Context) []Finding {
	const what = "watching files"
	look := ""
	if runtime.GOOS == "linux" {
		look = "sysctl fs.inotify"
	}
	if err := watch.Try(o.Dir); err != nil {
		return problem(what, err.Error(), "", look)
	}
	if limits := inotifyLimits("/proc/sys/fs/inotify"); limits != "" {
		return ok(what, "works; the system allows "+limits)
	}
	return ok(what, "works")
}

// inotifyLimits says how much one user may watch on Linux, empty elsewhere.
func inotifyLimits(folder string) string {
	watches, err := os.ReadFile(filepath.Join(folder, "max_user_watches"))
	instances, err2 := os.ReadFile(filepath.Join(folder, "max_user_instances"))
	if errors.Join(err, err2) != nil {
		return ""
	}
	return fmt.Sprintf("%s folders in %s programs", strings.TrimSpace(string(watches)), strings.TrimSpace(string(instances)))
}

// temporary tries to write where the control socket goes when the project's
// folder has too long a path, and compilers write.
func temporary(context.Context) []Finding {
	folder := os.TempDir()
	if err := tryWriting(folder); err != nil {
		return problem("temporary files", fmt.Sprintf("%s cannot be written: %v", folder, err), "make it writable, or set TMPDIR to a folder that is", "df -h "+folder)
	}
	return ok("temporary files", folder+" can be written")
}

// tryWriting makes a file in a folder and removes it.
func tryWriting(folder string) error {
	file, err := os.CreateTemp(folder, ".angz-doctor-")
	if err != nil {
		return withoutPath(err)
	}
	_, err = file.WriteString("x")
	return errors.Join(withoutPath(err), file.Close(), os.Remove(file.Name()))
}

// withoutPath takes the name of a file that nobody knows out of an error.
func withoutPath(err error) error {
	var cause *os.PathError
	if errors.As(err, &cause) {
		return cause.Err
	}
	return err
}

// clock looks for signs that this machine's clock is wrong: a time before angz
// was made, or files of the project from the future.
func (o *Options) clock(context.Context) []Finding {
	now := time.Now()
	const fix = "set it by a time service: the times of events come from it"
	look := "date"
	if runtime.GOOS == "linux" {
		look = "timedatectl"
	}
	if !o.Built.IsZero() && now.Before(o.Built.Add(-tolerance)) {
		return problem("clock", fmt.Sprintf("it shows %s, which is before this angz was made (%s)", now.UTC().Format(time.DateTime), o.Built.UTC().Format(time.DateTime)), fix, look)
	}
	for _, file := range o.dated() {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(now.Add(tolerance)) {
			return warning("clock", fmt.Sprintf("it shows %s, but %s was written at %s", now.UTC().Format(time.DateTime), file, info.ModTime().UTC().Format(time.DateTime)), fix, look)
		}
	}
	return ok("clock", now.UTC().Format(time.DateTime)+" UTC")
}

// tolerance is what clocks may differ by without anybody being misled.
const tolerance = time.Minute

// dated lists files that angz has written at a time by this clock.
func (o *Options) dated() []string {
	if o.Config == nil || o.Config.File == "" {
		return nil
	}
	files := []string{filepath.Join(o.Config.Dir, ownFolder)}
	if path := o.Config.Storage.SQLite.Path; o.Config.Storage.Type == "sqlite" && path != "" && path != ":memory:" {
		files = append(files, o.inProject(path), o.inProject(path)+"-wal")
	}
	return files
}

// inProject returns a path of the configuration as seen from its file.
func (o *Options) inProject(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.Config.Dir, path)
}
