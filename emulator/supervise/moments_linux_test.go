package supervise_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/angz-dev/angz/emulator/supervise"
)

// left lists the processes that carry a variable in their environment and the
// files in a folder.
func left(t *testing.T, variable, dir string) (things []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environs {
		if environ, err := os.ReadFile(path); err == nil && bytes.Contains(environ, []byte(variable)) {
			things = append(things, path)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		things = append(things, file.Name())
	}
	return things
}

// awaitCondition fails the test unless something becomes true within a minute.
func awaitCondition(t *testing.T, met func() bool, complain func() string) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(complain())
		}
	}
}

// TestNothingOutlivesAnAngzThatIsKilledWhileItStarts kills it at any moment, also
// between the birth of a process and the word about it to the guardian.
func TestNothingOutlivesAnAngzThatIsKilledWhileItStarts(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		dir, variable := folder(t), fmt.Sprintf("SUPERVISE_TEST_ROUND=%d.%d.", os.Getpid(), round)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=supervisor", addressVariable+"="+dir, variable)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(rand.Int64N(int64(80 * time.Millisecond)))
		<-time.After(moment)
		if err := errors.Join(cmd.Process.Kill(), ignoreExit(cmd.Wait())); err != nil {
			t.Fatal(err)
		}
		awaitCondition(t, func() bool { return len(left(t, variable, dir)) == 0 }, func() string {
			return fmt.Sprintf("killed after %s, two seconds later there is %q", moment, left(t, variable, dir))
		})
	}
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func TestTheGuardianIgnoresWhatIsMeantForAngz(t *testing.T) {
	t.Parallel()
	path := socket(t)
	cmd := exec.Command(os.Args[0], "guard")
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitCondition(t, func() bool { return ignores(cmd.Process.Pid, syscall.SIGTERM) }, func() string { return "the guardian heeds SIGTERM" })
	fmt.Fprintf(orders, "socket %q\n", path)
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	left := listenAndLeave(path)
	if err := errors.Join(left, orders.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// ignores reports whether a process ignores a signal.
func ignores(pid int, signal syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, found := bytes.Cut(text, []byte("SigIgn:\t"))
	var mask uint64
	_, scanned := fmt.Sscanf(string(rest), "%x", &mask)
	return err == nil && found && scanned == nil && mask&(1<<(signal-1)) != 0
}

// listenAndLeave makes a socket at which nobody listens.
func listenAndLeave(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd))
}

func TestAShellMakesWayForAServiceThatNeedsNoneOfIt(t *testing.T) {
	t.Parallel()
	address := socket(t)
	s := spec("healthy", address)
	s.Run = supervise.Command{Shell: os.Args[0]}
	r := run(t, supervise.Options{}, s)
	pid := r.await("healthy", supervise.Ready).PID
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.HasPrefix(command, []byte(os.Args[0])) {
		t.Errorf("process %d is %q, %v; want the service", pid, command, err)
	}
}
