package emulator

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/protocheck"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
)

// schemaWorld is a project with a store, whose .proto file a test saves.
type schemaWorld struct {
	t      *testing.T
	config *config.Config
	store  eventstore.Store
	next   uint32
}

func newSchemaWorld(t *testing.T) *schemaWorld {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "proto"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "server: {aggregate_port: 0, event_query_port: 0}\ngateway: {port: 0}\nstream: {port: 0}\nlog: {format: text}\n"
	if err := os.WriteFile(filepath.Join(dir, config.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{Dir: dir, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := node.Open(t.Context(), node.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return &schemaWorld{t: t, config: loaded, store: opened.Store()}
}

// append stores an event whose field 2 is a text, and a snapshot of the same type.
func (w *schemaWorld) append() {
	w.t.Helper()
	key := book.Key{Domain: "customer", Root: book.Root("customer", "a")}
	_, err := w.store.Append(context.WithoutCancel(w.t.Context()), eventstore.Append{
		CommandID: uuid.New(), Key: key, Next: w.next, CorrelationID: "c",
		Events:   []eventstore.NewEvent{{TypeURL: "type.googleapis.com/customer.Created", Payload: []byte("\x12\x01a")}},
		Snapshot: &eventstore.Snapshot{Key: key, Sequence: w.next, TypeURL: "type.googleapis.com/customer.Customer", State: []byte("\x0a\x01a")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.next++
}

// run is one run of angz dev: it looks at schemas one after the other and returns
// what it says after each.
func (w *schemaWorld) run(schemas ...string) (said []string) {
	w.t.Helper()
	var out bytes.Buffer
	k := newCompatible(slog.New(slog.NewTextHandler(&out, nil)))
	for _, fields := range schemas {
		text := "syntax = \"proto3\";\npackage customer;\nmessage Customer {\n  string name = 1;\n}\nmessage Created {\n  " + fields + "\n}\n"
		if err := os.WriteFile(filepath.Join(w.config.Dir, "proto/customer.proto"), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		source, schema, err := protosOf(w.t.Context(), w.config)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := k.check(w.t.Context(), w.config, source, schema, w.store); err != nil {
			w.t.Fatal(err)
		}
		said = append(said, out.String())
		out.Reset()
	}
	return said
}

func TestWhatCannotBeReadIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newSchemaWorld(t)
	if said := w.run("string email = 2;", "int32 email = 2;", "string email = 2;"); strings.Join(said, "") != "" {
		t.Errorf("nothing is stored, and it says %q", said)
	}
	w.append()
	w.append()
	said := w.run("string email = 2; string note = 3;", "int32 email = 2;", "int32 email = 2; int32 more = 4;", "string email = 2;", "string email = 2;")
	for i, want := range []string{"", "field 2 (email) was string and is now int32: the email of 2 stored events cannot be read; see angz proto breaking", "", "everything that is stored can be read again", ""} {
		if want == "" && said[i] != "" || !strings.Contains(said[i], want) {
			t.Errorf("%d: says %q, want %q", i, said[i], want)
		}
	}
	if !strings.Contains(said[1], "customer.Created: ") || !strings.Contains(said[1], "proto/customer.proto:7:3") {
		t.Errorf("says %q", said[1])
	}
}

// A field that was tried out and is not stored may go; one that is stored may not.
func TestFieldsMayBeTriedOut(t *testing.T) {
	t.Parallel()
	w := newSchemaWorld(t)
	w.append()
	said := w.run("string email = 2; string note = 3;", "string email = 2;", "string note = 3;", "reserved 2;")
	if said[0] != "" || said[1] != "" || !strings.Contains(said[2], "customer.Created has no field 2") || !strings.Contains(said[3], "can be read again") {
		t.Errorf("says %q", said)
	}
}

// What was changed while angz dev did not run is noticed as well, also what only
// the older .proto files tell.
func TestChangesAreNoticedAfterwards(t *testing.T) {
	t.Parallel()
	w := newSchemaWorld(t)
	w.append()
	if said := w.run("string email = 2; int32 count = 3;"); said[0] != "" {
		t.Errorf("says %q", said)
	}
	for range 2 {
		if said := w.run("string email = 2; sint32 count = 3;"); !strings.Contains(said[0], "field 3 (count) was int32 and is now sint32") {
			t.Errorf("says %q", said)
		}
	}
	if err := os.WriteFile(baselineFile(w.config.Dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := w.run("int32 email = 2;"); !strings.Contains(said[0], "a text, bytes, message or packed list is stored there") {
		t.Errorf("without the older files it says %q", said)
	}
}

func FuzzBaseline(f *testing.F) {
	f.Add([]byte(`{"a.proto":{"Shown":"proto/a.proto","Content":"c3ludGF4"}}`))
	f.Add([]byte(`null`))
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Dir(baselineFile(dir)), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(baselineFile(dir), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = protocheck.Compile(t.Context(), readBaseline(dir)) // it must not end angz
	})
}
