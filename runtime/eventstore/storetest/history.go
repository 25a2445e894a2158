package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// logState is the whole state of a log with three aggregates, as far as a
// history can tell.
type logState struct {
	next [3]uint32
	head uint64
}

// operation is an append of count events, or a look at an aggregate when count
// is 0.
type operation struct {
	aggregate int
	next      uint32
	count     int
}

// outcome is what came of it.
type outcome struct {
	next     uint32
	last     uint64 // 0 for a conflict or a look
	conflict bool
}

// logModel says which outcome an operation has when nothing else goes on.
var logModel = porcupine.Model{
	Init: func() any { return logState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(logState), input.(operation), output.(outcome)
		now := s.next[in.aggregate]
		switch {
		case in.count == 0:
			return out.next == now, s
		case out.conflict:
			return in.next != now && out.next == now, s
		case in.next != now:
			return false, s
		}
		s.next[in.aggregate] += uint32(in.count)
		s.head += uint64(in.count)
		return out.next == s.next[in.aggregate] && out.last == s.head, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// linearizable records what a few clients do at the same time and looks for one
// order of it that explains all answers.
func linearizable(t *testing.T, store eventstore.Store) {
	keys := []book.Key{newKey("a"), newKey("b"), newKey("c")}
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var clients errgroup.Group
	for client := range 6 {
		clients.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(client), 2))
			guess := [3]uint32{}
			for range 40 {
				in := operation{aggregate: random.IntN(3), count: random.IntN(3)}
				in.next = guess[in.aggregate]
				called := time.Since(start)
				out, err := perform(t, store, keys[in.aggregate], in)
				returned := time.Since(start)
				if err != nil {
					return err
				}
				guess[in.aggregate] = out.next
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: in, Call: int64(called), Output: out, Return: int64(returned),
				})
				mu.Unlock()
			}
			return nil
		})
	}
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}
	switch porcupine.CheckOperationsTimeout(logModel, history, time.Minute) {
	case porcupine.Illegal:
		t.Error("no order of the operations explains their outcomes")
	case porcupine.Unknown:
		t.Error("no order was found within a minute")
	}
}

func perform(t *testing.T, store eventstore.Store, key book.Key, in operation) (outcome, error) {
	if in.count == 0 {
		info, err := store.Aggregate(t.Context(), key)
		return outcome{next: info.Next}, err
	}
	answer, err := store.Append(t.Context(), command(key, in.next, []string{"x", "y"}[:in.count]...))
	if conflict := (*eventstore.Conflict)(nil); errors.As(err, &conflict) {
		return outcome{next: conflict.Next, conflict: true}, nil
	}
	return outcome{next: answer.Next, last: answer.Last}, err
}
