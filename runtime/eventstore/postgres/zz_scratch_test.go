package postgres

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/servertest"
)

func backendCPU(t testing.TB, pid uint32) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		t.Fatal(err)
	}
	ns, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	return ns / 1000
}

func BenchmarkScratch(b *testing.B) {
	server := servertest.NewPostgres()
	b.Cleanup(server.Close)
	for _, n := range []int{1, 21, 64, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			uri := server.Use(b)
			store, err := Open(b.Context(), Options{URI: uri, Migrate: true, CorrelationIndex: os.Getenv("NOCORR") == "", MaxConnections: 4})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			w := newWriter(store)
			w.conn, err = pgx.Connect(context.Background(), uri)
			if err != nil {
				b.Fatal(err)
			}
			if f := os.Getenv("SQLFILE"); f != "" {
				text, err := os.ReadFile(f)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.conn.Exec(context.Background(), string(text)); err != nil {
					b.Fatal(err)
				}
			}
			keys := make([]book.Key, n)
			for i := range keys {
				keys[i] = book.Key{Domain: "customer", Root: uuid.New()}
			}
			next := uint32(0)
			call := func() {
				batch := make([]*request, n)
				for i := range batch {
					id := uuid.Must(uuid.NewV7())
					batch[i] = &request{Append: eventstore.Append{CommandID: id, Key: keys[i], Next: next, CorrelationID: id.String(),
						Events: []eventstore.NewEvent{{TypeURL: "t/examples.Happened", Payload: []byte(strings.Repeat("x", 300)), CreatedAt: time.Unix(1, 2)}}}}
				}
				next++
				if err := w.send(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			for range 10 {
				call()
			}
			pid := w.conn.PgConn().PID()
			before := backendCPU(b, pid)
			b.ResetTimer()
			for range b.N {
				call()
			}
			used := backendCPU(b, pid) - before
			b.ReportMetric(used/float64(b.N), "server-µs/call")
			b.ReportMetric(used/float64(b.N)/float64(n), "server-µs/event")
		})
	}
}
