package transport_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// cpu returns the microseconds that this process has computed.
func cpu(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Sec+used.Stime.Sec)*1e6 + float64(used.Utime.Usec) + float64(used.Stime.Usec)
}

// BenchmarkCall measures a unary call with some hundred bytes either way from 64
// callers, client and server together.
func BenchmarkCall(b *testing.B) {
	served := &service{unary: func(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: r.Payload}, nil
	}}
	b.Run("memory", func(b *testing.B) {
		memory := transport.NewMemory()
		testpb.RegisterTestServiceServer(memory, served)
		call(b, memory)
	})
	b.Run("unix", func(b *testing.B) {
		server, path := transport.NewServer(transport.ServerOptions{}), filepath.Join(runtimetest.Folder(b), "a.sock")
		testpb.RegisterTestServiceServer(server, served)
		listener, err := transport.Listen(transport.Address{Network: "unix", Address: path})
		if err != nil {
			b.Fatal(err)
		}
		serve(b, server, listener)
		call(b, connected(b, path))
	})
}

func call(b *testing.B, conn grpc.ClientConnInterface) {
	client, request := testpb.NewTestServiceClient(conn), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 300)}}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := client.UnaryCall(b.Context(), request); err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-µs/op")
}
