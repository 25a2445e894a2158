//go:build unix

package supervise

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sleeper starts a process that ends only when its input does or it is killed,
// and returns how it ended.
func sleeper(t *testing.T) (pid int, end func() string) {
	t.Helper()
	cmd := exec.Command("cat")
	setAttributes(cmd)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, func() string {
		_ = input.Close()
		_ = cmd.Wait()
		return cmd.ProcessState.String()
	}
}

func TestTheGuardianKillsOnlyWhatItWasToldAbout(t *testing.T) {
	t.Parallel()
	if startTime(os.Getpid()) == "" {
		t.Skip("this system does not tell when processes were started")
	}
	ours, endOurs := sleeper(t)
	reused, endReused := sleeper(t)
	forgotten, endForgotten := sleeper(t)
	w := ward{groups: map[int]string{}}
	for _, order := range []string{
		"group " + strconv.Itoa(ours) + " " + strconv.Quote(startTime(ours)),
		"group " + strconv.Itoa(reused) + ` "1"`, // started at another time: another process
		"group " + strconv.Itoa(forgotten) + " " + strconv.Quote(startTime(forgotten)),
		"forget " + strconv.Itoa(forgotten),
	} {
		if done, err := w.obey(order); done || err != nil {
			t.Fatalf("%s: %t, %v", order, done, err)
		}
	}
	if err := w.end(); err != nil {
		t.Error(err)
	}
	got := []string{endOurs(), endReused(), endForgotten()}
	if diff := cmp.Diff([]string{"signal: killed", "exit status 0", "exit status 0"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheGuardianRemovesOnlyDeadSockets(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "guard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dead, alive, file := filepath.Join(dir, "dead"), filepath.Join(dir, "alive"), filepath.Join(dir, "file")
	for _, path := range []string{dead, alive} {
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		t.Cleanup(func() { _ = listener.Close() })
		if path == dead {
			_ = listener.Close()
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := ward{sockets: []string{dead, alive, file, filepath.Join(dir, "missing")}}
	if err := w.end(); err != nil {
		t.Error(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if diff := cmp.Diff([]string{"alive", "file"}, left); diff != "" {
		t.Error(diff)
	}
}

// FuzzOrders checks that no order makes the guardian take other processes than
// groups of children for its own.
func FuzzOrders(f *testing.F) {
	for _, order := range []string{"done", "parent 7", `mark "a"`, `socket "/s"`, `socket "s"`, `group 12 "34"`, "forget 12", "group -1 \"\"", "group 1 x"} {
		f.Add(order)
	}
	f.Fuzz(func(t *testing.T, order string) {
		w := ward{groups: map[int]string{}}
		_, _ = w.obey(order)
		for group := range w.groups {
			if group < 2 {
				t.Errorf("%q made it guard group %d", order, group)
			}
		}
		for _, socket := range w.sockets {
			if !filepath.IsAbs(socket) {
				t.Errorf("%q made it remove %q", order, socket)
			}
		}
	})
}

func TestLinesComeWholeHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", maxLine)
	for text, want := range map[string][]string{
		"":                 nil,
		"a":                {"a"},
		"a\nb\r\n\nc":      {"a", "b", "", "c"},
		long + "\nz\n":     {long, "z"},
		long + "tail\nz\n": {long, "tail", "z"},
	} {
		reader, writer := io.Pipe()
		go func() {
			for _, b := range []byte(text) {
				_, _ = writer.Write([]byte{b})
			}
			_ = writer.Close()
		}()
		var got []string
		readLines(reader, func(line []byte) { got = append(got, string(line)) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.20q: %s", text, diff)
		}
	}
}

// FuzzLines checks that whatever a service prints arrives.
func FuzzLines(f *testing.F) {
	for _, text := range []string{"a\nb", "\x1b[31mred\x1b[0m\n", "10%\r20%\r\n", "\xff\xfe\x00\n", "ü\t€\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var joined bytes.Buffer
		readLines(bytes.NewReader(text), func(line []byte) {
			if bytes.ContainsRune(line, '\n') {
				t.Fatalf("%q is no line", line)
			}
			joined.Write(line)
		})
		strip := strings.NewReplacer("\n", "", "\r", "")
		if strip.Replace(joined.String()) != strip.Replace(string(text)) {
			t.Errorf("%q became %q", text, joined.Bytes())
		}
	})
}
