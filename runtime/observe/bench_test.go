package observe_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// discarded takes spans as a collector does that costs nothing.
type discarded struct{}

func (discarded) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discarded) Shutdown(context.Context) error                             { return nil }

// ways of observing that are compared.
var ways = []struct {
	name   string
	change func(*observe.TelemetryOptions)
}{
	{"off", func(*observe.TelemetryOptions) {}},
	{"1%", func(o *observe.TelemetryOptions) { o.Spans, o.Sample = discarded{}, .01 }},
	{"all", func(o *observe.TelemetryOptions) { o.Spans = discarded{} }},
}

// cpu returns the microseconds that this process has computed.
func cpu(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e3
}

// BenchmarkCommand measures a command through a gateway, a coordinator and a
// service, with a socket between each two, from 16 callers.
func BenchmarkCommand(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			s := newSystem(b, false, way.change)
			var left, number atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			var callers sync.WaitGroup
			for range 16 {
				callers.Go(func() {
					for left.Add(-1) >= 0 {
						command := runtimetest.Command("order", fmt.Sprint(number.Add(1)), 0, "Do")
						if _, err := s.commands.Handle(b.Context(), command); err != nil {
							b.Error(err)
						}
					}
				})
			}
			callers.Wait()
			b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkHop measures what observing adds to one hop: the caller's and the
// callee's side and a line that is not logged, without the hop.
func BenchmarkHop(b *testing.B) {
	command := runtimetest.Command("order", "o1", 0, "Do")
	info := &grpc.UnaryServerInfo{FullMethod: "/angzarr.AggregateCoordinator/Handle"}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			p := newProcess(b, "p", false, way.change)
			conn := p.Client(unconnected{})
			server, logs := p.UnaryServer(), observe.UnaryServer(slog.New(slog.NewTextHandler(io.Discard, nil)))
			handle := func(ctx context.Context, request any) (any, error) {
				ctx = observe.Correlate(ctx, "c")
				return nil, conn.Invoke(ctx, info.FullMethod, request, nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, err := server(b.Context(), command, info, func(ctx context.Context, request any) (any, error) {
					return logs(ctx, request, info, handle)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// unconnected answers every call at once.
type unconnected struct{ grpc.ClientConnInterface }

func (unconnected) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

// BenchmarkMetrics measures counting one command.
func BenchmarkMetrics(b *testing.B) {
	m := observe.NewMetrics(observe.Build{})
	b.ReportAllocs()
	for b.Loop() {
		m.Command("order", nil, time.Millisecond)
	}
}

// BenchmarkStart measures what a process pays once.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if _, err := observe.Start(b.Context(), observe.TelemetryOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
