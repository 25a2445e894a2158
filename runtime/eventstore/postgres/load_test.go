package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

// patience is how long something may take that is going to happen.
const patience = time.Minute

func newKey(domain string) book.Key { return book.Key{Domain: domain, Root: uuid.New()} }

func command(key book.Key, next uint32, payloads ...string) eventstore.Append {
	request := eventstore.Append{CommandID: uuid.Must(uuid.NewV7()), Key: key, Next: next, CorrelationID: "workflow"}
	for _, payload := range payloads {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "t/examples.Happened", Payload: []byte(payload), CreatedAt: time.Unix(1, 2)})
	}
	return request
}

// opened opens a store for the time of the test.
func opened(t testing.TB, uri string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Options{URI: uri, Migrate: true, CorrelationIndex: true, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// database returns the name in a URI.
func database(uri string) string { return uri[strings.LastIndexByte(uri, '/')+1:] }

// connected returns a connection of a stranger to angz.
func connected(t testing.TB, uri string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// load appends as callers do who know nothing of what goes wrong beneath them: a
// command that fails is sent again with its id until it is stored.
type load struct {
	work sync.WaitGroup

	mu           sync.Mutex
	acknowledged map[uuid.UUID]bool
	repeated     int
	err          error
}

// start begins to append with writers that share the stores, each to an aggregate
// of its own, until the context ends.
func start(ctx context.Context, stores []*postgres.Store, writers int) *load {
	l := &load{acknowledged: map[uuid.UUID]bool{}}
	for i := range writers {
		l.work.Go(func() {
			if err := l.write(ctx, stores[i%len(stores)]); err != nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.err = errors.Join(l.err, err)
			}
		})
	}
	return l
}

func (l *load) write(ctx context.Context, store eventstore.Writer) error {
	key := newKey("load")
	for next := uint32(0); ctx.Err() == nil; {
		request := command(key, next, []string{"a", "b", "c"}[:1+rand.IntN(3)]...)
		if err := l.insist(context.WithoutCancel(ctx), store, request); err != nil {
			return err
		}
		next += uint32(len(request.Events))
	}
	return nil
}

// insist sends a command until it is stored.
func (l *load) insist(ctx context.Context, store eventstore.Writer, request eventstore.Append) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		answer, err := store.Append(ctx, request)
		if err == nil {
			if want := request.Next + uint32(len(request.Events)); answer.Next != want {
				return fmt.Errorf("the answer has next number %d, want %d", answer.Next, want)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.acknowledged[request.CommandID] = true
			return nil
		}
		if !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrOverloaded) {
			return err
		}
		l.mu.Lock()
		l.repeated++
		l.mu.Unlock()
		request.Repeatable = true
		select {
		case <-time.After(5 * time.Millisecond): // as a client waits that was told to
		case <-ctx.Done():
			return err
		}
	}
}

// count is how many commands have been acknowledged.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// reach waits until so many more commands have been acknowledged.
func (l *load) reach(t *testing.T, more int) {
	t.Helper()
	want := l.count() + more
	until(t, fmt.Sprintf("%d commands are acknowledged", want), func() bool { return l.count() >= want })
}

// wait waits for the writers, whose context has ended, and checks the whole log.
func (l *load) wait(t *testing.T, uri string) {
	t.Helper()
	l.work.Wait()
	if l.err != nil {
		t.Error(l.err)
	}
	checkLog(t, opened(t, uri), l.acknowledged)
	t.Logf("%d commands acknowledged, %d sent again by their callers", len(l.acknowledged), l.repeated)
}

// until waits for something that nobody tells of.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s has not passed until %s", patience, what)
		}
	}
}

// checkLog checks that the log has no holes and no doubles and holds whole
// commands, all acknowledged ones among them.
func checkLog(t *testing.T, store eventstore.Log, acknowledged map[uuid.UUID]bool) {
	t.Helper()
	var follower follower
	for position := uint64(0); position < store.Head(); position = follower.position {
		events, err := store.ReadLog(t.Context(), position, 1000)
		if err == nil && len(events) == 0 {
			err = fmt.Errorf("nothing after position %d, the head is at %d", position, store.Head())
		}
		if err == nil {
			err = follower.take(events)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for id := range acknowledged {
		if !follower.commands[id] {
			t.Errorf("acknowledged command %s is lost", id)
		}
	}
}

// follower checks events as they come.
type follower struct {
	position uint64
	next     map[book.Key]uint32
	commands map[uuid.UUID]bool
	within   int // place in a command that has not been complete
}

func (f *follower) take(events []eventstore.Event) error {
	if f.next == nil {
		f.next, f.commands = map[book.Key]uint32{}, map[uuid.UUID]bool{}
	}
	for i := range events {
		event := &events[i]
		f.position++
		wrong := event.Position != f.position || event.Sequence != f.next[event.Key] || event.Offset != f.within ||
			event.Offset == 0 && f.commands[event.CommandID]
		if wrong {
			return fmt.Errorf("at position %d, number %d, place %d: %+v", f.position, f.next[event.Key], f.within, event)
		}
		f.next[event.Key]++
		f.commands[event.CommandID] = true
		f.within++
		if event.Last() {
			f.within = 0
		}
	}
	if f.within != 0 {
		return fmt.Errorf("the command at position %d is cut", f.position)
	}
	return nil
}
