package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is what the configuration of a project is called. It is looked for
// upwards.
const FileName = "angz.yaml"

const (
	plainFile = "config.yaml" // looked for in the folder itself
	fileInEnv = "ANGZARR_CONFIG"
)

// locate finds the file to read and sets the configuration's File and Dir. It
// leaves File empty when there is none, which is in order unless one was named.
func (l *loader) locate(environ map[string]string) {
	named, origin := l.options.File, ""
	if named == "" {
		named, origin = environ[fileInEnv], fromVariable(fileInEnv)
	}
	if named != "" {
		l.config.File = named
		l.setDir(filepath.Dir(named), origin)
		return
	}
	if !l.setDir(l.options.Dir, "") {
		return
	}
	if info, err := os.Stat(l.config.Dir); err != nil || !info.IsDir() {
		l.failed(l.options.Dir, "look for "+FileName, err, "is not a folder: name a file with --config")
		return
	}
	start := l.config.Dir
	if file, found := upwards(start); found {
		l.config.Dir = filepath.Dir(file)
		l.config.File = l.shown(start, file)
	} else if file := filepath.Join(start, plainFile); isFile(file) {
		l.config.File = l.shown(start, file)
	}
}

// setDir makes a folder the one that relative paths start from.
func (l *loader) setDir(dir, origin string) bool {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		l.complain("", place{origin: origin}, fmt.Sprintf("find the working folder: %v", err))
		return false
	}
	l.config.Dir = absolute
	return true
}

// upwards looks for the project's file in a folder and those above it. Whatever is
// called so is meant to be it, and so a folder, or a link that leads nowhere, is
// found as well: reading it says what is wrong.
func upwards(dir string) (string, bool) {
	for {
		file := filepath.Join(dir, FileName)
		if _, err := os.Lstat(file); err == nil {
			return file, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// shown returns a file that was found as its finder would write it: from where
// they said to look.
func (l *loader) shown(start, file string) string {
	relative, err := filepath.Rel(start, file)
	if err != nil || filepath.IsAbs(l.options.Dir) {
		return file
	}
	return filepath.Join(l.options.Dir, relative)
}

// readFile reads and parses the file that was located.
func (l *loader) readFile() {
	data, err := readBounded(l.config.File)
	if err != nil {
		l.failed(l.config.File, "read the configuration", err, "is a folder, expected a file: name the file in it")
		return
	}
	doc, mistake := parseDocument(l.config.File, data)
	if mistake != nil {
		l.mistakes = append(l.mistakes, mistake)
		return
	}
	l.doc = doc
	if doc.root != nil {
		l.section(part{node: doc.root, at: place{line: doc.root.Line, column: doc.root.Column}}, l.root())
	}
}

var errFolder = errors.New("is a folder")

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // only read, nothing can be lost
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errFolder
	}
	return io.ReadAll(io.LimitReader(file, maxFileBytes+1))
}

// failed reports a file or folder that cannot be used. other is said when it is
// there, but of the wrong kind.
func (l *loader) failed(path, doing string, err error, other string) {
	message := other
	var cause *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		message = "there is no such file or folder: check the name"
	case err == nil || errors.Is(err, errFolder):
	case errors.As(err, &cause):
		message = fmt.Sprintf("%s: %v", doing, cause.Err)
	default:
		message = fmt.Sprintf("%s: %v", doing, err)
	}
	made := &Error{File: path, Message: message}
	if l.options.File == "" && path == l.config.File && path != "" {
		made.Message += " (" + l.fileOrigin() + ")"
	}
	l.mistakes = append(l.mistakes, made)
}

// fileOrigin says who named the file, when it was not the command line.
func (l *loader) fileOrigin() string {
	if environmentOf(l.options.Environ)[fileInEnv] != "" {
		return "it is named by the environment variable " + fileInEnv
	}
	return "it was found from the folder " + l.config.Dir
}
