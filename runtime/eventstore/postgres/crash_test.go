package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

// crashChild names the variable that makes the test binary play the process
// that is killed. It holds the URI of the store.
const crashChild = "ANGZ_POSTGRES_CRASH_CHILD"

// appendForEver appends with many callers and prints the id of each command
// that was acknowledged, until it is killed or the reader has gone.
func appendForEver(ctx context.Context, uri string, out io.Writer) error {
	store, err := postgres.Open(ctx, postgres.Options{URI: uri, Migrate: true, CorrelationIndex: true})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for caller := range 16 {
		go func() { failed <- appendCommands(ctx, store, caller, out) }()
	}
	return <-failed // the process ends with the first failure
}

func appendCommands(ctx context.Context, store eventstore.Store, caller int, out io.Writer) error {
	key := book.Key{Domain: "crash", Root: uuid.UUID{15: byte(caller)}}
	info, err := store.Aggregate(ctx, key)
	if err != nil {
		return err
	}
	for next := info.Next; ; {
		request := command(key, next, []string{"a", "b", "c"}[:1+rand.IntN(3)]...)
		answer, err := store.Append(ctx, request)
		if conflict := (*eventstore.Conflict)(nil); errors.As(err, &conflict) {
			next = conflict.Next // what the process before sent with its last breath
			continue
		}
		if err != nil {
			return err
		}
		next = answer.Next
		if _, err := fmt.Fprintln(out, request.CommandID); err != nil {
			return err
		}
	}
}

// TestKilledProcessLosesNothingAcknowledged kills a writing process at random
// moments, again and again on the same database.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	rounds := 15
	if text := os.Getenv("ANGZ_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	uri := server.Use(t)
	acknowledged := make(map[uuid.UUID]bool)
	for range rounds {
		killAfter(t, uri, rand.IntN(300), acknowledged)
	}
	checkLog(t, opened(t, uri), acknowledged)
	t.Logf("%d acknowledged commands in %d rounds", len(acknowledged), rounds)
}

// killAfter lets a child write until it has acknowledged some commands, kills
// it, and adds everything it has acknowledged until then.
func killAfter(t *testing.T, uri string, lines int, acknowledged map[uuid.UUID]bool) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashChild+"="+uri)
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); count++ {
		id, err := uuid.Parse(scanner.Text())
		if err != nil {
			break // a line that the kill has cut
		}
		acknowledged[id] = true
		if count == lines {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait() // it was killed
	if count < lines {
		t.Errorf("the child ended by itself after %d commands", count)
	}
}
