package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tailscale/hujson"

	"github.com/angz-dev/angz/inspect"
)

// sendEdited lets a person write the command's fields, and opens the editor again
// with what is wrong until the command is sent, or the text is saved as it was.
func (o *sendOptions) sendEdited(ctx context.Context, s streams, system *asking, request inspect.SendRequest) (err error) {
	text, err := o.template(ctx, s, system, request)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "angz-")
	if err != nil {
		return fmt.Errorf("make a file to edit: %w", err)
	}
	file := filepath.Join(folder, printableName(request.Type)+".jsonc")
	keep := false
	defer func() {
		if !keep {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	for {
		written, err := edited(ctx, s, file, text)
		if err != nil {
			return err
		}
		fields, mistake := fieldsOf(written)
		if mistake == nil && fields == nil {
			return fmt.Errorf("the file is empty, nothing was sent")
		}
		if mistake == nil {
			request.JSON = fields
			mistake = o.send(ctx, s, system, request)
		}
		if !mendable(mistake) {
			return mistake
		}
		if again := withMistake(written, mistake); again != text {
			text = again
			continue
		}
		keep = true
		return fmt.Errorf("%w\nnothing was sent; what you wrote is in %s", mistake, file)
	}
}

// template returns what is opened in the editor.
func (o *sendOptions) template(ctx context.Context, s streams, system *asking, request inspect.SendRequest) (string, error) {
	head := fmt.Sprintf("// %s for %s %s. It is sent when you leave the editor; save an empty file to send nothing.\n",
		printable(request.Type), printable(request.Domain), printable(request.ID))
	given := map[string]json.RawMessage{}
	if request.JSON != nil {
		if err := json.Unmarshal(request.JSON, &given); err != nil {
			return "", usagef("JSON: expected an object with the command's fields: %w", err)
		}
	}
	message, err := (&forms{system: system, s: s}).message(ctx, request.Domain, request.Type)
	if err == nil {
		return head + inspect.Template(message, given, time.Now()), nil
	}
	if request.JSON == nil {
		return head + "// " + printable(err.Error()) + "\n{\n}\n", nil
	}
	return head + string(request.JSON) + "\n", nil
}

// edited opens a text in the person's editor and returns what was saved.
func edited(ctx context.Context, s streams, file, text string) (string, error) {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("make a file to edit: %w", err)
	}
	editor := variable(s.environ, "VISUAL")
	if editor == "" {
		editor = variable(s.environ, "EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	// The variable may hold arguments, as in "code --wait".
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "angz", file)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.environ, s.in, s.err, s.err // what is sent goes to s.out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the editor %q failed, nothing was sent: %w (set VISUAL or EDITOR to another one)", editor, err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read what was edited: %w", err)
	}
	return string(written), nil
}

// fieldsOf returns the JSON of what a person has written, nil when that is nothing.
func fieldsOf(written string) (json.RawMessage, error) {
	if strings.TrimSpace(written) == "" {
		return nil, nil
	}
	fields, err := hujson.Standardize([]byte(written))
	if err != nil {
		return nil, usagef("not JSON: %s", strings.TrimPrefix(err.Error(), "hujson: "))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, fields); err != nil {
		return nil, usagef("not JSON: %w", err)
	}
	return compact.Bytes(), nil
}

// mendable reports whether another text may do: it was no JSON, or the system did
// not understand it.
func mendable(err error) bool {
	var usage usageError
	return errors.As(err, &usage) || err != nil && strings.HasSuffix(err.Error(), "(INVALID_ARGUMENT)")
}

// mistakeMark begins the lines that say what was wrong with a text.
const mistakeMark = "//! "

// withMistake returns a text with what is wrong with it at its beginning, instead of
// what was wrong before.
func withMistake(written string, mistake error) string {
	for strings.HasPrefix(written, mistakeMark) {
		_, rest, _ := strings.Cut(written, "\n")
		written = rest
	}
	var marked strings.Builder
	for line := range strings.Lines(mistake.Error()) {
		marked.WriteString(mistakeMark + strings.TrimRight(line, "\n") + "\n")
	}
	return marked.String() + written
}

// printableName returns what of a type's name can be a file's.
func printableName(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
}
