package control

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/angz-dev/angz/emulator/project"
)

// The files of a project's folder .angz that belong to this package.
const (
	folderName = project.Folder
	lockName   = "lock"
	recordName = "control.json"
	socketName = "control.sock"
)

// lookup returns the value of a variable, empty if it is not set.
func lookup(environ []string, name string) string {
	value := ""
	for _, variable := range environ {
		if text, found := strings.CutPrefix(variable, name+"="); found {
			value = text
		}
	}
	return value
}

// registries returns the folders in which the person's running emulators may be
// written down, the best first: some cannot be written to, and which there are
// differs between a desktop and a connection from elsewhere.
func registries(environ []string) []string {
	var folders []string
	for _, place := range []struct{ variable, below string }{
		{"XDG_RUNTIME_DIR", "angz"}, {"XDG_STATE_HOME", "angz"}, {"HOME", ".local/state/angz"},
	} {
		if folder := lookup(environ, place.variable); filepath.IsAbs(folder) {
			folders = append(folders, filepath.Join(folder, place.below))
		}
	}
	return append(folders, temporary(environ))
}

// temporary returns the person's own folder among everybody's temporary files.
func temporary(environ []string) string {
	dir := lookup(environ, "TMPDIR")
	if !filepath.IsAbs(dir) {
		dir = "/tmp"
	}
	return filepath.Join(dir, fmt.Sprintf("angz-%d", os.Getuid()))
}

// mark tells the folder of a project from all others, in few letters.
func mark(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:8])
}

// socketPath returns where the project in dir is controlled: in its own folder
// or, where the path of that is too long for a socket, in one of the person's.
func socketPath(dir string, environ []string) (string, error) {
	paths := []string{filepath.Join(dir, folderName, socketName)}
	if runtime := lookup(environ, "XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		paths = append(paths, filepath.Join(runtime, "angz", mark(dir)+".sock"))
	}
	paths = append(paths, filepath.Join(temporary(environ), mark(dir)+".sock"), filepath.Join(temporary(nil), mark(dir)+".sock"))
	for _, path := range paths {
		if len(path) <= longestSocket {
			return path, nil
		}
	}
	return "", fmt.Errorf("no place for the control socket: the path %s is longer than %d bytes", paths[0], longestSocket)
}

// makePrivate makes a folder that only its owner can look into. One that is there
// already must be the person's own: others may write among temporary files.
func makePrivate(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	if !info.IsDir() || !isOurs(info) {
		return fmt.Errorf("%s is not a folder of yours: remove it, or set XDG_RUNTIME_DIR to a folder of your own", folder)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(folder, 0o700)
	}
	return nil
}
