package storetest

import (
	"context"
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

// recorded is what the histories need of a store.
type recorded interface {
	Append(context.Context, eventstore.Append) (eventstore.Appended, error)
	Aggregate(context.Context, book.Key) (eventstore.Info, error)
	Events(context.Context, book.Key, eventstore.Range) ([]eventstore.Event, error)
}

// kind of an operation.
type kind int

const (
	appends kind = iota
	looks
	reads
)

// operation is what a client asks of one aggregate.
type operation struct {
	kind      kind
	aggregate int
	next      uint32 // what an append expects
	payloads  string // of an append, one character for each event
}

// outcome is what it was answered.
type outcome struct {
	next     uint32
	last     uint64 // position of an append's last event
	conflict bool
	payloads string // of a read
}

// aggregateState is one aggregate as far as a history can tell.
type aggregateState struct {
	payloads string
	last     uint64
}

// aggregateModel says which outcome an operation has when nothing else goes on.
// Aggregates have nothing to do with each other, so each is looked at alone.
var aggregateModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		for _, done := range history {
			aggregate := done.Input.(operation).aggregate
			for len(parts) <= aggregate {
				parts = append(parts, nil)
			}
			parts[aggregate] = append(parts[aggregate], done)
		}
		return parts
	},
	Init: func() any { return aggregateState{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(aggregateState), input.(operation), output.(outcome))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func step(state aggregateState, in operation, out outcome) (bool, any) {
	now := uint32(len(state.payloads))
	switch {
	case in.kind == looks:
		return out.next == now, state
	case in.kind == reads:
		return out.payloads == state.payloads, state
	case out.conflict:
		return in.next != now && out.next == now, state
	case in.next != now || out.last <= state.last:
		return false, state
	}
	state.payloads += in.payloads
	state.last = out.last
	return out.next == uint32(len(state.payloads)), state
}

// linearizable checks that one order of what several clients do at the same time
// explains all answers. The stores are of one log.
func linearizable(t *testing.T, stores ...recorded) {
	t.Helper()
	history, err := record(t.Context(), stores...)
	if err != nil {
		t.Fatal(err)
	}
	switch porcupine.CheckOperationsTimeout(aggregateModel, history, explainable) {
	case porcupine.Illegal:
		t.Error("no order of the operations explains their outcomes")
	case porcupine.Unknown:
		t.Errorf("no order of the operations was found within %s", explainable)
	}
}

// explainable bounds the search for an order, which may take for ever.
const explainable = 20 * time.Second

// record lets a few clients work on a few aggregates and returns what they saw.
func record(ctx context.Context, stores ...recorded) ([]porcupine.Operation, error) {
	keys := []book.Key{newKey("a"), newKey("b"), newKey("c")}
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	clients, ctx := errgroup.WithContext(ctx)
	for client := range 6 {
		clients.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(client), 2))
			guesses := make([]uint32, len(keys))
			for range 60 {
				in := draw(random, client, guesses)
				called := time.Since(start)
				out, err := perform(ctx, stores[random.IntN(len(stores))], keys[in.aggregate], in)
				returned := time.Since(start)
				if err != nil {
					return err
				}
				guesses[in.aggregate] = max(out.next, uint32(len(out.payloads)))
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: in, Call: int64(called), Output: out, Return: int64(returned),
				})
				mu.Unlock()
			}
			return nil
		})
	}
	return history, clients.Wait()
}

// draw makes up a client's next operation. Half of them are appends.
func draw(random *rand.Rand, client int, guesses []uint32) operation {
	in := operation{kind: kind(max(0, random.IntN(4)-1)), aggregate: random.IntN(len(guesses))}
	if in.kind == appends {
		in.next = guesses[in.aggregate]
		for range 1 + random.IntN(2) {
			in.payloads += string(rune('a' + client))
		}
	}
	return in
}

func perform(ctx context.Context, store recorded, key book.Key, in operation) (outcome, error) {
	switch in.kind {
	case looks:
		info, err := store.Aggregate(ctx, key)
		return outcome{next: info.Next}, err
	case reads:
		events, err := store.Events(ctx, key, eventstore.All)
		out := outcome{}
		for _, event := range events {
			out.payloads += string(event.Payload)
		}
		return out, err
	}
	payloads := make([]string, len(in.payloads))
	for i := range payloads {
		payloads[i] = in.payloads[i : i+1]
	}
	answer, err := store.Append(ctx, command(key, in.next, payloads...))
	if conflict := (*eventstore.Conflict)(nil); errors.As(err, &conflict) {
		return outcome{next: conflict.Next, conflict: true}, nil
	}
	return outcome{next: answer.Next, last: answer.Last}, err
}
