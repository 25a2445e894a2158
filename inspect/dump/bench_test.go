package dump_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/inspect/dump"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// BenchmarkTransfer moves events of about 120 bytes, ten to an aggregate and two to a
// command, between SQLite files.
func BenchmarkTransfer(b *testing.B) {
	types := schema(b)
	const events = 100_000
	made, err := types.Encode("order", "shop.order.Placed", []byte(`{"customer":"alice@example.com","cents":"4711","lines":[{"sku":"tea-500","quantity":2},{"sku":"cup","quantity":1}],"tier":"GOLD","at":"2026-01-31T12:00:00.5Z","note":"leave it at the door, please, and ring twice"}`))
	if err != nil {
		b.Fatal(err)
	}
	from := serve(b, filepath.Join(b.TempDir(), "from.db"))
	defer from.close()
	var requests []eventstore.Append
	event := eventstore.NewEvent{TypeURL: made.TypeUrl, Payload: made.Value, CreatedAt: time.Unix(1_700_000_000, 5).UTC()}
	for i := range events / 2 {
		root := i / 1000 * 200
		requests = append(requests, eventstore.Append{
			CommandID: uuid.Must(uuid.NewV7()), Key: book.Key{Domain: "order", Root: book.Root("order", fmt.Sprint(root+i%200))},
			Name: fmt.Sprint("order-", root+i%200), Next: uint32(i % 1000 / 200 * 2), CorrelationID: uuid.NewString(), Events: []eventstore.NewEvent{event, event},
		})
		if len(requests) == 1000 {
			for _, result := range from.store.AppendAll(b.Context(), requests) {
				if result.Err != nil {
					b.Fatal(result.Err)
				}
			}
			requests = requests[:0]
		}
	}
	for name, writing := range map[string]dump.Types{"JSON": types, "raw": nil} {
		text, err := from.export(b.Context(), writing)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("export/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := dump.Export(b.Context(), from.conn, writing, dump.ExportRequest{}, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			report(b, events, len(text))
		})
		b.Run("import/"+name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				path := filepath.Join(b.TempDir(), "to.db")
				to := serve(b, path)
				b.StartTimer()
				if _, err := to.imported(b.Context(), types, text, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				to.close()
				_ = os.Remove(path)
				b.StartTimer()
			}
			report(b, events, len(text))
		})
	}
}

func report(b *testing.B, events, size int) {
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(size)/float64(events), "bytes/event")
}
