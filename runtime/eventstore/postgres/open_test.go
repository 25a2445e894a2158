package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/servertest"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// opening opens a store beside the test.
func opening(ctx context.Context, uri string, log *lines) <-chan error {
	ended := make(chan error, 1)
	go func() {
		store, err := postgres.Open(ctx, postgres.Options{URI: uri, Migrate: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err == nil {
			err = store.Close()
		}
		ended <- err
	}()
	return ended
}

func TestOpenWaitsForAServerThatCannotBeReached(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	proxy := servertest.NewProxy(t, server.Address())
	proxy.Cut()
	var log lines
	ended := opening(t.Context(), strings.Replace(through(uri, proxy), "postgres@", "postgres:s3cret@", 1), &log)
	until(t, "it says that it waits", func() bool { return strings.Contains(log.String(), "waiting for PostgreSQL") })
	proxy.Mend()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	said := log.String()
	if strings.Contains(said, "s3cret") || strings.Count(said, "waiting for PostgreSQL") != 1 || !strings.Contains(said, "PostgreSQL is there") {
		t.Errorf("the log says\n%s", said)
	}
}

func TestOpenWaitsForADatabaseThatIsNotThereAndSaysSo(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	var log lines
	ended := opening(t.Context(), uri+"_later", &log)
	until(t, "it says which database is missing", func() bool {
		return strings.Contains(log.String(), database(uri)+"_later") && strings.Contains(log.String(), "does not exist")
	})
	execute(t, uri, `CREATE DATABASE `+database(uri)+`_later`)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, "127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	var log lines
	ended := opening(ctx, "postgres://postgres:s3cret@"+proxy.Address()+"/db", &log)
	until(t, "it waits", func() bool { return log.String() != "" })
	cancel()
	select {
	case err := <-ended:
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience):
		t.Error("it did not end")
	}
}

func TestWatchTellsWhenTheDatabaseGoesAndComes(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	proxy := servertest.NewProxy(t, server.Address())
	store := opened(t, through(uri, proxy))
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan bool, 10)
	watched := make(chan error, 1)
	go func() { watched <- store.Watch(ctx, func(up bool) { told <- up }) }()
	next := func(want bool) {
		t.Helper()
		select {
		case up := <-told:
			if up != want {
				t.Errorf("told %t, want %t", up, want)
			}
		case <-time.After(patience):
			t.Fatalf("nobody told that up is %t", want)
		}
	}
	next(true)
	proxy.Cut()
	next(false)
	request := command(newKey("order"), 0, "a")
	if _, err := store.Append(t.Context(), request); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append meanwhile: got %v, want ErrUnavailable", err)
	}
	if _, err := store.Events(t.Context(), request.Key, eventstore.All); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("read meanwhile: got %v, want ErrUnavailable", err)
	}
	proxy.Mend()
	next(true)
	if answer, err := store.Append(t.Context(), request); err != nil || answer.Last != 1 {
		t.Errorf("append afterwards: %+v, %v", answer, err)
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

// Those who may not change the tables need no right to.
func TestOpenWithoutMigratingLeavesTheTablesAsTheyAre(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	if _, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{CorrelationIndex: true}); err != nil {
		t.Fatal(err)
	}
	role := "reader_" + database(uri)
	for _, statement := range []string{
		`CREATE ROLE ` + role + ` LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role,
	} {
		execute(t, uri, statement)
	}
	store, err := postgres.Open(t.Context(), postgres.Options{URI: strings.Replace(uri, "postgres@", role+"@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Append(t.Context(), command(newKey("order"), 0, "a")); err != nil {
		t.Error(err)
	}
}
