package emulator

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/angz-dev/angz/inspect/dump"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

const oneEvent = `{"kind":"header","format":"angz export","version":1}
{"kind":"book","domain":"todo","aggregate_id":"a","sequence":0,"command_id":"0b1f3a52-7f0c-4ad5-8a9f-57a2a3a4d6a1","events":[{"created_at":"2026-01-31T12:00:00Z","type_url":"x/y","payload_base64":"AA=="}]}
{"kind":"end","books":1,"events":1,"snapshots":0}
`

func projectWith(t *testing.T, o DataOptions) *config.Config {
	t.Helper()
	loaded, err := config.Load(config.Options{Dir: t.TempDir(), Dev: true, Set: o.Settings()})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// eventsIn returns how many events the store has, -1 if there is none.
func eventsIn(t *testing.T, c *config.Config) int {
	t.Helper()
	opened, err := node.OpenArchive(t.Context(), c, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return -1
	}
	var out bytes.Buffer
	counts, err := dump.Export(t.Context(), opened.Conn(), nil, dump.ExportRequest{}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	return int(counts.Events)
}

func fill(t *testing.T, c *config.Config, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := importFile(t.Context(), c, DataOptions{From: path}); err != nil {
		t.Fatal(err)
	}
}

func TestAFreshStoreTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	c := projectWith(t, DataOptions{})
	prepare := func() (said string) {
		t.Helper()
		cleanup, err := prepareStore(t.Context(), c, DataOptions{Fresh: true}, func(text string) { said = text })
		if err != nil {
			t.Fatal(err)
		}
		if err := cleanup(); err != nil {
			t.Fatal(err)
		}
		return said
	}
	if said := prepare(); said != "" {
		t.Errorf("said %q of a store that was not there", said)
	}
	fill(t, c, oneEvent)
	if said := prepare(); !strings.Contains(said, "dev.db.before-fresh") || eventsIn(t, c) != -1 {
		t.Errorf("said %q, and the store has %d events", said, eventsIn(t, c))
	}
	// An empty store does not take the place of one that is not.
	opened, err := node.OpenArchive(t.Context(), c, true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	prepare()
	kept := node.StoreFile(c) + beforeEnding
	if err := os.Rename(kept, node.StoreFile(c)); err != nil || eventsIn(t, c) != 1 {
		t.Errorf("%v, %d events were kept, want 1", err, eventsIn(t, c))
	}
}

func TestARunFromAnExportHasAStoreOfItsOwn(t *testing.T) {
	t.Parallel()
	o := DataOptions{From: filepath.Join(t.TempDir(), "case.jsonl")}
	c := projectWith(t, o)
	if _, err := prepareStore(t.Context(), c, o, func(string) {}); err == nil || !strings.Contains(err.Error(), "--from") {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{oneEvent[:len(oneEvent)-20], oneEvent} {
		if err := os.WriteFile(o.From, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cleanup, err := prepareStore(t.Context(), c, o, func(string) {})
		if text != oneEvent {
			if err == nil || eventsIn(t, c) != -1 {
				t.Errorf("a cut file: got %v, and a store with %d events", err, eventsIn(t, c))
			}
			continue
		}
		if err != nil || eventsIn(t, c) != 1 {
			t.Fatalf("got %v, and a store with %d events", err, eventsIn(t, c))
		}
		if err := cleanup(); err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(node.StoreFile(c) + "*")
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
