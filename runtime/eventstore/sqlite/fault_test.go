package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// opened opens a store for the time of the test; path may be empty.
func opened(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path, CorrelationIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func command(key book.Key, next uint32, payloads ...string) eventstore.Append {
	request := eventstore.Append{CommandID: uuid.Must(uuid.NewV7()), Key: key, Next: next, CorrelationID: "correlation"}
	for _, payload := range payloads {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "t/Happened", Payload: []byte(payload)})
	}
	return request
}

func newKey() book.Key { return book.Key{Domain: "order", Root: uuid.New()} }

// withWriter gives the writer's connection to a test while the writer has
// nothing to do.
func withWriter(t *testing.T, s *Store, work func(*conn) error) {
	t.Helper()
	c, err := s.writer.conns.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := work(c); err != nil {
		t.Fatal(err)
	}
	s.writer.conns.put(c, nil)
}

// batch makes requests that are committed together. The outcomes are complete
// when the batch has been processed.
func batch(commands ...eventstore.Append) (requests []*request, outcomes []eventstore.Appended) {
	outcomes = make([]eventstore.Appended, len(commands))
	for i, c := range commands {
		requests = append(requests, &request{bytes: c.Bytes(), apply: func(ctx context.Context, t *transaction) (err error) {
			outcomes[i], err = t.append(ctx, &c, uuid.Nil)
			return err
		}})
	}
	return requests, outcomes
}

func TestFullDiskFailsTheWholeBatchAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"file": filepath.Join(t.TempDir(), "store.db"), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := opened(t, path)
			key := newKey()
			if _, err := s.Append(t.Context(), command(key, 0, "before")); err != nil {
				t.Fatal(err)
			}
			limitPages(t, s, 2)
			requests, _ := batch(command(key, 1, "small"), command(key, 2, strings.Repeat("x", 1<<20)), command(newKey(), 0, "other"))
			s.writer.process(t.Context(), requests)
			for i, r := range requests {
				if !errors.Is(r.answer, eventstore.ErrUnavailable) {
					t.Errorf("request %d: got %v, want ErrUnavailable", i, r.answer)
				}
			}
			limitPages(t, s, 1<<20)
			answer, err := s.Append(t.Context(), command(key, 1, "after"))
			if want := (eventstore.Appended{Next: 2, Last: 2}); err != nil || answer.Next != want.Next || answer.Last != want.Last {
				t.Errorf("after the failure: %+v, %v", answer, err)
			}
			wantPayloads(t, s, "before", "after")
		})
	}
}

// limitPages lets the database grow only by so many pages. A file's limit goes
// with its connection.
func limitPages(t *testing.T, s *Store, more int64) {
	withWriter(t, s, func(c *conn) error {
		pages, err := c.number(t.Context(), `PRAGMA page_count`)
		if err != nil {
			return err
		}
		return c.once(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages+more))
	})
}

func wantPayloads(t *testing.T, s *Store, want ...string) {
	t.Helper()
	for name, read := range map[string]func() ([]eventstore.Event, error){
		"memory":   func() ([]eventstore.Event, error) { return s.ReadLog(t.Context(), 0, 1000) },
		"database": func() ([]eventstore.Event, error) { return s.readPage(t.Context(), 1000, selectLog, int64(0)) },
	} {
		events, err := read()
		if err != nil {
			t.Fatal(err)
		}
		var payloads []string
		for _, event := range events {
			payloads = append(payloads, string(event.Payload))
		}
		if strings.Join(payloads, " ") != strings.Join(want, " ") {
			t.Errorf("the %s holds %.200q, want %q", name, payloads, want)
		}
	}
}

func TestRequestsOfOneBatchSeeEachOther(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	key := newKey()
	first, second, late := command(key, 0, "a", "b"), command(key, 2, "c"), command(key, 2, "late")
	repetition := first
	repetition.Repeatable = true
	second.Name = "name"
	requests, outcomes := batch(first, second, late, repetition)
	s.writer.process(t.Context(), requests)
	for i, want := range []eventstore.Appended{{Next: 2, Last: 2}, {Next: 3, Last: 3}, {}, {Next: 3, Last: 2, Duplicate: true}} {
		got := outcomes[i]
		if got.Next != want.Next || got.Last != want.Last || got.Duplicate != want.Duplicate {
			t.Errorf("request %d: got %+v, want %+v", i, got, want)
		}
	}
	if conflict := (*eventstore.Conflict)(nil); !errors.As(requests[2].answer, &conflict) || conflict.Next != 3 {
		t.Errorf("the late request: got %v, want a conflict at 3", requests[2].answer)
	}
	if events := outcomes[3].Events; len(events) != 2 || events[0].Name != "name" {
		t.Errorf("the repetition: got %+v", events)
	}
	wantPayloads(t, s, "a", "b", "c")
}

