package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is how long the path of a Unix socket may be on every system
// that angz runs on.
const maxSocketPath = 103

// Listen binds an address. A socket is made with mode 0600 and its folders with
// 0700; one that a killed process left behind is replaced, one that is in use is
// refused. Closing the listener removes the socket.
func Listen(address Address) (net.Listener, error) {
	if address.Network == "unix" {
		return listenUnix(address.Address)
	}
	listener, err := net.Listen("tcp", address.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: stop the program that listens there, or configure another port", address.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address.Address, err)
	}
	return listener, nil
}

func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the socket %s has %d bytes, at most %d are possible: set transport.uds.base_path to a shorter folder", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The socket is made where nobody else looks and gets its name only when
	// its mode is right.
	hidden, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, err)
	}
	defer os.RemoveAll(hidden)
	made := filepath.Join(hidden, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("make the socket %s: %w", path, err), listener.Close())
	}
	return &unixListener{UnixListener: listener, path: path}, nil
}

// removeStale removes a socket at which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket %s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket: remove it, or set transport.uds.base_path to another folder", path)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use: another angz or service listens there; stop it, or set transport.uds.base_path to another folder", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale socket: %w", err)
	}
	return nil
}

// unixListener removes its socket when it is closed and knows the name that the
// socket was given at last.
type unixListener struct {
	*net.UnixListener
	path string
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		err = os.Remove(l.path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
