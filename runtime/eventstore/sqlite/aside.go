package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// companions are the endings of what belongs to a database file. The file itself
// comes last: without it the others mean nothing, and it is what people see.
var companions = []string{"-wal", "-shm", ""}

// SetAside moves a store's file to another path, which it replaces, or removes it
// when that is empty. It fails when the file is not a store of angz or somebody
// has it open. moved is false when there was no file.
func SetAside(path, to string) (moved bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	path, err = resolve(path)
	if err != nil {
		return false, err
	}
	f := &file{path: path}
	if err := f.acquire(); err != nil {
		return false, err
	}
	if err := f.checkHeader(); err != nil {
		return false, errors.Join(err, f.release())
	}
	for _, ending := range companions {
		if to != "" {
			if err = os.Remove(to + ending); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = os.Rename(path+ending, to+ending)
			}
		} else {
			err = os.Remove(path + ending)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, errors.Join(fmt.Errorf("set the store %s aside: %w", path, err), f.release())
		}
	}
	return true, f.release()
}
