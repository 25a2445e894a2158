package follow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/follow"
)

// memoryLog is a log that tests write as they need it. A real store starts
// goroutines of its own, with which synctest's clock would not move.
type memoryLog struct {
	mu     sync.Mutex
	events []eventstore.Event
	hidden int   // how many of the newest events cannot be read yet
	broken error // of every read
	reads  int
}

// grow appends commands with the given numbers of events and returns the books.
func (l *memoryLog) grow(counts ...int) []*pb.EventBook {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.events)
	for _, count := range counts {
		command := uuid.New()
		for i := range count {
			l.events = append(l.events, eventstore.Event{
				Position: uint64(len(l.events) + 1), Key: book.Key{Domain: "d"}, Sequence: uint32(len(l.events)), CommandID: command, Offset: i, Count: count,
			})
		}
	}
	return eventstore.Books(l.events[before:])
}

func (l *memoryLog) ReadLog(_ context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	readable := l.events[:len(l.events)-l.hidden]
	if l.broken != nil || after >= uint64(len(readable)) {
		return nil, l.broken
	}
	end := min(int(after)+limit, len(readable))
	for end < len(readable) && readable[end].Offset > 0 {
		end++
	}
	return slices.Clone(readable[after:end]), nil
}

func (l *memoryLog) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.events) - l.hidden)
}

func (l *memoryLog) set(hidden int, broken error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hidden, l.broken = hidden, broken
}

func (l *memoryLog) readTimes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// world is a follower of a log and a bus, inside a synctest bubble.
type world struct {
	*testing.T
	log    *memoryLog
	bus    *channel.Bus
	logged strings.Builder
	fail   error

	mu      sync.Mutex
	handled []uint64
	ended   chan error
	stop    context.CancelFunc
}

func newWorld(t *testing.T, log *memoryLog, from uint64) *world {
	t.Helper()
	w := &world{T: t, log: log, bus: channel.New(), ended: make(chan error, 1)}
	subscription, err := w.bus.Subscribe(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		w.ended <- follow.Follow(ctx, subscription, log, from, slog.New(slog.NewTextHandler(&w.logged, nil)), w.handle)
	}()
	return w
}

func (w *world) handle(_ context.Context, events *pb.EventBook) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handled = append(w.handled, events.Position)
	return w.fail
}

// publish hands books to the bus, each behind the one it stands behind in the
// log.
func (w *world) publish(books ...*pb.EventBook) {
	w.Helper()
	for _, events := range books {
		message := bus.Message{Previous: events.Position - uint64(len(events.Pages)), Book: events}
		if err := w.bus.Publish(w.Context(), []bus.Message{message}); err != nil {
			w.Fatal(err)
		}
	}
}

// expect says which books have been handled once everything stands still.
func (w *world) expect(want ...uint64) {
	w.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.handled); diff != "" {
		w.Error(diff)
	}
}

func (w *world) end(want error) {
	w.Helper()
	w.stop()
	if err := <-w.ended; !errors.Is(err, want) {
		w.Errorf("ended with %v, want %v", err, want)
	}
}

func upTo(n uint64) (all []uint64) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func TestItBeginsWithWhatTheLogHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		log.grow(1, 3, 1, 2)
		w := newWorld(t, log, 4)
		w.expect(5, 7)
		w.end(context.Canceled)
	})
}

func TestItReadsALongLogPageByPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		log.grow(slices.Repeat([]int{1}, 1201)...)
		w := newWorld(t, log, 0)
		w.expect(upTo(1201)...)
		if reads := log.readTimes(); reads != 3 {
			t.Errorf("%d reads", reads)
		}
		w.end(context.Canceled)
	})
}

func TestABookFromTheBusCostsNoRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memoryLog{}, 0)
		synctest.Wait()
		w.publish(w.log.grow(1, 2, 1)...)
		w.expect(1, 3, 4)
		if reads := w.log.readTimes(); reads != 0 {
			t.Errorf("%d reads", reads)
		}
		w.end(context.Canceled)
	})
}

func TestWhatTheBusDoesToBooksIsRepaired(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]int{
		"holes": {0, 4}, "doubles": {0, 0, 1, 1, 2, 3, 3, 4, 0}, "reordering": {4, 2, 0, 1, 3}, "a hole at the beginning": {3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &memoryLog{}, 0)
				synctest.Wait()
				books := w.log.grow(1, 2, 1, 3, 1)
				for _, i := range order {
					w.publish(books[i])
				}
				w.expect(1, 3, 4, 7, 8)
				w.end(context.Canceled)
			})
		})
	}
}

func TestALostLastMessageIsNoticedWhenTheBusFallsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memoryLog{}, 0)
		synctest.Wait()
		w.publish(w.log.grow(1)...)
		w.log.grow(1)
		w.expect(1)
		time.Sleep(2*time.Second + time.Millisecond) // of the bubble's clock
		w.expect(1, 2)
		w.end(context.Canceled)
	})
}

