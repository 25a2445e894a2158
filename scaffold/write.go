package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Action is what becomes of a file.
type Action string

// The actions.
const (
	Create  Action = "create"
	Change  Action = "change"  // it was there with another content
	Same    Action = "same"    // it was there like that
	Keep    Action = "keep"    // it was there, and is the person's
	Remove  Action = "remove"  // it was generated, and is not any more
	Collide Action = "collide" // it is there with another content, and nobody said that it may be replaced
)

// Step is one file with what becomes of it.
type Step struct {
	File   File
	Action Action
	Old    []byte // what was there
}

// Diff shows what a step changes, as a unified diff; empty when it changes
// nothing.
func (s Step) Diff() string {
	if s.Action != Change && s.Action != Collide {
		return ""
	}
	return string(diff.Diff(s.File.Path, s.Old, s.File.Path+" (new)", s.File.Content))
}

// Compare says what writing files into a folder would do. force lets it replace
// what is there, except for shared files, which always stay.
func Compare(dir string, files []File, force bool) ([]Step, error) {
	steps := make([]Step, len(files))
	for i, file := range files {
		step, err := compare(dir, file, force)
		if err != nil {
			return nil, err
		}
		steps[i] = step
	}
	return steps, nil
}

func compare(dir string, file File, force bool) (Step, error) {
	place := filepath.Join(dir, filepath.FromSlash(file.Path))
	old, err := os.ReadFile(place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Step{File: file, Action: Create}, nil
	case err != nil:
		return Step{}, fmt.Errorf("%w; there must be no file or folder of that name in the way", err)
	case bytes.Equal(old, file.Content):
		return Step{File: file, Action: Same, Old: old}, nil
	case file.Shared:
		return Step{File: file, Action: Keep, Old: old}, nil
	case force:
		return Step{File: file, Action: Change, Old: old}, nil
	}
	return Step{File: file, Action: Collide, Old: old}, nil
}

// Write does what the steps say. Each file appears as a whole or not at all, and
// keeps its time when it does not change.
func Write(dir string, steps []Step) error {
	for _, step := range steps {
		if err := step.write(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s Step) write(dir string) error {
	place := filepath.Join(dir, filepath.FromSlash(s.File.Path))
	switch s.Action {
	case Create, Change:
	case Remove:
		return os.Remove(place)
	default:
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", s.File.Path, err)
	}
	unfinished := filepath.Join(filepath.Dir(place), fmt.Sprintf(".%s.%d.angz-new", filepath.Base(place), os.Getpid()))
	if err := os.WriteFile(unfinished, s.File.Content, s.File.Mode); err != nil {
		return fmt.Errorf("write %s: %w", s.File.Path, err)
	}
	if err := os.Rename(unfinished, place); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", s.File.Path, err), os.Remove(unfinished))
	}
	return nil
}

// Tree draws the files of steps as a tree of folders.
func Tree(root string, steps []Step) string {
	var out strings.Builder
	out.WriteString(root + "/\n")
	var before []string
	for _, step := range steps {
		parts := strings.Split(step.File.Path, "/")
		depth := 0
		for depth < len(parts)-1 && depth < len(before)-1 && parts[depth] == before[depth] {
			depth++
		}
		for ; depth < len(parts)-1; depth++ {
			out.WriteString(strings.Repeat("  ", depth+1) + parts[depth] + "/\n")
		}
		note := ""
		if step.Action != Create {
			note = "  (" + string(step.Action) + ")"
		}
		out.WriteString(strings.Repeat("  ", len(parts)) + parts[len(parts)-1] + note + "\n")
		before = parts
	}
	return out.String()
}
