//go:build !unix

package control

import (
	"errors"
	"os"
)

// errUnsupported is what everything here fails with on systems without the locks
// of Unix.
var errUnsupported = errors.New("angz does not control emulators on this system yet: run it on Linux, macOS, or in WSL on Windows")

func tryLock(*os.File, bool) error { return errUnsupported }

func waitLock(*os.File) error { return errUnsupported }

func isAlive(int) bool { return false }

func isOurs(os.FileInfo) bool { return false }