func TestABookIsNotTakenAheadOfAHoleThatTheLogDoesNotShowYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memoryLog{}, 0)
		synctest.Wait()
		books := w.log.grow(1, 1, 1)
		w.log.set(3, nil)
		w.publish(books[2])
		w.expect()
		w.log.set(0, nil)
		time.Sleep(2*time.Second + time.Millisecond)
		w.expect(1, 2, 3)
		w.end(context.Canceled)
	})
}

func TestALogThatCannotBeReadIsWaitedForAndLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{broken: eventstore.ErrUnavailable}
		log.grow(1, 1)
		w := newWorld(t, log, 0)
		time.Sleep(time.Minute)
		w.expect()
		log.set(0, nil)
		time.Sleep(3 * time.Second)
		w.expect(1, 2)
		if warnings := strings.Count(w.logged.String(), "the log cannot be read, trying again"); warnings != 1 {
			t.Errorf("logged %d times:\n%s", warnings, w.logged.String())
		}
		w.end(context.Canceled)
	})
}

func TestStoppingWhileTheLogCannotBeReadIsNoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{broken: eventstore.ErrUnavailable}
		log.grow(1)
		w := newWorld(t, log, 0)
		synctest.Wait()
		before := time.Now()
		w.end(context.Canceled)
		if waited := time.Since(before); waited != 0 {
			t.Errorf("waited %s", waited)
		}
	})
}

// acknowledging is a subscription that remembers what it was told.
type acknowledging struct {
	bus.Subscription
	mu    sync.Mutex
	acked []uint64
}

func (s *acknowledging) Ack(position uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = append(s.acked, position)
	return s.Subscription.Ack(position)
}

func TestWhatHasBeenHandledIsAcknowledgedWhereverItCameFrom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, road := &memoryLog{}, channel.New()
		log.grow(1, 2, 1)
		inner, err := road.Subscribe(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		subscription := &acknowledging{Subscription: inner}
		errPoison := errors.New("poison")
		ended := make(chan error, 1)
		go func() {
			ended <- follow.Follow(t.Context(), subscription, log, 1, slog.New(slog.DiscardHandler), func(_ context.Context, events *pb.EventBook) error {
				if events.Position == 6 {
					return errPoison
				}
				return nil
			})
		}()
		synctest.Wait()
		var messages []bus.Message
		for _, events := range log.grow(1, 1) {
			messages = append(messages, bus.Message{Previous: events.Position - 1, Book: events})
		}
		if err := road.Publish(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, errPoison) {
			t.Errorf("ended with %v", err)
		}
		if diff := cmp.Diff([]uint64{1, 3, 4, 5}, subscription.acked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLiveLeavesNothingOnTheBusUnderAName(t *testing.T) {
	t.Parallel()
	names := make(chan string, 1)
	road := channel.New()
	live := follow.Live{Name: "log", Bus: subscriber(func(ctx context.Context, name string) (bus.Subscription, error) {
		names <- name
		return road.Subscribe(ctx, name)
	}), Log: &memoryLog{}, Logger: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	live.Ready = cancel
	if err := live.Run(ctx, func(*pb.EventBook) error { return nil }); err != nil {
		t.Error(err)
	}
	if name := <-names; name != "" {
		t.Errorf("it subscribes as %q", name)
	}
}

func TestLiveMayBeStoppedWhileThereIsNoBus(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	live := follow.Live{Name: "log", Bus: subscriber(func(ctx context.Context, _ string) (bus.Subscription, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}), Log: &memoryLog{}, Logger: slog.New(slog.DiscardHandler)}
	if err := live.Run(ctx, func(*pb.EventBook) error { return nil }); err != nil {
		t.Error(err)
	}
}

type subscriber func(context.Context, string) (bus.Subscription, error)

func (s subscriber) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	return s(ctx, name)
}

func TestItEndsWithWhatEndedIt(t *testing.T) {
	t.Parallel()
	t.Run("the bus is closed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &memoryLog{}, 0)
			synctest.Wait()
			if err := w.bus.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.end(bus.ErrClosed)
		})
	})
	t.Run("the log is closed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			log := &memoryLog{broken: fmt.Errorf("read: %w", eventstore.ErrClosed)}
			log.grow(1)
			w := newWorld(t, log, 0)
			synctest.Wait()
			w.end(eventstore.ErrClosed)
		})
	})
	t.Run("handling fails", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			errFull := errors.New("full")
			w := newWorld(t, &memoryLog{}, 0)
			synctest.Wait()
			w.fail = errFull
			w.publish(w.log.grow(1, 1)...)
			w.expect(1)
			w.end(errFull)
		})
	})
}
