package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// SQLite's functions end a text at a zero byte, and no aggregate may get lost by it.
func TestNamesWithZeroBytesAreListed(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	for i, name := range []string{"", "\x00", "a", "a\x00d", "a\x00c", "a\x00b", "b"} {
		request := command(book.Key{Domain: "order", Root: uuid.UUID{byte(i)}}, 0, "x")
		request.Name = name
		if _, err := s.Append(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	// What counts of the names are "", "", "a", "a", "a", "a" and "b".
	for prefix, want := range map[string][]byte{"": {0, 1, 2, 3, 4, 5, 6}, "a": {2, 3, 4, 5}, "b": {6}, "a\x00": nil} {
		for limit := 1; limit <= 8; limit++ {
			query := eventstore.SummaryQuery{Domain: "order", Prefix: prefix, Limit: limit}
			var roots []byte
			for {
				page, err := s.Summaries(t.Context(), query)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, summary := range page {
					roots = append(roots, summary.Key.Root[0])
				}
				query.After = &page[len(page)-1].Root
			}
			if diff := cmp.Diff(want, roots); diff != "" {
				t.Errorf("%q, %d a page (-want +got):\n%s", prefix, limit, diff)
			}
		}
	}
}
