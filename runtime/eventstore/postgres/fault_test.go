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

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/servertest"
)

// logLock is the lock that every append takes.
const logLock = `(1634625402, 0)`

// endWaiting ends whoever waits for a lock of angz.
const endWaiting = `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// through returns a URI that leads through a proxy.
func through(uri string, proxy *servertest.Proxy) string {
	return strings.Replace(uri, server.Address(), proxy.Address(), 1)
}

// held is an append that has arrived in the database and waits there for the lock
// of the log, which the test holds.
type held struct {
	release func()
	waiting func() int // how many statements wait for the lock
	answer  chan eventstore.Appended
	err     chan error
}

func hold(t *testing.T, uri string, store *postgres.Store, request eventstore.Append) *held {
	t.Helper()
	conn := connected(t, uri)
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_lock`+logLock); err != nil {
		t.Fatal(err)
	}
	h := &held{answer: make(chan eventstore.Appended, 1), err: make(chan error, 1)}
	h.release = func() {
		if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_unlock`+logLock); err != nil {
			t.Fatal(err)
		}
	}
	h.waiting = func() (n int) {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	go func() {
		answer, err := store.Append(t.Context(), request)
		h.answer <- answer
		h.err <- err
	}()
	until(t, "the append waits for the lock", func() bool { return h.waiting() == 1 })
	return h
}

// Row 5 of the failure table: the transaction ends in the middle.
func TestAppendWhoseBackendIsEndedIsRolledBackAndStoredOnce(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	store := opened(t, uri)
	request := command(newKey("order"), 0, "a", "b")
	append1 := hold(t, uri, store, request)
	execute(t, uri, endWaiting)
	append1.release()
	if answer, err := <-append1.answer, <-append1.err; err != nil || answer.Duplicate || answer.Last != 2 {
		t.Errorf("got %+v, %v", answer, err)
	}
	checkLog(t, store, map[uuid.UUID]bool{request.CommandID: true})
}

// Row 6: the connection is lost after sending, and the append goes through.
func TestAppendWhoseAnswerIsLostIsFoundByItsID(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	proxy := servertest.NewProxy(t, server.Address())
	store := opened(t, through(uri, proxy))
	request := command(newKey("order"), 0, "a", "b")
	append1 := hold(t, uri, store, request)
	proxy.Cut()
	append1.release() // the statement goes on, and nobody is there to hear of it
	observer := opened(t, uri)
	until(t, "it is committed", func() bool { return observer.Head() == 2 })
	proxy.Mend()
	answer, err := <-append1.answer, <-append1.err
	if err != nil || !answer.Duplicate || answer.Last != 2 || answer.Next != 2 || len(answer.Events) != 2 {
		t.Errorf("got %+v, %v", answer, err)
	}
	checkLog(t, observer, map[uuid.UUID]bool{request.CommandID: true})
}

// Row 7: who was to get the answer is gone, and the command comes again elsewhere.
func TestAppendThatNobodyHeardOfIsAnsweredToWhoeverRepeatsIt(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	proxy := servertest.NewProxy(t, server.Address())
	store := opened(t, through(uri, proxy))
	request := command(newKey("order"), 0, "a")
	append1 := hold(t, uri, store, request)
	proxy.Cut()
	append1.release()
	other := opened(t, uri)
	until(t, "it is committed", func() bool { return other.Head() == 1 })
	if _, err := <-append1.answer, <-append1.err; !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("who was cut off: got %v, want ErrUnavailable", err)
	}
	request.Repeatable = true
	if answer, err := other.Append(t.Context(), request); err != nil || !answer.Duplicate || answer.Last != 1 {
		t.Errorf("who repeats it: got %+v, %v", answer, err)
	}
	checkLog(t, other, map[uuid.UUID]bool{request.CommandID: true})
}

// Row 28: the disk is full, or broken, when a batch is stored.
func TestAppendOnAFullDiskIsUnavailableAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{"full": "53100", "broken": "58030"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri := server.Use(t)
			store := opened(t, uri)
			raise(t, uri, code, "true")
			request := command(newKey("order"), 0, "a")
			if _, err := store.Append(t.Context(), request); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
			if head := store.Head(); head != 0 {
				t.Errorf("the head is at %d", head)
			}
			execute(t, uri, `DROP TRIGGER fault ON angz_events`)
			if answer, err := store.Append(t.Context(), request); err != nil || answer.Duplicate || answer.Last != 1 {
				t.Errorf("afterwards: %+v, %v", answer, err)
			}
		})
	}
}

// raise makes the database fail where events are stored for which a condition
// holds.
func raise(t *testing.T, uri, code, condition string) {
	t.Helper()
	execute(t, uri, fmt.Sprintf(`CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'made by a test' USING ERRCODE = '%s'; END $$`, code))
	execute(t, uri, `CREATE TRIGGER fault BEFORE INSERT ON angz_events FOR EACH ROW WHEN (`+condition+`) EXECUTE FUNCTION fault()`)
}

func TestRequestThatTheDatabaseRefusesSpoilsNoOther(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	store := opened(t, uri)
	raise(t, uri, "54000", `NEW.domain = 'refused'`)
	append1 := hold(t, uri, store, command(newKey("first"), 0, "a"))
	// These gather behind the first one and go as one batch.
	const others = 20
	failed := make([]error, others+1)
	var wait sync.WaitGroup
	for i := range others {
		wait.Go(func() { _, failed[i] = store.Append(t.Context(), command(newKey("fine"), 0, "a", "b")) })
	}
	wait.Go(func() { _, failed[others] = store.Append(t.Context(), command(newKey("refused"), 0, "a")) })
	append1.release()
	wait.Wait()
	<-append1.answer
	for i, err := range append(failed[:others:others], <-append1.err) {
		if err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if err := failed[others]; err == nil || errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), "made by a test") {
		t.Errorf("the one that is refused: %v", err)
	}
	checkLog(t, store, nil)
	if head := store.Head(); head != 1+2*others {
		t.Errorf("the head is at %d, want %d", head, 1+2*others)
	}
}

// Who was answered together is gathered again: the writer steps aside while another
// process has the lock, and what comes meanwhile goes with one statement. One time
// the statement with which it steps aside is ended.
func TestWriterGathersWhileAnotherHoldsTheLock(t *testing.T) {
	t.Parallel()
	for name, ended := range map[string]bool{"steps aside": false, "is ended there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri := server.Use(t)
			metrics := observe.NewMetrics(observe.Build{})
			opened, err := open(t, postgres.Options{URI: uri, Migrate: true, Metrics: metrics})
			if err != nil {
				t.Fatal(err)
			}
			store := opened.(*postgres.Store)
			t.Cleanup(func() { _ = store.Close() })
			const callers = 10
			together := func(wait *sync.WaitGroup) {
				for range callers {
					queued := store.Queued()
					wait.Go(func() {
						if _, err := store.Append(t.Context(), command(newKey("order"), 0, "a")); err != nil {
							t.Error(err)
						}
					})
					until(t, "it is queued", func() bool { return store.Queued() > queued })
				}
			}
			var wait sync.WaitGroup
			first := hold(t, uri, store, command(newKey("order"), 0, "a"))
			together(&wait)
			first.release()
			<-first.answer
			wait.Wait()
			// Ten were answered at once, and one comes back.
			second := hold(t, uri, store, command(newKey("order"), 0, "a"))
			together(&wait)
			if ended {
				execute(t, uri, endWaiting)
			}
			second.release()
			<-second.answer
			wait.Wait()
			if err := errors.Join(<-first.err, <-second.err); err != nil {
				t.Error(err)
			}
			if commits, commands := batches(t, metrics); commits != 3 || commands != 2+2*callers {
				t.Errorf("%d commands went in %d commits, want 3", commands, commits)
			}
			checkLog(t, store, nil)
		})
	}
}

func TestTextsThatTheDatabaseCannotHoldAreRefused(t *testing.T) {
	t.Parallel()
	store := opened(t, server.Use(t))
	for name, change := range map[string]func(*eventstore.Append){
		"zero byte":   func(r *eventstore.Append) { r.Name = "a\x00b" },
		"not UTF-8":   func(r *eventstore.Append) { r.CorrelationID = "a\xffb" },
		"long domain": func(r *eventstore.Append) { r.Key.Domain = strings.Repeat("d", 3000) },
	} {
		request := command(newKey("order"), 0, "a")
		change(&request)
		if _, err := store.Append(t.Context(), request); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	long := command(newKey("order"), 0, "a")
	for range 10_000 { // at random, since what compresses well fits into an index
		long.CorrelationID += string(rune('0' + rand.IntN(75)))
	}
	if _, err := store.Append(t.Context(), long); err != nil {
		t.Errorf("a long correlation id: %v", err)
	}
	if events, err := store.ByCorrelation(t.Context(), long.CorrelationID, 0, 10); err != nil || len(events) != 1 {
		t.Errorf("a long correlation id is found as %v, %v", events, err)
	}
}

func TestNothingIsLostWhenBackendsAreEndedAtRandom(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	ctx, stop := context.WithCancel(t.Context())
	writers := start(ctx, []*postgres.Store{opened(t, uri), opened(t, uri), opened(t, uri)}, 24)
	ended := 0
	for range 25 {
		writers.reach(t, 40)
		n, err := server.Terminate(t.Context(), database(uri), 0.6)
		if err != nil {
			t.Fatal(err)
		}
		ended += n
	}
	stop()
	writers.wait(t, uri)
	t.Logf("%d backends ended", ended)
}

func TestNothingIsLostWhenTheNetworkIsCutAtRandom(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	proxy := servertest.NewProxy(t, server.Address())
	ctx, stop := context.WithCancel(t.Context())
	writers := start(ctx, []*postgres.Store{opened(t, through(uri, proxy)), opened(t, through(uri, proxy)), opened(t, uri)}, 24)
	for range 25 {
		writers.reach(t, 40)
		proxy.Cut()
		writers.reach(t, 5)
		proxy.Mend()
	}
	stop()
	writers.wait(t, uri)
}

func TestNothingIsLostWhenTheServerCrashesUnderLoad(t *testing.T) {
	t.Parallel()
	durable := servertest.NewDurablePostgres()
	t.Cleanup(durable.Close)
	uri := durable.Use(t)
	ctx, stop := context.WithCancel(t.Context())
	writers := start(ctx, []*postgres.Store{opened(t, uri), opened(t, uri)}, 24)
	for range 5 {
		writers.reach(t, 50)
		if err := durable.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := durable.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	writers.reach(t, 50)
	stop()
	writers.wait(t, uri)
}

func TestHolderThatSleptPastItsLeaseMovesNothing(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	sleeper, other := opened(t, uri), opened(t, uri)
	share := func(store *postgres.Store, member uuid.UUID, lease time.Duration) eventstore.Shared {
		t.Helper()
		shared, err := store.Share(t.Context(), eventstore.Share{Name: "projector/receipt", Member: member, Slices: 2, Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		return shared
	}
	old, young := uuid.New(), uuid.New()
	before := share(sleeper, old, 50*time.Millisecond).Slices
	var taken []eventstore.Slice
	until(t, "the lease has run out", func() bool {
		taken = share(other, young, time.Minute).Slices
		return taken[0].Member == young && taken[1].Member == young
	})
	for i, slice := range taken {
		if slice.Epoch != before[i].Epoch+1 {
			t.Errorf("slice %d has epoch %d, want %d", i, slice.Epoch, before[i].Epoch+1)
		}
	}
	late := eventstore.Advance{
		Name:  "projector/receipt",
		Moves: []eventstore.Move{{Slice: 1, Epoch: before[1].Epoch, To: 7}, {Slice: 0, Epoch: before[0].Epoch, To: 7}},
		Park:  []eventstore.Parked{{Position: 7, Key: newKey("order"), Reason: "too late"}},
	}
	fenced := (*eventstore.Fenced)(nil)
	if err := sleeper.Advance(t.Context(), late); !errors.As(err, &fenced) || len(fenced.Slices) != 2 {
		t.Errorf("got %v, want both slices fenced", err)
	}
	if parked, err := other.Parked(t.Context(), eventstore.ParkedQuery{Limit: 10}); err != nil || len(parked) != 0 {
		t.Errorf("it parked %v, %v", parked, err)
	}
	if err := other.Advance(t.Context(), eventstore.Advance{Name: "projector/receipt", Moves: []eventstore.Move{{Epoch: taken[0].Epoch, To: 3}}}); err != nil {
		t.Errorf("the new holder: %v", err)
	}
}

// Advance and Share lock the same rows: neither may ever wait for the other in a
// circle, which the database ends by failing one of them. The members here come
// and go, and so take and free the slices that others try to move all the time.
func TestAdvancingAndSharingDoNotLockEachOtherOut(t *testing.T) {
	t.Parallel()
	uri := server.Use(t)
	store := opened(t, uri)
	come := func() eventstore.Share {
		return eventstore.Share{Name: "s", Member: uuid.New(), Slices: 16, Lease: time.Minute}
	}
	first := come()
	for _, first.Leave = range []bool{false, true} {
		if _, err := store.Share(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	for range 2 {
		sharing := opened(t, uri)
		wait.Go(func() {
			for range 300 {
				member := come()
				_, err := sharing.Share(t.Context(), member)
				member.Leave = true
				_, left := sharing.Share(t.Context(), member)
				if err := errors.Join(err, left); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		wait.Go(func() {
			late := eventstore.Advance{Name: "s"}
			for _, i := range rand.Perm(16) {
				late.Moves = append(late.Moves, eventstore.Move{Slice: i, Epoch: 1 << 40})
			}
			for range 300 {
				if err := store.Advance(t.Context(), late); !errors.Is(err, eventstore.ErrFenced) {
					t.Errorf("got %v, want ErrFenced", err)
					return
				}
			}
		})
	}
	wait.Wait()
}
