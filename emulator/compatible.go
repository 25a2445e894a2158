package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/protocheck"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
)

// compatible compares the .proto files with what is stored, and warns of what
// cannot be read any more. It never keeps anybody from anything.
//
// The .proto files by which everything that is stored can be read are kept beside
// the store. They are replaced only by others that read all of it, so that a
// change which does not is noticed also after angz was started again.
type compatible struct {
	log *slog.Logger

	mu     sync.Mutex
	before protocheck.Source // by which everything that is stored can be read; nil when that is not known
	loaded bool              // before was looked for beside the store
	epoch  uuid.UUID         // of the store that the rest is about
	tally  protocheck.Tally
	seen   uint64 // the position up to which tally has counted
	states map[book.Key]uint32
	told   map[string]bool // the findings that were told, by their keys
}

// history is the part of an event store that compatible needs.
type history interface {
	Epoch() uuid.UUID
	ReadLog(ctx context.Context, after uint64, limit int) ([]eventstore.Event, error)
	Roots(ctx context.Context, after book.Key, limit int) ([]eventstore.Root, error)
	Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error)
}

func newCompatible(log *slog.Logger) *compatible {
	return &compatible{log: log, states: map[book.Key]uint32{}, told: map[string]bool{}}
}

// check warns once of each thing that cannot be read any more, and says when all
// can be read again. source and schema are the same files.
func (k *compatible) check(ctx context.Context, c *config.Config, source protocheck.Source, schema *protocheck.Schema, store history) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	lasts := c.Storage.Type != "memory" && (c.Storage.Type != "sqlite" || node.StoreFile(c) != "")
	if !k.loaded && lasts {
		k.before = readBaseline(c.Dir)
	}
	k.loaded = true
	if sameSource(k.before, source) && len(k.told) == 0 {
		return nil
	}
	if err := k.count(ctx, store); err != nil {
		return fmt.Errorf("look at what is stored: %w", err)
	}
	var findings []protocheck.Finding
	if old, err := protocheck.Compile(ctx, k.before); err == nil && len(k.before) > 0 {
		findings = protocheck.Compare(old, schema, protocheck.Options{Stored: &k.tally})
		// People try fields out. One that nothing stored has may go again, and
		// one that is stored shows when it is read.
		findings = slices.DeleteFunc(findings, func(f protocheck.Finding) bool { return f.Rule == "field-removed" })
	}
	_, findings = k.tally.Check(schema, findings)
	findings = slices.DeleteFunc(findings, func(f protocheck.Finding) bool { return f.Severity != protocheck.Error || f.Events == 0 })
	k.tell(findings)
	if len(findings) > 0 {
		return nil
	}
	k.before = source
	if !lasts {
		return nil
	}
	return writeBaseline(c.Dir, source)
}

// tell tells what has come since the last time.
func (k *compatible) tell(findings []protocheck.Finding) {
	now := map[string]bool{}
	for _, finding := range findings {
		key := finding.Key()
		if now[key] = true; k.told[key] {
			continue
		}
		name := finding.Name
		if len(finding.Types) > 0 {
			name = finding.Types[0]
		}
		attributes := []any{}
		if finding.File != "" {
			attributes = append(attributes, "file", fmt.Sprintf("%s:%d:%d", finding.File, finding.Line, finding.Column))
		}
		k.log.Warn(fmt.Sprintf("%s: %s; see angz proto breaking", name, finding.Summary()), attributes...)
	}
	if len(now) == 0 && len(k.told) > 0 {
		k.log.Info("everything that is stored can be read again")
	}
	k.told = now
}

const (
	countedAtOnce = 2000 // events
	mostStates    = 500  // aggregates whose snapshots are looked at
)

// count brings the tally up to date.
func (k *compatible) count(ctx context.Context, store history) error {
	if epoch := store.Epoch(); epoch != k.epoch {
		k.epoch, k.tally, k.seen = epoch, protocheck.Tally{}, 0
		clear(k.states)
	}
	for {
		events, err := store.ReadLog(ctx, k.seen, countedAtOnce)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return k.countStates(ctx, store)
		}
		for _, event := range events {
			k.tally.Add(event.TypeURL, event.Payload)
		}
		k.seen = events[len(events)-1].Position
	}
}

// countStates counts the snapshots of the first aggregates.
func (k *compatible) countStates(ctx context.Context, store history) error {
	roots, err := store.Roots(ctx, book.Key{}, mostStates)
	if err != nil {
		return err
	}
	for _, root := range roots {
		info, err := store.Aggregate(ctx, root.Key)
		if err != nil {
			return err
		}
		snapshot := info.Snapshot
		if snapshot == nil {
			continue
		}
		if at, known := k.states[root.Key]; known && at == snapshot.Sequence {
			continue
		}
		k.states[root.Key] = snapshot.Sequence
		k.tally.AddState(snapshot.TypeURL, snapshot.State)
	}
	return nil
}

func baselineFile(dir string) string { return filepath.Join(dir, project.Folder, "schema.json") }

// readBaseline returns nothing when there are no files that can be read.
func readBaseline(dir string) (source protocheck.Source) {
	text, err := os.ReadFile(baselineFile(dir))
	if err != nil || json.Unmarshal(text, &source) != nil {
		return nil
	}
	return source
}

func writeBaseline(dir string, source protocheck.Source) error {
	text, err := json.Marshal(source)
	if err != nil {
		return err
	}
	if _, err := project.MakeFolder(dir); err != nil {
		return err
	}
	return replaceFile(baselineFile(dir), text)
}

func sameSource(a, b protocheck.Source) bool {
	return len(a) > 0 && maps.EqualFunc(a, b, func(a, b protocheck.File) bool { return string(a.Content) == string(b.Content) })
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
