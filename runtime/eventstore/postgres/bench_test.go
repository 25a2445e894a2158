package postgres_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/servertest"
)

var payload = strings.Repeat("x", 300)

// measure runs work and reports the CPU that this process and all of the server's
// took for each operation. Rates on a shared machine say little.
func measure(b *testing.B, server *servertest.Postgres, work func()) {
	own := func() time.Duration {
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			b.Fatal(err)
		}
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	servers := func() time.Duration {
		used, err := server.CPU()
		if err != nil {
			b.Fatal(err)
		}
		return used
	}
	b.ResetTimer()
	ownBefore, serverBefore := own(), servers()
	work()
	b.StopTimer()
	ownUsed, serverUsed := own()-ownBefore, servers()-serverBefore
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(each(ownUsed+serverUsed), "cpu-µs/op")
	b.ReportMetric(each(serverUsed), "server-cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func numberedKey(i int) book.Key {
	key := book.Key{Domain: "customer"}
	binary.BigEndian.PutUint64(key.Root[:], rand.New(rand.NewPCG(uint64(i), 7)).Uint64())
	binary.BigEndian.PutUint64(key.Root[8:], uint64(i))
	return key
}

// appendWith spreads appends over callers, who share the stores.
func appendWith(b *testing.B, stores []*postgres.Store, callers, appends int) {
	var taken atomic.Int64
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			store, key := stores[caller%len(stores)], numberedKey(caller)
			for next := uint32(0); taken.Add(1) <= int64(appends); next++ {
				request := command(key, next, payload)
				request.CorrelationID = request.CommandID.String()
				if _, err := store.Append(b.Context(), request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// BenchmarkAppend measures durable appends: by one process, and by three to one log.
func BenchmarkAppend(b *testing.B) {
	server := servertest.NewDurablePostgres()
	b.Cleanup(server.Close)
	for _, c := range []struct{ stores, callers int }{{1, 1}, {1, 64}, {1, 256}, {3, 64}, {3, 256}} {
		b.Run(fmt.Sprintf("stores=%d/callers=%d", c.stores, c.callers), func(b *testing.B) {
			uri := server.Use(b)
			var stores []*postgres.Store
			for range c.stores {
				stores = append(stores, opened(b, uri))
			}
			measure(b, server, func() { appendWith(b, stores, c.callers, b.N) })
		})
	}
}

// BenchmarkReadLog measures who is far behind and reads the log from its beginning.
func BenchmarkReadLog(b *testing.B) {
	server := servertest.NewPostgres()
	b.Cleanup(server.Close)
	uri := server.Use(b)
	const events = 50_000
	filler := opened(b, uri)
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			for next := uint32(0); next < events/50; next += 2 {
				if _, err := filler.Append(b.Context(), command(numberedKey(i), next, payload, payload)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	for _, page := range []int{100, 500, 2000} {
		b.Run(fmt.Sprintf("page=%d", page), func(b *testing.B) {
			store := opened(b, uri) // which remembers nothing of what was appended
			measure(b, server, func() {
				for done := 0; done < b.N; {
					read, err := store.ReadLog(b.Context(), uint64(done%(events-4000)), page)
					if err != nil || len(read) == 0 {
						b.Fatalf("read %d events, %v", len(read), err)
					}
					done += len(read)
				}
			})
		})
	}
}

// BenchmarkRepeatedCommand measures a command that comes a second time.
func BenchmarkRepeatedCommand(b *testing.B) {
	server := servertest.NewDurablePostgres()
	b.Cleanup(server.Close)
	store := opened(b, server.Use(b))
	request := command(newKey("order"), 0, payload)
	request.Repeatable = true
	measure(b, server, func() {
		for range b.N {
			if _, err := store.Append(b.Context(), request); err != nil {
				b.Fatal(err)
			}
		}
	})
}
