package sqlite_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
)

func TestExamineTellsWithoutOpening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	if examined, err := sqlite.Examine(path); err != nil || !examined.Missing {
		t.Errorf("no file yet: %+v, %v", examined, err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if examined, err := sqlite.Examine(path); err != nil || examined.Missing || examined.Bytes == 0 {
		t.Errorf("a store: %+v, %v", examined, err)
	}
	for name, change := range map[string]struct {
		make func(content []byte) []byte
		says string
	}{
		"no database":  {func([]byte) []byte { return []byte("hello") }, "it is not a database"},
		"a newer one":  {func(content []byte) []byte { binary.BigEndian.PutUint32(content[60:], 99); return content }, "newer angz (format 99"},
		"a stranger's": {func(content []byte) []byte { binary.BigEndian.PutUint32(content[68:], 1); return content }, "database of another program"},
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(t.TempDir(), "other.db")
		if err := os.WriteFile(other, change.make(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Examine(other); err == nil || !strings.Contains(err.Error(), change.says) {
			t.Errorf("%s: got %v, want %q", name, err, change.says)
		}
	}
}
