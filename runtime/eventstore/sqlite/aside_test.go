package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
)

func TestAStoreIsSetAsideWithAllItHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dev.db")
	to := path + ".before"
	if moved, err := sqlite.SetAside(path, to); moved || err != nil {
		t.Errorf("nothing there: got %v, %v", moved, err)
	}
	for round := range 2 { // the second one takes the place of the first
		store, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Append(t.Context(), eventstore.Append{
			CommandID: uuid.New(), Key: book.Key{Domain: "order"}, Events: make([]eventstore.NewEvent, round+1),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.SetAside(path, to); err == nil || !strings.Contains(err.Error(), "in use by this process") {
			t.Errorf("set a store aside that is open: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if moved, err := sqlite.SetAside(path, to); !moved || err != nil {
			t.Fatalf("got %v, %v", moved, err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: to})
	if err != nil {
		t.Fatal(err)
	}
	if store.Head() != 2 {
		t.Errorf("the log ends at %d, want 2", store.Head())
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if moved, err := sqlite.SetAside(to, ""); !moved || err != nil {
		t.Fatalf("remove: got %v, %v", moved, err)
	}
	if err := os.WriteFile(path, []byte("a letter to my aunt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.SetAside(path, to); err == nil {
		t.Error("set aside what is not a store")
	}
}
