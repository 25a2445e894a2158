package generate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/angz-dev/angz/scaffold"
	"github.com/angz-dev/angz/templates"
)

// memory is what is remembered of the last run, so that the next one knows at
// once that there is nothing to do.
type memory struct {
	Inputs  string            `json:"inputs"`
	Outputs map[string]string `json:"outputs"` // digests by path
}

// Update runs unless nothing has changed since the run before, neither what code
// is made of nor the code. The file remembers that run; losing it costs one run
// more. ran is false when there was nothing to find out.
func Update(ctx context.Context, project Project, file string) (result *Result, ran bool, err error) {
	leave, err := takeTurn(ctx, project.Dir, project.Log)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	inputs, err := project.digest()
	if err != nil {
		return nil, false, err
	}
	if before, known := recall(file); known && before.Inputs == inputs && before.holds(project.Dir) {
		return nil, false, nil
	}
	if result, err = run(ctx, project); err != nil {
		return nil, true, err
	}
	// What a language fetches on the way may be part of what code is made of.
	if inputs, err = project.digest(); err != nil {
		return nil, true, err
	}
	return result, true, remember(file, inputs, result)
}

// manifests are the files that say which versions of its tools a language uses.
var manifests = []string{"go.mod", "package-lock.json", "requirements-dev.txt"}

// digest is over everything that generated code depends on.
func (p Project) digest() (string, error) {
	all := sha256.New()
	s := newSources(p)
	names, err := s.list()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		found, err := s.open(name)
		if err != nil {
			return "", err
		}
		if err := mix(all, name, found.Source); err != nil {
			return "", err
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(p.Targets)) {
		fmt.Fprintf(all, "%s %s %s\n", p.Name, folder, p.Targets[folder])
		for _, name := range manifests {
			content, err := os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(folder), name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			fmt.Fprintf(all, "%s %x\n", name, sha256.Sum256(content))
		}
	}
	if err := mixTemplates(all, p.Targets); err != nil {
		return "", err
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

func mix(all hash.Hash, name string, content io.Reader) error {
	one := sha256.New()
	if _, err := io.Copy(one, content); err != nil {
		return err
	}
	fmt.Fprintf(all, "%s %x\n", name, one.Sum(nil))
	return nil
}

// mixTemplates adds those of generated code, which another angz has otherwise.
func mixTemplates(all hash.Hash, targets map[string]string) error {
	for _, language := range slices.Sorted(maps.Values(targets)) {
		for _, part := range []string{"dispatch", "dispatch-all"} {
			err := fs.WalkDir(templates.Files, path.Join(language, part), func(name string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				file, err := templates.Files.Open(name)
				if err != nil {
					return err
				}
				return errors.Join(mix(all, name, file), file.Close())
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func recall(file string) (before memory, known bool) {
	content, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(content, &before) != nil {
		return memory{}, false
	}
	return before, true
}

// holds reports whether all code is there as it was written.
func (m memory) holds(dir string) bool {
	for name, digest := range m.Outputs {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || digestOf(content) != digest {
			return false
		}
	}
	return true
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func remember(file, inputs string, result *Result) error {
	now := memory{Inputs: inputs, Outputs: map[string]string{}}
	for _, step := range result.Steps {
		if step.Action != scaffold.Remove {
			now.Outputs[step.File.Path] = digestOf(step.File.Content)
		}
	}
	content, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}
