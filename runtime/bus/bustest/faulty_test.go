package bustest_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/bus/channel"
)

// deliveries publishes positions 1 to last over a faulty bus and returns the
// positions that arrive until nothing comes any more.
func deliveries(t *testing.T, faults bustest.Faults, last uint64) []uint64 {
	t.Helper()
	good := channel.New()
	faulty := bustest.NewFaulty(good, good, faults)
	s, err := faulty.Subscribe(t.Context(), "projector/one")
	if err != nil {
		t.Fatal(err)
	}
	for position := uint64(1); position <= last; position++ {
		message := bus.Message{Previous: position - 1, Book: &pb.EventBook{Position: position}}
		if err := faulty.Publish(t.Context(), []bus.Message{message}); err != nil {
			t.Fatal(err)
		}
	}
	var got []uint64
	received := make(chan struct{})
	go func() {
		defer close(received)
		for {
			message, err := s.Next(t.Context())
			if errors.Is(err, bus.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, message.Book.Position)
		}
	}()
	<-time.After(time.Second) // of the bubble's clock: nothing is held back for so long
	if err := good.Close(); err != nil {
		t.Error(err)
	}
	<-received
	return got
}

func TestFaultyBusDropsDoublesAndReordersButShowsTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := bustest.Faults{Seed: 7, Drop: 0.2, Double: 0.2, Delay: 0.2}
		got := deliveries(t, faults, 500)
		seen := map[uint64]int{}
		for _, position := range got {
			seen[position]++
		}
		doubled := len(got) - len(seen)
		if slices.IsSorted(got) || len(seen) == 500 || doubled == 0 || seen[500] == 0 {
			t.Errorf("of 500 messages %d arrived, %d doubled, in order: %t, the newest: %d times",
				len(seen), doubled, slices.IsSorted(got), seen[500])
		}
	})
}

func TestFaultyBusRepeatsARunWithTheSameSeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := bustest.Faults{Seed: 42, Drop: 0.3, Double: 0.3, Delay: 0.3}
		first, second := deliveries(t, faults, 200), deliveries(t, faults, 200)
		if !slices.Equal(first, second) {
			t.Errorf("the same seed gave different runs:\n%v\n%v", first, second)
		}
	})
}

func TestFaultyBusShowsTheNewestEvenIfItDropsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got := deliveries(t, bustest.Faults{Drop: 1}, 20); !slices.Equal(got, []uint64{20}) {
			t.Errorf("got %v, expected only the newest message", got)
		}
		if got := deliveries(t, bustest.Faults{Drop: 1, LoseNewest: true}, 20); len(got) != 0 {
			t.Errorf("got %v, expected nothing", got)
		}
	})
}

func TestFaultyPublisherTakesAPartAndFails(t *testing.T) {
	t.Parallel()
	good := channel.New()
	faulty := bustest.NewFaulty(good, good, bustest.Faults{Seed: 1, Fail: 1})
	if err := faulty.Publish(t.Context(), []bus.Message{{Book: &pb.EventBook{Position: 1}}}); !errors.Is(err, bustest.ErrFault) {
		t.Errorf("publish: %v", err)
	}
}
