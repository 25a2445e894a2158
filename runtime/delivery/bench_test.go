package delivery_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
)

// BenchmarkCatchUp measures how fast a component that is far behind gets through
// the log, one event a command, over 10,000 aggregates and a service that does
// nothing. Run it with -benchtime 1000000x for what a night leaves behind.
func BenchmarkCatchUp(b *testing.B) {
	for _, slices := range []int{1, 16} {
		b.Run(fmt.Sprintf("slices=%d", slices), func(b *testing.B) { catchUp(b, slices) })
	}
}

func catchUp(b *testing.B, slices int) {
	store, err := sqlite.Open(b.Context(), sqlite.Options{Path: b.TempDir() + "/events.db"})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	fillLog(b, store, b.N)
	var handled atomic.Int64
	done := make(chan struct{})
	road := channel.New()
	defer road.Close()
	consumer := delivery.New(delivery.Options[struct{}]{
		Name: "projector/bench", Store: store, Bus: road, Slices: slices,
		Handle: func(context.Context, *pb.EventBook) (struct{}, error) {
			if handled.Add(1) == int64(b.N) {
				close(done)
			}
			return struct{}{}, nil
		},
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ResetTimer()
	start, before := time.Now(), spent()
	go func() { ended <- consumer.Run(ctx) }()
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
	b.ReportMetric(float64((spent()-before).Microseconds())/float64(b.N), "cpu-µs/event")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// fillLog appends events to 10,000 aggregates in turn.
func fillLog(b *testing.B, store *sqlite.Store, count int) {
	const callers, aggregates = 256, 10_000
	failed := make(chan error, callers)
	for caller := range callers {
		go func() {
			var failure error
			for i := caller; i < count && failure == nil; i += callers {
				// An aggregate belongs to one caller, who counts its events.
				at := i / callers
				each := (aggregates + callers - 1) / callers
				_, failure = store.Append(b.Context(), eventstore.Append{
					CommandID:     uuid.New(),
					Key:           book.Key{Domain: "order", Root: uuid.UUID{14: byte(caller), 13: byte(at % each), 12: 1}},
					Next:          uint32(at / each),
					CorrelationID: "night",
					Events:        []eventstore.NewEvent{{TypeURL: "type.example/Happened", Payload: make([]byte, 100), CreatedAt: time.Unix(1, 0)}},
				})
			}
			failed <- failure
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

// spent returns the processor time that this process has used.
func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
