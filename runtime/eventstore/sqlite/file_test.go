package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // registers the engine for the databases of other programs

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
)

// database makes a database with other means than the driver's.
func database(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// store makes a store with one event.
func store(t *testing.T, path string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendOne(t *testing.T, s *sqlite.Store) {
	t.Helper()
	_, err := s.Append(t.Context(), eventstore.Append{
		CommandID: uuid.New(), Key: book.Key{Domain: "order", Root: uuid.New()},
		Events: []eventstore.NewEvent{{TypeURL: "t/Happened", Payload: []byte("payload")}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// damage overwrites a file behind its header.
func damage(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 100; i < len(content); i++ {
		content[i] = byte(i * 7)
	}
	write(t, path, string(content))
}

// listing is every file in a folder with its content and mode.
func listing(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content := []byte(nil)
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(filepath.Join(folder, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&all, "%s %v %x\n", entry.Name(), info.Mode(), content)
	}
	return all.String()
}

func TestWrongFileIsRefusedAndNotTouched(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		prepare func(t *testing.T, folder, path string)
		want    []string
	}{
		"a text file": {
			func(t *testing.T, _, path string) { write(t, path, strings.Repeat("not a database ", 100)) },
			[]string{"it is not a database", "set storage.sqlite.path to another file"},
		},
		"a short file": {
			func(t *testing.T, _, path string) { write(t, path, "SQLite") },
			[]string{"it is not a database"},
		},
		"a database of another program": {
			func(t *testing.T, _, path string) { database(t, path, "CREATE TABLE notes (text)") },
			[]string{"it is a database of another program", "set storage.sqlite.path to another file"},
		},
		"a database of another program with its id": {
			func(t *testing.T, _, path string) {
				database(t, path, "PRAGMA journal_mode = WAL", "PRAGMA application_id = 77", "CREATE TABLE notes (text)")
			},
			[]string{"it is a database of another program"},
		},
		"a newer version": {
			func(t *testing.T, _, path string) { database(t, path, newerHeader...) },
			[]string{"it was written by a newer angz (format 99, this one knows up to 4)", "use the newer angz"},
		},
		"a folder": {
			func(t *testing.T, _, path string) {
				if err := os.Mkdir(path, 0o755); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"it is not a file", "set storage.sqlite.path"},
		},
		"a write-protected file": {
			func(t *testing.T, folder, path string) {
				store(t, path)
				chmod(t, path, 0o444, 0o644)
			},
			[]string{"it is write-protected", "chmod u+w"},
		},
		"a write-protected folder": {
			func(t *testing.T, folder, _ string) { chmod(t, folder, 0o555, 0o755) },
			[]string{"its folder is write-protected", "chmod u+w"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			path := filepath.Join(folder, "store.db")
			c.prepare(t, folder, path)
			before := listing(t, folder)
			mustRefuse(t, path, append(c.want, path)...)
			if after := listing(t, folder); after != before {
				t.Errorf("the folder was changed:\n%.300s\nbefore:\n%.300s", after, before)
			}
		})
	}
}

var newerHeader = []string{"PRAGMA application_id = 0x616e677a", "PRAGMA user_version = 99", "CREATE TABLE events (position)"}

func chmod(t *testing.T, path string, during, after os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, during); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, after) })
}

// mustRefuse checks that a path cannot be opened and that the error says why.
func mustRefuse(t *testing.T, path string, want ...string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err == nil {
		_ = s.Close()
		t.Fatal("the store was opened")
	}
	for _, words := range want {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
}

func TestNewerVersionInTheWriteAheadLogIsNoticed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	store(t, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// The connection stays open, so the new version is only in the log.
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, path, "it was written by a newer angz")
}

func TestDamagedFileIsExplained(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	store(t, path)
	damage(t, path)
	mustRefuse(t, path, path, "it is damaged", "restore it from a backup, or move it away to begin anew")
}

func TestFolderThatCannotBeMadeIsExplained(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "file"), "in the way")
	path := filepath.Join(folder, "file", "store.db")
	mustRefuse(t, path, path, "its folder cannot be made", "set storage.sqlite.path")
}

func TestMissingFoldersAreMade(t *testing.T) {
	t.Parallel()
	store(t, filepath.Join(t.TempDir(), "a", "b c?", "ünï%20#", "store.db"))
}

func TestEmptyFileBecomesStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	write(t, path, "")
	store(t, path)
}

func TestSecondOpenerIsToldWhoHasTheFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "store.db")
	link := filepath.Join(folder, "link.db")
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		mustRefuse(t, name, path, "it is in use by this process", "stop that first")
	}
	appendOne(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	store(t, path)
	if content, err := os.ReadFile(path + ".lock"); err != nil || len(content) != 0 {
		t.Errorf("the lock of a closed store says %q (%v)", content, err)
	}
}

func TestClosedStoreIsOneFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	store(t, filepath.Join(folder, "store.db"))
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if got := strings.Join(names, " "); got != "store.db store.db.lock" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestCorrelationIndexCanBeChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	for i, indexed := range []bool{true, false, true} {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, CorrelationIndex: indexed})
		if err != nil {
			t.Fatal(err)
		}
		appendOne(t, s)
		events, err := s.ByCorrelation(t.Context(), "", 0, 10)
		if err != nil || len(events) != i+1 {
			t.Errorf("indexed %t: %d events, %v", indexed, len(events), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemoryLeavesNoFiles(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	for _, path := range []string{"", ":memory:"} {
		store(t, path)
	}
	if all := listing(t, folder); all != "" {
		t.Errorf("the folder holds %s", all)
	}
}
