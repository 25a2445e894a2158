package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/channel"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/transport"
)

// BenchmarkCatchUp measures how fast a component that is far behind gets through
// the log, one event a command and a call, over 10,000 aggregates and a service
// that does nothing: in the same place, and over a Unix socket. Run it with
// -benchtime 1000000x for what a night leaves behind.
func BenchmarkCatchUp(b *testing.B) {
	for _, slices := range []int{1, 16} {
		b.Run(fmt.Sprintf("slices=%d/service=none", slices), func(b *testing.B) {
			catchUp(b, slices, func(context.Context, *pb.EventBook) error { return nil })
		})
		b.Run(fmt.Sprintf("slices=%d/service=socket", slices), func(b *testing.B) {
			client := idleService(b)
			catchUp(b, slices, func(ctx context.Context, events *pb.EventBook) error {
				_, err := client.Handle(ctx, events)
				return err
			})
		})
	}
}

// idle is a projector's service that does nothing.
type idle struct {
	pb.UnimplementedProjectorServer
}

func (idle) Handle(context.Context, *pb.EventBook) (*pb.Projection, error) {
	return &pb.Projection{}, nil
}

func idleService(b *testing.B) pb.ProjectorClient {
	listener, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterProjectorServer(server, idle{})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := transport.Dial("unix:"+listener.Addr().String(), transport.DialOptions{Name: "the service"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		server.Stop()
		if err := errors.Join(<-ended, conn.Close()); err != nil {
			b.Error(err)
		}
	})
	return pb.NewProjectorClient(conn)
}

func catchUp(b *testing.B, slices int, call func(context.Context, *pb.EventBook) error) {
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
		Handle: func(ctx context.Context, events *pb.EventBook) (struct{}, error) {
			if err := call(ctx, events); err != nil {
				return struct{}{}, err
			}
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
