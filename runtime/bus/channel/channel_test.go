package channel_test

import (
	"testing"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/bus/channel"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(*testing.T) bustest.Bus { return channel.New() })
}

func TestFullQueueKeepsTheNewestMessages(t *testing.T) {
	t.Parallel()
	b := channel.New()
	s, err := b.Subscribe(t.Context(), "projector/one")
	if err != nil {
		t.Fatal(err)
	}
	const last = 5000
	publishOneByOne(t, b, 1, last)
	for want := uint64(last - 1023); want <= last; want++ {
		message, err := s.Next(t.Context())
		if err != nil || message.Book.Position != want || message.Previous != want-1 {
			t.Fatalf("got %v, %v; expected position %d", message, err, want)
		}
	}
}

func TestOneBatchLargerThanTheQueueKeepsTheNewestMessages(t *testing.T) {
	t.Parallel()
	b := channel.New()
	s, err := b.Subscribe(t.Context(), "projector/one")
	if err != nil {
		t.Fatal(err)
	}
	var batch []bus.Message
	for position := uint64(1); position <= 1500; position++ {
		batch = append(batch, bus.Message{Previous: position - 1, Book: &pb.EventBook{Position: position}})
	}
	if err := b.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	message, err := s.Next(t.Context())
	if err != nil || message.Book.Position != 477 {
		t.Fatalf("got %v, %v; expected position 477", message, err)
	}
}

func TestPublishAndNextDoNotAllocate(t *testing.T) {
	b := channel.New()
	s, err := b.Subscribe(t.Context(), "projector/one")
	if err != nil {
		t.Fatal(err)
	}
	batch := []bus.Message{{Previous: 0, Book: &pb.EventBook{Position: 1}}}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(1000, func() {
		if err := b.Publish(ctx, batch); err != nil {
			t.Error(err)
		}
		if message, err := s.Next(ctx); err != nil || message.Book != batch[0].Book {
			t.Errorf("got %v, %v; expected the same book", message, err)
		}
	})
	if allocations > 0 {
		t.Errorf("a message costs %v allocations", allocations)
	}
}

func publishOneByOne(t *testing.T, b *channel.Bus, from, to uint64) {
	t.Helper()
	for position := from; position <= to; position++ {
		message := bus.Message{Previous: position - 1, Book: &pb.EventBook{Position: position}}
		if err := b.Publish(t.Context(), []bus.Message{message}); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkPublishToEightSubscribers(b *testing.B) {
	channels := channel.New()
	ctx := b.Context()
	for range 8 {
		if _, err := channels.Subscribe(ctx, "projector/one"); err != nil {
			b.Fatal(err)
		}
	}
	batch := []bus.Message{{Previous: 0, Book: &pb.EventBook{Position: 1}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := channels.Publish(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
}
