package emulator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/angz-dev/angz/inspect/dump"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/payload"
)

// DataOptions say with which events a run begins and where they are kept. The
// zero DataOptions go on with what is in the project's store.
type DataOptions struct {
	Fresh     bool     // begin with an empty store; the one before is set aside
	Ephemeral bool     // keep everything in memory
	From      string   // begin with what this file of angz export has, in a store of its own
	History   bool     // with From: sagas take what it has as done
	Seeds     []string // files of commands and events that are to be there
}

// fromFile is the store of a run that begins with an export.
const fromFile = ".angz/from.db"

// Check refuses wishes that contradict each other.
func (o DataOptions) Check() error {
	switch {
	case o.Fresh && o.Ephemeral:
		return errors.New("found both --fresh and --ephemeral, expected one of the two: a store in memory is always empty at first")
	case o.Fresh && o.From != "":
		return errors.New("found both --fresh and --from, expected one of the two: --from begins with a store of its own")
	case o.Ephemeral && o.From != "":
		return errors.New("found both --ephemeral and --from, expected one of the two: the store of --from goes away with the run, too")
	case o.History && o.From == "":
		return errors.New("--history is about the events of --from: add it")
	}
	return nil
}

// Settings returns the keys of the configuration that the options decide. They
// have to be set each time that it is read, or a reload would go back to the
// project's store.
func (o DataOptions) Settings() map[string]string {
	switch {
	case o.Ephemeral:
		return map[string]string{"storage.type": "memory"}
	case o.From != "":
		return map[string]string{"storage.type": "sqlite", "storage.sqlite.path": fromFile}
	}
	return nil
}

// prepareStore makes the store what the options want, before anything opens it.
// The caller holds the project and must call cleanup when nothing uses the store
// any more. say tells a person what was done.
func prepareStore(ctx context.Context, c *config.Config, o DataOptions, say func(string)) (cleanup func() error, err error) {
	nothing := func() error { return nil }
	switch {
	case o.Fresh:
		kept, err := SetAside(ctx, c)
		if err == nil && kept != "" {
			say("the store begins empty; the one before is " + kept)
		}
		return nothing, err
	case o.From != "":
		if _, err := node.SetStoreAside(c, ""); err != nil {
			return nothing, err
		}
		cleanup := func() error { return removeStore(c) }
		imported, err := importFile(ctx, c, o)
		if err != nil {
			return nothing, errors.Join(err, cleanup())
		}
		say(fmt.Sprintf("the store is one of its own with the %d events of %s; it goes away with this run", imported.Events, o.From))
		return cleanup, nil
	}
	return nothing, nil
}

// beforeEnding is added to the name of a store that was set aside.
const beforeEnding = ".before-fresh"

// SetAside moves the project's store out of the way and returns where it is then:
// nowhere, if nothing was in it. Of several only the last one is kept.
func SetAside(ctx context.Context, c *config.Config) (kept string, err error) {
	file := node.StoreFile(c)
	if file == "" {
		return "", fmt.Errorf("storage.type is %s: only the store in a file can be set aside", c.Storage.Type)
	}
	to := file + beforeEnding
	if opened, err := node.OpenArchive(ctx, c, false, slog.New(slog.DiscardHandler)); err == nil {
		if opened.Empty() {
			to = "" // nothing is to take the place of something
		}
		if err := opened.Close(); err != nil {
			return "", err
		}
	}
	moved, err := node.SetStoreAside(c, to)
	if err != nil || !moved {
		return "", err
	}
	return to, nil
}

// removeStore removes the store of a run that begins with an export.
func removeStore(c *config.Config) error {
	if _, err := node.SetStoreAside(c, ""); err != nil {
		return err
	}
	if err := os.Remove(node.StoreFile(c) + ".lock"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// importFile stores an export in the configured store, which is empty.
func importFile(ctx context.Context, c *config.Config, o DataOptions) (imported dump.Imported, err error) {
	types, err := schemaOf(ctx, c)
	if err != nil {
		return imported, err
	}
	opened, err := node.OpenArchive(ctx, c, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return imported, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	file, err := os.Open(o.From)
	if err != nil {
		return imported, fmt.Errorf("--from: %w", err)
	}
	defer file.Close()
	return dump.Import(ctx, opened.Conn(), dump.ImportRequest{From: file, Name: o.From, Types: types, History: o.History})
}

// schemaOf reads the project's .proto files.
func schemaOf(ctx context.Context, c *config.Config) (*payload.Schema, error) {
	var folders []string
	for _, folder := range c.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(c.Dir, folder)
		}
		folders = append(folders, folder)
	}
	return payload.Load(ctx, folders, nil)
}
