package sqlite

import (
	"bufio"
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// crashChild names the variable that makes the test binary play the process
// that is killed. It holds the path of the store.
const crashChild = "ANGZ_CRASH_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashChild); path != "" {
		if err := appendForEver(path, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	m.Run()
}

// appendForEver appends with many callers and prints the id of each command
// that was acknowledged, until it is killed or the reader has gone.
func appendForEver(path string, out io.Writer) error {
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: path, CorrelationIndex: true})
	if err != nil {
		return err
	}
	shared, err := s.Share(ctx, eventstore.Share{Name: "crash", Member: uuid.New(), Slices: 1, Lease: time.Hour})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for caller := range 16 {
		go func() { failed <- appendCommands(ctx, s, caller, out) }()
	}
	go func() { failed <- advanceForEver(ctx, s, shared.Slices[0]) }()
	return <-failed // the process ends with the first failure
}

func appendCommands(ctx context.Context, s *Store, caller int, out io.Writer) error {
	key := book.Key{Domain: "crash", Root: uuid.UUID{15: byte(caller)}}
	info, err := s.Aggregate(ctx, key)
	if err != nil {
		return err
	}
	for next := info.Next; ; {
		request := command(key, next, []string{"a", "b", "c"}[:1+rand.IntN(3)]...)
		answer, err := s.Append(ctx, request)
		if err != nil {
			return err
		}
		next = answer.Next
		if _, err := fmt.Fprintln(out, request.CommandID); err != nil {
			return err
		}
	}
}

func advanceForEver(ctx context.Context, s *Store, slice eventstore.Slice) error {
	for position := slice.Position; ; {
		changed := s.Changed()
		head := s.Head()
		if err := s.Advance(ctx, eventstore.Advance{
			Name: "crash", Moves: []eventstore.Move{{Epoch: slice.Epoch, From: position, To: head}},
		}); err != nil {
			return err
		}
		position = head
		<-changed
	}
}

// TestKilledProcessLosesNothingAcknowledged kills a writing process at random
// moments, again and again on the same file.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	rounds := 30
	if text := os.Getenv("ANGZ_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "store.db")
	acknowledged := make(map[uuid.UUID]bool)
	for round := range rounds {
		killAfter(t, path, rand.IntN(400), acknowledged)
		if !survived(t, path, acknowledged) {
			t.Fatalf("after round %d", round)
		}
	}
	t.Logf("%d acknowledged commands in %d rounds", len(acknowledged), rounds)
}

// killAfter lets a child write until it has acknowledged some commands, kills
// it, and adds everything it has acknowledged until then.
func killAfter(t *testing.T, path string, lines int, acknowledged map[uuid.UUID]bool) {
	t.Helper()
	child, scanner := startChild(t, path)
	var kill sync.Once
	for count := 0; scanner.Scan(); count++ {
		id, err := uuid.Parse(scanner.Text())
		if err != nil {
			break // a line that the kill has cut
		}
		acknowledged[id] = true
		if count >= lines {
			kill.Do(func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Wait() // it was killed
}

// startChild starts a process that writes to the store and returns what it
// prints.
func startChild(t *testing.T, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashChild+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, bufio.NewScanner(out)
}

func TestStoreOfAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	child, scanner := startChild(t, path)
	if !scanner.Scan() {
		t.Fatal("the child wrote nothing")
	}
	_, err := Open(t.Context(), Options{Path: path})
	if want := fmt.Sprintf("%s: it is in use by process %d; stop that first", path, child.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	_ = child.Process.Kill()
	for scanner.Scan() { // the pipe must be empty before Wait
	}
	_ = child.Wait() // it was killed
	opened(t, path)
}

// survived opens the store and checks all that is in it.
func survived(t *testing.T, path string, acknowledged map[uuid.UUID]bool) bool {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path, CorrelationIndex: true})
	if err != nil {
		t.Error(err)
		return false
	}
	defer s.Close()
	ok := checkLog(t, s, acknowledged)
	positions, err := s.Positions(t.Context())
	if err != nil || len(positions) > 0 && positions[0].Position > s.Head() {
		t.Errorf("positions %+v, head %d, %v", positions, s.Head(), err)
		ok = false
	}
	err = s.read(t.Context(), func(ctx context.Context, c *conn) error {
		return c.query(ctx, `PRAGMA integrity_check`, func(row []driver.Value) error {
			if text(row[0]) != "ok" {
				return fmt.Errorf("integrity check: %s", text(row[0]))
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
		ok = false
	}
	return ok
}

// checkLog checks that the log has no holes and no doubles and holds whole
// commands, all acknowledged ones among them.
func checkLog(t *testing.T, s *Store, acknowledged map[uuid.UUID]bool) bool {
	t.Helper()
	next := make(map[book.Key]uint32)
	seen := make(map[uuid.UUID]bool)
	for position := uint64(0); position < s.Head(); {
		events, err := s.ReadLog(t.Context(), position, 1000)
		if err != nil {
			t.Error(err)
			return false
		}
		for i := range events {
			event := &events[i]
			position++
			if event.Position != position || event.Sequence != next[event.Key] || event.Offset == 0 == seen[event.CommandID] {
				t.Errorf("at position %d and number %d: %+v", position, next[event.Key], event)
				return false
			}
			next[event.Key]++
			seen[event.CommandID] = true
		}
		if !events[len(events)-1].Last() {
			t.Errorf("the command at position %d is cut", position)
			return false
		}
	}
	for id := range acknowledged {
		if !seen[id] {
			t.Errorf("acknowledged command %s is lost", id)
			return false
		}
	}
	return true
}
