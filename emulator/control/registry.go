package control

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// recordEnding is how the names of records end.
const recordEnding = ".json"

// Running returns the records of all emulators of the person on this machine, in
// the order of project and folder. Those of killed ones are cleared away.
func Running(environ []string) ([]Record, error) {
	var running []Record
	for _, folder := range registries(environ) {
		listed, err := listed(folder)
		if err != nil {
			return nil, fmt.Errorf("look for running projects: %w", err)
		}
		running = append(running, listed...)
	}
	slices.SortFunc(running, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Dir, b.Dir))
	})
	return slices.CompactFunc(running, func(a, b Record) bool { return a.Dir == b.Dir }), nil
}

// listed returns the emulators that are written down in a folder and run.
func listed(folder string) (running []Record, err error) {
	if info, err := os.Lstat(folder); err != nil || !info.IsDir() || !isOurs(info) {
		return nil, nil // nothing that this person's emulators have written
	}
	unlock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if filepath.Ext(path) != recordEnding {
			continue
		}
		record, err := readRecord(path)
		switch {
		case err != nil: // nothing that this version wrote
		case record.isCurrent():
			running = append(running, record)
		default:
			// Another one may have done so.
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
	}
	return running, nil
}

// isCurrent reports whether the emulator that wrote the record still runs. When
// that cannot be found out it is taken to.
func (r Record) isCurrent() bool {
	held, err := isHeld(r.Dir)
	if err != nil || !held {
		return err != nil && !errors.Is(err, os.ErrNotExist)
	}
	own, err := readRecord(filepath.Join(r.Dir, folderName, recordName))
	return err != nil || own.PID == r.PID
}

// lockFolder makes the folder of records and keeps others from changing it: one
// that clears away must not remove what has just been written again.
func lockFolder(folder string) (unlock func() error, err error) {
	if err := makePrivate(folder); err != nil {
		return nil, err
	}
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := waitLock(file); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", folder, err), file.Close())
	}
	return file.Close, nil
}
