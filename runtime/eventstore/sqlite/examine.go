package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Examined is what can be told of a store without opening it.
type Examined struct {
	Path    string // absolute
	Bytes   int64  // of the file itself; 0 while there is none
	Missing bool   // nobody has used it yet: opening makes it
}

// Examine looks at a store without opening, locking or changing it, also while
// another process has it. Its error says why Open would refuse it, and what to do.
func Examine(path string) (Examined, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Examined{}, fmt.Errorf("examine store %s: %w", path, err)
	}
	examined := Examined{Path: path}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		examined.Missing = true
		return examined, nil
	}
	if err == nil {
		examined.Bytes = info.Size()
	}
	// This process must not have the store open itself: closing a file that the
	// engine has open drops the engine's locks.
	return examined, (&file{path: path}).checkHeader()
}
