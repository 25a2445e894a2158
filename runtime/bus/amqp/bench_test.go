package amqp_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/follow"
)

// cpu is the processor time used so far by this process and by the broker.
func cpu(b *testing.B) (own, broker time.Duration) {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	broker, err := shared.CPU()
	if err != nil {
		b.Skip(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), broker
}

// BenchmarkPublish publishes books of 300 bytes to one consumer that drops them.
// An operation is one message.
func BenchmarkPublish(b *testing.B) {
	for _, kind := range []string{amqp.QueueClassic, amqp.QueueQuorum} {
		for _, flight := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/inflight=%d", kind, flight), func(b *testing.B) { benchmarkPublish(b, kind, flight) })
		}
	}
}

func benchmarkPublish(b *testing.B, kind string, flight int) {
	road := open(b, amqp.Options{QueueType: kind})
	s := subscribe(b, road, "projector/one")
	l := &log{}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		ended <- follow.Follow(ctx, s, &log{}, 0, slog.New(slog.DiscardHandler), func(context.Context, *pb.EventBook) error { return nil })
	}()
	batches := make([][]bus.Message, 0, b.N/flight+1)
	for n := 0; n < b.N; n += flight {
		batches = append(batches, nil)
		for range min(flight, b.N-n) {
			message := l.append()
			message.Book.Pages[0].Event.Value = make([]byte, 200)
			batches[len(batches)-1] = append(batches[len(batches)-1], message)
		}
	}
	own, broker := cpu(b)
	b.ResetTimer()
	for _, batch := range batches {
		publish(b, road, batch...)
	}
	b.StopTimer()
	ownAfter, brokerAfter := cpu(b)
	b.ReportMetric(float64((ownAfter-own).Microseconds())/float64(b.N), "client-cpu-µs/op")
	b.ReportMetric(float64((brokerAfter-broker).Microseconds())/float64(b.N), "broker-cpu-µs/op")
	cancel()
	<-ended
}

// BenchmarkLatency publishes 500 messages a second, each by itself, and measures
// from before the publication to the call of the handler.
func BenchmarkLatency(b *testing.B) {
	for _, kind := range []string{amqp.QueueClassic, amqp.QueueQuorum} {
		b.Run(kind, func(b *testing.B) { benchmarkLatency(b, kind) })
	}
}

func benchmarkLatency(b *testing.B, kind string) {
	road := open(b, amqp.Options{QueueType: kind})
	s := subscribe(b, road, "projector/one")
	l := &log{}
	started, taken := make([]time.Time, b.N), make([]time.Duration, 0, b.N)
	all := make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- follow.Follow(ctx, s, &log{}, 0, slog.New(slog.DiscardHandler), func(_ context.Context, events *pb.EventBook) error {
			if taken = append(taken, time.Since(started[events.Position-1])); len(taken) == b.N {
				close(all)
			}
			return nil
		})
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-ticker.C
		started[i] = time.Now()
		publish(b, road, l.append())
	}
	<-all
	b.StopTimer()
	slices.Sort(taken)
	b.ReportMetric(float64(taken[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(taken[b.N*99/100].Microseconds())/1000, "p99-ms")
	cancel()
	<-ended
}
