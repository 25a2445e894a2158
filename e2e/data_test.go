package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make files that are not angz's
)

// emptyProject writes a project without services whose data is in store.
func emptyProject(t *testing.T, store string) string {
	t.Helper()
	project := t.TempDir()
	writeProject(t, project, fmt.Sprintf("storage:\n  sqlite:\n    path: %s\n", store))
	return project
}

// TestAnUnusableStoreIsRefused starts angz on files that it must not touch and
// compares what it says. It leaves them as they were.
func TestAnUnusableStoreIsRefused(t *testing.T) {
	t.Parallel()
	held := filepath.Join(t.TempDir(), "held.db")
	startDev(t, emptyProject(t, held), freePorts(t))
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		path string
		says []string
	}{
		"in use by another angz": {path: held, says: []string{"held.db", "process"}},
		"of another program": {
			make: func(t *testing.T, path string) {
				database(t, path, "PRAGMA application_id = 77", "CREATE TABLE notes (text)")
			},
			says: []string{"another program"},
		},
		"of a newer version": {
			make: func(t *testing.T, path string) {
				database(t, path, "PRAGMA application_id = 0x616e677a", "PRAGMA user_version = 99", "CREATE TABLE events (position)")
			},
			says: []string{"newer"},
		},
		"no database": {
			make: func(t *testing.T, path string) { write(t, path, strings.Repeat("not a database at all. ", 100), 0o600) },
			says: []string{"not"},
		},
		"write-protected": {
			make: func(t *testing.T, path string) {
				database(t, path, "PRAGMA application_id = 0x616e677a")
				if err := os.Chmod(path, 0o400); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"write"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := c.path
			if c.make != nil {
				path = filepath.Join(t.TempDir(), "store.db")
				c.make(t, path)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			output, code := refusedDev(t, emptyProject(t, path))
			if code != 1 {
				t.Errorf("exit code %d:\n%s", code, output)
			}
			for _, words := range append(c.says, path) {
				if !strings.Contains(output, words) {
					t.Errorf("nothing of %q in:\n%s", words, output)
				}
			}
			if after, err := os.ReadFile(path); c.make != nil && (err != nil || string(after) != string(before)) {
				t.Errorf("the file was changed: %v", err)
			}
			t.Logf("angz says: %s", output)
		})
	}
}

// refusedDev runs "angz dev", which is expected to end by itself.
func refusedDev(t *testing.T, project string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "dev", project)
	command.Env = append(os.Environ(), freePorts(t).environ()...)
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), command.ProcessState.ExitCode()
}

func database(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
