package protocheck

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Source are .proto files as they are at one moment, by the names under which
// they are imported.
type Source map[string]File

// File is one .proto file.
type File struct {
	Shown   string // the path that people are told
	Content []byte
}

// Read reads every .proto file below some folders, which are seen from dir. A
// folder that is not there has none. Hidden folders and those of package managers
// are passed over.
func Read(dir string, folders []string) (Source, error) {
	source := Source{}
	for _, folder := range absolute(dir, folders) {
		err := filepath.WalkDir(folder, func(place string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case entry.IsDir() && place != folder && isForeign(entry.Name()):
				return fs.SkipDir
			case entry.IsDir() || filepath.Ext(place) != ".proto":
				return nil
			}
			name, err := filepath.Rel(folder, place)
			if err != nil {
				return err
			}
			content, err := os.ReadFile(place)
			if err != nil {
				return err
			}
			source.add(filepath.ToSlash(name), File{shown(dir, place), content})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the .proto files: %w", err)
		}
	}
	return source, nil
}

// add keeps the first of two files of a name, as the compiler's import paths do.
func (s Source) add(name string, file File) {
	if _, taken := s[name]; !taken {
		s[name] = file
	}
}

func absolute(dir string, folders []string) []string {
	list := slices.Clone(folders)
	for i, folder := range list {
		if !filepath.IsAbs(folder) {
			list[i] = filepath.Join(dir, folder)
		}
	}
	return list
}

// isForeign reports whether a folder holds other people's files.
func isForeign(name string) bool { return strings.HasPrefix(name, ".") || name == "node_modules" }

func shown(dir, place string) string {
	if name, err := filepath.Rel(dir, place); err == nil && filepath.IsLocal(name) {
		return filepath.ToSlash(name)
	}
	return place
}

// NoRevision says that Git knows no such revision, or that the folder is in no
// repository.
type NoRevision struct {
	Revision string
	Reason   string // as Git says it
}

func (e *NoRevision) Error() string {
	return fmt.Sprintf("Git has no revision %q here: %s", e.Revision, e.Reason)
}

// ReadGit reads the .proto files as they are in a revision of the Git repository
// that dir belongs to. A folder that was not there has none; one outside the
// repository is read as it is. Without the revision the error is a *NoRevision.
func ReadGit(ctx context.Context, dir, revision string, folders []string) (Source, error) {
	tree, err := git(ctx, dir, nil, "rev-parse", "--verify", "--end-of-options", revision+"^{tree}")
	if err != nil {
		return nil, &NoRevision{revision, err.Error()}
	}
	top, err := git(ctx, dir, nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, &NoRevision{revision, err.Error()}
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	source := Source{}
	for _, folder := range absolute(real, folders) {
		below, err := filepath.Rel(strings.TrimSpace(string(top)), folder)
		if err != nil || !filepath.IsLocal(below) {
			outside, err := Read(dir, []string{folder})
			if err != nil {
				return nil, err
			}
			for name, file := range outside {
				source.add(name, file)
			}
			continue
		}
		if err := source.addTree(ctx, dir, strings.TrimSpace(string(tree)), revision, filepath.ToSlash(below)); err != nil {
			return nil, fmt.Errorf("read the .proto files of %s: %w", revision, err)
		}
	}
	return source, nil
}

// addTree adds the files below a folder of a tree; the folder is seen from the
// top of the repository.
func (s Source) addTree(ctx context.Context, dir, tree, revision, folder string) error {
	arguments := []string{"ls-tree", "-r", "-z", "--full-tree", tree}
	if folder != "." {
		arguments = append(arguments, "--", folder+"/")
	}
	listed, err := git(ctx, dir, nil, arguments...)
	if err != nil {
		return err
	}
	var names []string
	var wanted bytes.Buffer
	for line := range strings.SplitSeq(string(listed), "\x00") {
		about, place, _ := strings.Cut(line, "\t")
		fields := strings.Fields(about) // mode, type, object
		if len(fields) != 3 || fields[1] != "blob" || fields[0] == "120000" || path.Ext(place) != ".proto" {
			continue
		}
		name := place
		if folder != "." {
			name = strings.TrimPrefix(place, folder+"/")
		}
		if slices.ContainsFunc(strings.Split(path.Dir(name), "/"), func(part string) bool { return part != "." && isForeign(part) }) {
			continue
		}
		names = append(names, name)
		wanted.WriteString(fields[2] + "\n")
	}
	if names == nil {
		return nil
	}
	contents, err := git(ctx, dir, &wanted, "cat-file", "--batch")
	if err != nil {
		return err
	}
	return s.addBatch(contents, names, revision+":"+strings.TrimPrefix(folder+"/", "./"))
}

// addBatch adds files that "git cat-file --batch" has printed one after the other.
func (s Source) addBatch(printed []byte, names []string, prefix string) error {
	from := bufio.NewReader(bytes.NewReader(printed))
	for _, name := range names {
		header, err := from.ReadString('\n')
		if err != nil {
			return fmt.Errorf("git cat-file: the header of %s is missing", name)
		}
		fields := strings.Fields(header) // object, type, size
		if len(fields) != 3 {
			return fmt.Errorf("git cat-file: found %q for %s", strings.TrimSpace(header), name)
		}
		size, err := strconv.Atoi(fields[2])
		if err != nil || size < 0 || size > len(printed) {
			return fmt.Errorf("git cat-file: found the size %q for %s", fields[2], name)
		}
		content := make([]byte, size+1) // and the line break after it
		if _, err := io.ReadFull(from, content); err != nil {
			return fmt.Errorf("git cat-file: %s is cut off", name)
		}
		s.add(name, File{prefix + name, content[:size]})
	}
	return nil
}

// git runs Git and returns what it prints; the error is what it says.
func git(ctx context.Context, dir string, input io.Reader, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "git", arguments...)
	command.Dir = dir
	command.Stdin = input
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("git is not installed")
	}
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return nil, errors.New(strings.TrimPrefix(cmp.Or(first, err.Error()), "fatal: "))
	}
	return output, nil
}
