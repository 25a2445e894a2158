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
		return nil, fmt.Errorf("listen on %s: say where as host:port; transport.tls.cert and transport.tls.key make all doors speak TLS", address)
	}
	if address.Network == "unix" {
		return listenUnix(address.Address)
	}
	listener, err := net.Listen("tcp", address.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &inUse{address.Address}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address.Address, err)
	}
	return listener, nil
}

// inUse says that another program listens at an address. It is an EADDRINUSE.
type inUse struct{ address string }

func (e *inUse) Error() string {
	return e.address + " is in use: stop the program that listens there, or configure another port"
}

// Unwrap lets callers tell a port in use from other trouble.
func (e *inUse) Unwrap() error { return syscall.EADDRINUSE }

func listenUnix(path string) (net.Listener, error) {
	if longest := max(len(path), len(filepath.Dir(path))+len(hiddenName)); longest > maxSocketPath {
		return nil, fmt.Errorf("the path of the socket %s needs %d bytes, at most %d are possible: set transport.uds.base_path to a shorter folder", path, longest, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, err)
	}
	return listener, nil
}

// lock keeps others from making sockets in a folder: of two that start at once,
// the second would take the first one's new socket for the stale one that both
// have seen. Nothing is left behind by one that is killed.
func lock(folder string) (unlock func() error, err error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err == nil, errors.Is(err, errors.ErrUnsupported): // some file systems have no locks
			return file.Close, nil
		default:
			return nil, errors.Join(fmt.Errorf("lock the folder: %w", err), file.Close())
		}
	}
}

// hiddenName is where in its folder a socket is made. It is short, because all of
// it counts against maxSocketPath.
const hiddenName = "/.s/s"

// bind makes a socket where nobody else looks and gives it its name only when
// its mode is right.
func bind(path string) (net.Listener, error) {
	made := filepath.Dir(path) + hiddenName
	hidden := filepath.Dir(made)
	if err := removeAll(made, hidden); err != nil { // of one that was killed here
		return nil, err
	}
	if err := os.Mkdir(hidden, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, removeAll(hidden))
	}
	listener.SetUnlinkOnClose(false)
	named := &unixListener{UnixListener: listener, path: path}
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path), removeAll(hidden)); err != nil {
		return nil, errors.Join(err, named.Close(), removeAll(made, hidden))
	}
	return named, nil
}

// removeAll removes files and empty folders that may be there.
func removeAll(names ...string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
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
	if err := removeAll(path); err != nil {
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
	l.remove.Do(func() { removed = removeAll(l.path) })
	return errors.Join(removed, l.UnixListener.Close())
}
