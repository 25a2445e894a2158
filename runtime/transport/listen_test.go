package transport_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

func listenUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := transport.Listen(transport.Address{Network: "unix", Address: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestASocketIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	folder := runtimetest.Folder(t)
	path := filepath.Join(folder, "made", "for", "it.sock")
	listener := listenUnix(t, path)
	if got := listener.Addr().String(); got != path {
		t.Errorf("listens at %s", got)
	}
	for name, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, filepath.Dir(path): os.ModeDir | 0o700, filepath.Join(folder, "made"): os.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the socket: %v, %v", entries, err)
	}
}

func TestClosingRemovesTheSocketOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	first := listenUnix(t, path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	listenUnix(t, path)
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing again took the next one's socket away: %v", err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	killed.Close()
	listenUnix(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func refused(t *testing.T, address transport.Address, want string) {
	t.Helper()
	if listener, err := transport.Listen(address); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, %v, want an error with %q", listener, err, want)
	}
}

func TestASocketInUseIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	listenUnix(t, path)
	refused(t, transport.Address{Network: "unix", Address: path}, path+" is in use: another angz or service listens there; stop it, or set")
}

func TestABusySocketIsNotTakenForAStaleOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	// Nobody accepts, so callers wait until there is no room to wait.
	for {
		conn, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	refused(t, transport.Address{Network: "unix", Address: path}, path+" is in use")
}

func TestAFileInTheWayIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, transport.Address{Network: "unix", Address: path}, path+" exists and is not a socket: remove it, or set transport.uds.base_path")
	refused(t, transport.Address{Network: "unix", Address: filepath.Join(path, "b.sock")}, "make the folder of the socket")
}

func TestThePathOfASocketHasALimit(t *testing.T) {
	t.Parallel()
	folder := runtimetest.Folder(t)
	at := func(length int) transport.Address {
		return transport.Address{Network: "unix", Address: filepath.Join(folder, strings.Repeat("x", length-len(folder)-1))}
	}
	listener, err := transport.Listen(at(103))
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	refused(t, at(104), "needs 104 bytes, at most 103 are possible: set transport.uds.base_path to a shorter folder")
	// A long folder with a short name: the socket is made under another name.
	deep := filepath.Join(folder, strings.Repeat("d", 103-len(folder)-len("//s.sock")))
	listener, err = transport.Listen(transport.Address{Network: "unix", Address: filepath.Join(deep, "s.sock")})
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func TestAPortInUseIsRefusedWithAWayOut(t *testing.T) {
	t.Parallel()
	listener, err := transport.Listen(transport.Address{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	refused(t, transport.Address{Network: "tcp", Address: taken}, taken+" is in use: stop the program that listens there, or configure another port")
	refused(t, transport.Address{Network: "tcp", Address: "192.0.2.1:0"}, "listen on 192.0.2.1:0: ")
	refused(t, transport.Address{Network: "tcp", Address: "127.0.0.1:0", TLS: true}, "say where as host:port; transport.tls.cert")
}

// Two that start at once both see the stale socket; the slower one must not take
// the faster one's for it.
func TestOneOfManyThatStartAtOnceGetsTheSocket(t *testing.T) {
	t.Parallel()
	for range 20 {
		path := filepath.Join(runtimetest.Folder(t), "a.sock")
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		stale.Close()
		got := make(chan net.Listener, 8)
		var starting sync.WaitGroup
		for range cap(got) {
			starting.Go(func() {
				listener, err := transport.Listen(transport.Address{Network: "unix", Address: path})
				if err == nil {
					got <- listener
				} else if !strings.Contains(err.Error(), path+" is in use") {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		if len(got) != 1 {
			t.Errorf("%d got the socket", len(got))
		}
		close(got)
		for listener := range got {
			listener.Close()
		}
	}
}

func TestWhatAKilledProcessLeftHalfMadeIsReplaced(t *testing.T) {
	t.Parallel()
	folder := runtimetest.Folder(t)
	if err := os.Mkdir(filepath.Join(folder, ".s"), 0o700); err != nil {
		t.Fatal(err)
	}
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, ".s", "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	killed.Close()
	listenUnix(t, filepath.Join(folder, "a.sock"))
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("left beside the socket: %v, %v", entries, err)
	}
}