func TestCommandAnnouncedAsNewTwiceInOneBatchIsStoredOnce(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	first := command(newKey(), 0, "a")
	again := first
	again.Next = 1
	requests, outcomes := batch(command(newKey(), 0, "other"), first, again)
	s.writer.process(t.Context(), requests)
	for i, r := range requests {
		if r.answer != nil {
			t.Errorf("request %d: %v", i, r.answer)
		}
	}
	if !outcomes[2].Duplicate || outcomes[1].Duplicate || outcomes[2].Last != outcomes[1].Last {
		t.Errorf("got %+v and %+v", outcomes[1], outcomes[2])
	}
	wantPayloads(t, s, "other", "a")
}

func TestEventsOfAForeignWriterAreNoticed(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	key := newKey()
	if _, err := s.Append(t.Context(), command(key, 0, "ours")); err != nil {
		t.Fatal(err)
	}
	foreign, err := s.file.connectWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := uuid.New()
	_, err = foreign.exec(t.Context(), insertEvent, int64(2), int64(1), int64(1), int64(0), int64(1), int64(0),
		other[:], "", "", "t/Happened", []byte("theirs"), nil)
	if err := errors.Join(err, foreign.close()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Append(t.Context(), command(key, 1, "late"))
	if conflict := (*eventstore.Conflict)(nil); !errors.As(err, &conflict) || conflict.Next != 2 {
		t.Errorf("got %v, want a conflict at 2", err)
	}
	if _, err := s.Append(t.Context(), command(key, 2, "after")); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, s, "ours", "theirs", "after")
}

func TestForeignLockMakesWritesUnavailableForAWhile(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	key := newKey()
	foreign, err := s.file.connectWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.once(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	withWriter(t, s, func(c *conn) error { return c.once(t.Context(), `PRAGMA busy_timeout = 1`) })
	if _, err := s.Append(t.Context(), command(key, 0, "refused")); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := foreign.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), command(key, 0, "accepted")); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, s, "accepted")
}

func TestFullQueueIsOverloaded(t *testing.T) {
	t.Parallel()
	s := opened(t, "")
	started, release := make(chan struct{}), make(chan struct{})
	queue := func(apply func()) *request {
		r := &request{done: make(chan struct{}), apply: func(context.Context, *transaction) error {
			apply()
			return nil
		}}
		if err := s.writer.enqueue(r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	queue(func() { close(started); <-release })
	<-started
	var newest *request
	for range queueLength {
		newest = queue(func() {})
	}
	if _, err := s.Append(t.Context(), command(newKey(), 0, "refused")); !errors.Is(err, eventstore.ErrOverloaded) {
		t.Errorf("got %v, want ErrOverloaded", err)
	}
	close(release)
	<-newest.done
	if _, err := s.Append(t.Context(), command(newKey(), 0, "accepted")); err != nil {
		t.Errorf("after the burst: %v", err)
	}
	wantPayloads(t, s, "accepted")
}

func TestDamagedSnapshotIsIgnored(t *testing.T) {
	t.Parallel()
	damages := map[string]string{
		"state":    `UPDATE snapshots SET state = x'00'`,
		"no state": `UPDATE snapshots SET state = NULL`,
		"type":     `UPDATE snapshots SET type_url = 't/Other'`,
		"number":   `UPDATE snapshots SET seq = 0`,
		"future":   `UPDATE snapshots SET seq = 7`,
		"checksum": `UPDATE snapshots SET checksum = checksum + 1`,
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := opened(t, "")
			key := newKey()
			request := command(key, 0, "a", "b")
			request.Snapshot = &eventstore.Snapshot{Key: key, Sequence: 1, TypeURL: "t/State", State: []byte("state")}
			if _, err := s.Append(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			withWriter(t, s, func(c *conn) error { return c.once(t.Context(), damage) })
			info, err := s.Aggregate(t.Context(), key)
			if err != nil || info.Snapshot != nil || info.Next != 2 {
				t.Errorf("got %+v, %v", info, err)
			}
		})
	}
}

func TestCrowdedLogIsCopiedByTheWriter(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	key := newKey()
	for i := range uint32(3) {
		s.checkpoints.crowded.Store(true)
		if _, err := s.Append(t.Context(), command(key, i, "x")); err != nil {
			t.Fatal(err)
		}
		if s.checkpoints.crowded.Load() {
			t.Error("the log is still called crowded")
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("SQLite format 3\x00"))
	header := make([]byte, headerBytes)
	copy(header, "SQLite format 3\x00")
	copy(header[68:], "angz")
	f.Add(header)
	f.Fuzz(func(t *testing.T, header []byte) {
		err := (&file{path: "/somewhere/store.db"}).identify(header)
		if err != nil && !strings.Contains(err.Error(), "; ") {
			t.Errorf("no next step: %v", err)
		}
	})
}
