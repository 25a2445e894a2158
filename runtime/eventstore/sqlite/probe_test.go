package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

func TestProbeZero(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	for i, n := range []string{"a", "a\x00b", "a\x00c", "a\x00d", "b"} {
		r := command(book.Key{Domain: "order", Root: uuid.UUID{byte(9 - i)}}, 0, "x")
		r.Name = n
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	q := eventstore.SummaryQuery{Domain: "order", Limit: 1}
	for range 8 {
		page, err := s.Summaries(t.Context(), q)
		if err != nil || len(page) == 0 {
			break
		}
		t.Logf("ZERO %q", page[0].Name)
		q.After = &page[0].Root
	}
	p, err := s.Summaries(t.Context(), eventstore.SummaryQuery{Domain: "order", Prefix: "a\x00", Limit: 9})
	t.Logf("ZERO prefix: %d %v", len(p), err)
}
