package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

var concurrency = map[string]func(*testing.T, eventstore.Store){
	"who follows the log sees everything once and in order": func(t *testing.T, store eventstore.Store) {
		if err := followed(t.Context(), store, 16, 60); err != nil {
			t.Error(err)
		}
	},
	"concurrent appends and reads take effect one after the other": func(t *testing.T, store eventstore.Store) {
		linearizable(t, store)
	},
}

// followedLog is what the tail test needs of a store.
type followedLog interface {
	Append(context.Context, eventstore.Append) (eventstore.Appended, error)
	ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error)
	Head() uint64
	Changed() <-chan struct{}
}

// followed lets writers append to a few contested aggregates while others
// follow the log, and says what a follower saw that it should not have seen.
func followed(ctx context.Context, log followedLog, writers, commands int) error {
	keys := make([]book.Key, writers/2)
	for i := range keys {
		keys[i] = newKey(fmt.Sprintf("domain-%d", i%3))
	}
	var acknowledged acknowledgements
	work, workCtx := errgroup.WithContext(ctx)
	for w := range writers {
		work.Go(func() error { return acknowledged.write(workCtx, log, keys, w, commands) })
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan struct{})
	seen := make([][]eventstore.Event, 4)
	var follow errgroup.Group
	for i := range seen {
		follow.Go(func() (err error) {
			seen[i], err = tail(ctx, log, done, &acknowledged, []int{1, 3, 20, 500}[i])
			return err
		})
	}
	err := work.Wait()
	close(done)
	err = errors.Join(err, follow.Wait())
	for _, events := range seen {
		err = errors.Join(err, acknowledged.compare(events))
	}
	return err
}

// tail follows a log until it has been told that nothing more comes and has
// read everything that was confirmed.
func tail(ctx context.Context, log followedLog, done <-chan struct{}, acknowledged *acknowledgements, limit int) ([]eventstore.Event, error) {
	var seen []eventstore.Event
	after, last := uint64(0), uint64(math.MaxUint64)
	for {
		changed := log.Changed()
		for after < log.Head() {
			page, err := log.ReadLog(ctx, after, limit)
			if err != nil {
				return seen, err
			}
			if len(page) == 0 {
				break // a store that skips events may never reach its head
			}
			seen = append(seen, page...)
			after = page[len(page)-1].Position
		}
		if after >= last {
			return seen, nil
		}
		select {
		case <-changed:
		case <-done:
			done, last = nil, acknowledged.last()
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
}

// acknowledgements are the appends that a store has confirmed, by the position
// of the command's last event.
type acknowledgements struct {
	mu sync.Mutex
	by map[uint64]eventstore.Append
}

// write appends commands to random aggregates, trying again after conflicts.
func (a *acknowledgements) write(ctx context.Context, log followedLog, keys []book.Key, writer, commands int) error {
	random := rand.New(rand.NewPCG(uint64(writer), 1))
	next := make(map[book.Key]uint32)
	before := uint64(0)
	for range commands {
		key := keys[random.IntN(len(keys))]
		request := command(key, next[key], []string{"1", "2", "3"}[:1+random.IntN(3)]...)
		answer, err := log.Append(ctx, request)
		for conflict := (*eventstore.Conflict)(nil); errors.As(err, &conflict); {
			request.Next = conflict.Next
			answer, err = log.Append(ctx, request)
		}
		if err != nil {
			return err
		}
		if answer.Last <= before {
			return fmt.Errorf("position %d was given after position %d had been confirmed", answer.Last, before)
		}
		before, next[key] = answer.Last, answer.Next
		a.add(answer.Last, request)
	}
	return nil
}

func (a *acknowledgements) add(last uint64, request eventstore.Append) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = make(map[uint64]eventstore.Append)
	}
	a.by[last] = request
}

func (a *acknowledgements) last() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := uint64(0)
	for position := range a.by {
		last = max(last, position)
	}
	return last
}

// compare says where what a follower saw differs from what was confirmed.
func (a *acknowledgements) compare(seen []eventstore.Event) error {
	next := make(map[book.Key]uint32)
	confirmed := 0
	for i, event := range seen {
		if event.Position != uint64(i+1) {
			return fmt.Errorf("a follower saw position %d where %d was to come", event.Position, i+1)
		}
		if event.Sequence != next[event.Key] {
			return fmt.Errorf("a follower saw number %d of %s where %d was to come", event.Sequence, event.Key, next[event.Key])
		}
		next[event.Key]++
		if event.Offset != event.Count-1 {
			continue
		}
		request, ok := a.by[event.Position]
		if !ok || request.CommandID != event.CommandID || request.Next != event.Sequence-uint32(event.Offset) {
			return fmt.Errorf("a follower saw another command at position %d than was confirmed", event.Position)
		}
		confirmed++
	}
	if confirmed != len(a.by) {
		return fmt.Errorf("a follower saw %d of %d confirmed commands", confirmed, len(a.by))
	}
	return nil
}
