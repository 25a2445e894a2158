package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
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
	if address.TLS {
		return nil, fmt.Errorf("listen on %s: angz serves without TLS; put a proxy that ends TLS in front of it", address)
	}
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
	if longest := max(len(path), len(filepath.Dir(path))+len(hiddenName)); longest > maxSocketPath {
		return nil, fmt.Errorf("the path of the socket %s needs %d bytes, at most %d are possible: set transport.uds.base_path to a shorter folder", path, longest, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, err)
	}
	return listener, nil
}

// hiddenName is what the name of a hidden socket looks like, see hide.
const hiddenName = "/.00/s"

// bind makes a socket where nobody else looks and gives it its name only when
// its mode is right.
func bind(path string) (net.Listener, error) {
	hidden, err := hide(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(hidden)
	made := filepath.Join(hidden, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return &unixListener{UnixListener: listener, path: path}, nil
}

// hide makes a folder for a hidden socket. Its name is short, because all of it
// counts against maxSocketPath.
func hide(parent string) (string, error) {
	for n := 0; ; n++ {
		hidden := filepath.Join(parent, fmt.Sprintf(".%02x", n))
		err := os.Mkdir(hidden, 0o700)
		if err == nil || !errors.Is(err, os.ErrExist) || n == 0xff {
			return hidden, err
		}
	}
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
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	// Any other failure, such as too many callers waiting, is one of a socket
	// that somebody serves.
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
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
	path   string
	remove sync.Once
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close removes the socket first: once it refuses callers, the next process may
// have put its own there.
func (l *unixListener) Close() error {
	var removed error
	l.remove.Do(func() { removed = os.Remove(l.path) })
	if errors.Is(removed, os.ErrNotExist) {
		removed = nil
	}
	return errors.Join(removed, l.UnixListener.Close())
}
