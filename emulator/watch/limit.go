package watch

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// ErrLimit says that the system allows no more watches. Its text, where it is
// wrapped, says how to raise the limit.
var ErrLimit = errors.New("the system's limit is reached")

// limitError explains why a folder cannot be watched. Without a folder, the
// watching cannot begin.
func limitError(err error, folder string) error {
	what := "watch files"
	if folder != "" {
		what = "watch the folder " + folder
	}
	if advice := adviceFor(err, runtime.GOOS); advice != "" {
		return fmt.Errorf("%s: %w (%w); %s", what, ErrLimit, err, advice)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// adviceFor returns the next step, or nothing where no limit is at fault.
func adviceFor(err error, system string) string {
	const stays = "; a line with it in /etc/sysctl.d/60-angz.conf makes it stay"
	switch {
	case system == "linux" && errors.Is(err, syscall.ENOSPC):
		return "raise it with: sudo sysctl fs.inotify.max_user_watches=1048576" + stays
	case system == "linux" && errors.Is(err, syscall.EMFILE):
		return "raise it with: sudo sysctl fs.inotify.max_user_instances=1024" + stays + "; or, if the process has too many files open, with: ulimit -n 65536"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "raise it with: ulimit -n 65536 (a watched folder needs an open file for each file in it on this system)"
	}
	return ""
}
