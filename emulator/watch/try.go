package watch

import (
	"errors"

	"github.com/fsnotify/fsnotify"
)

// Try finds out whether the system lets one more program watch a folder. Its
// error, which wraps ErrLimit where a limit is reached, says what to do.
func Try(folder string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return limitError(err, "")
	}
	if err := watcher.Add(folder); err != nil {
		return errors.Join(limitError(err, folder), watcher.Close())
	}
	return watcher.Close()
}
