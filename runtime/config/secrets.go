package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"
)

// fileSuffix ends the keys that name a file with a secret.
const fileSuffix = "_file"

// maxSecretBytes bounds the file of one secret.
const maxSecretBytes = 64 << 10

// set reads a value from the text of a scalar and stores it. Where the text
// names a file, the value is what that holds.
func (l *loader) set(f field, into reflect.Value, text, path string, at place) *complaint {
	if f.content == nil {
		return f.setText(into, text)
	}
	if wrong := f.checkText(text); wrong != nil {
		wrong.found = "a value that is not shown here"
		return wrong
	}
	file := text
	if !filepath.IsAbs(file) {
		file = filepath.Join(l.config.Dir, file)
	}
	content, err := readSecret(file)
	if err != nil {
		return &complaint{found: shownFile(text), expected: "a file that holds " + strings.TrimSuffix(path, fileSuffix) + " in one line", hint: err.Error()}
	}
	if wrong := f.content.setText(into, content); wrong != nil {
		wrong.found = "in " + shownFile(text) + " a value that is not shown here"
		return wrong
	}
	l.origins[strings.TrimSuffix(path, fileSuffix)] = at
	return nil
}

// shownFile returns the name of a file as it may be shown: people write secrets
// where their files belong.
func shownFile(name string) string {
	if filepath.IsAbs(name) || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") {
		return quoted(name)
	}
	return "a value that is not shown here, since it may be the secret itself"
}

// readSecret reads a file with one line. Its errors hold nothing of the line,
// and not the name of the file.
func readSecret(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", withoutPath(err)
	}
	defer file.Close() // only read, nothing can be lost
	if info, err := file.Stat(); err == nil && !info.Mode().IsRegular() {
		return "", errors.New("that is no regular file")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return "", withoutPath(err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	switch {
	case len(content) > maxSecretBytes:
		return "", fmt.Errorf("that holds more than %d bytes", maxSecretBytes)
	case text == "":
		return "", errors.New("that is empty")
	case strings.ContainsAny(text, "\n\r"):
		return "", errors.New("that holds several lines")
	case !utf8.ValidString(text):
		return "", errors.New("that is not UTF-8 text")
	}
	return text, nil
}

func withoutPath(err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		return cause.Err
	}
	return err
}

// checkFiles finds secrets that a section gives twice, themselves and in a file.
func (l *loader) checkFiles(p part, fields []field) {
	for _, f := range fields {
		if f.content == nil {
			continue
		}
		full := join(p.path, f.key)
		beside, named := l.origins[full]
		plain := strings.TrimSuffix(full, fileSuffix)
		if named && l.writtenIn(p, f.content.key) {
			l.complain(full+" twice", beside.keyOnly(f.key), fmt.Sprintf("%s: found %s as well, which means the same, expected one of them", full, plain))
		}
	}
}

// writtenIn reports whether a section has a key.
func (l *loader) writtenIn(p part, key string) bool {
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		if p.node.Content[i].Value == key {
			return true
		}
	}
	return false
}
