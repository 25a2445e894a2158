package supervise_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/angz-dev/angz/emulator/supervise"
)

// sweeps says that offspring is found also outside its process group.
const sweeps = true

// awaitGone waits until a process has ended, at most as long as the survivors of
// a kill may live.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			t.Errorf("process %d is still there: %q", pid, bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		}
		return
	}
}

// descendants returns the numbers of all processes below one.
func descendants(t *testing.T, of int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	var all []int
	for next := []int{of}; len(next) > 0; next = next[1:] {
		all = append(all, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	return all
}

func TestNothingOutlivesAKilledAngz(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		dir := folder(t)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=supervisor", addressVariable+"="+dir)
		output, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "all ready\n" {
			t.Fatalf("round %d: the supervisor said %q, %v", round, line, err)
		}
		family := descendants(t, cmd.Process.Pid)
		// Four services, the offspring of two, and the guardian.
		if len(family) != 7 {
			t.Errorf("round %d: %d processes, want 7", round, len(family))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range family {
			awaitGone(t, pid)
		}
		_, _ = io.Copy(io.Discard, output)
		_ = cmd.Wait()
		// The guardian is one of the family, so that its work is done.
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("round %d: sockets are left: %v, %v", round, left, err)
		}
	}
}

func TestTheHolderOfAPortIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	want := fmt.Sprintf("process %d (%s", os.Getpid(), os.Args[0])
	if got, ok := supervise.Holder(listener.Addr().String()); !ok || !strings.HasPrefix(got, want) {
		t.Errorf("got %q, %t, want %q", got, ok, want)
	}
	if got, ok := supervise.Holder("127.0.0.1:1"); ok {
		t.Errorf("port 1 is said to be of %s", got)
	}
}
