package config_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/angz-dev/angz/runtime/config"
)

// FuzzFile holds that any file is either a configuration or has mistakes that
// are within it and fit to print.
func FuzzFile(f *testing.F) {
	seeds, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		archive, err := txtar.ParseFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == "angz.yaml" {
				f.Add(file.Data)
			}
		}
	}
	good, err := os.ReadFile("testdata/every_key.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("domains: &d [<<: *d]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "angz.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Load(config.Options{File: path, Dev: true})
		if err == nil {
			if loaded == nil {
				t.Fatal("neither a configuration nor an error")
			}
			return
		}
		var mistakes *config.Errors
		if loaded != nil || !errors.As(err, &mistakes) || len(mistakes.List) == 0 {
			t.Fatalf("loaded %v with the error %v, expected *config.Errors", loaded, err)
		}
		for _, mistake := range mistakes.List {
			checkPrintable(t, mistake, content)
		}
	})
}

func checkPrintable(t *testing.T, mistake *config.Error, content []byte) {
	t.Helper()
	text := mistake.Error()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	if at := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); at >= 0 {
		t.Errorf("a control character: %q", text)
	}
	if lines := strings.Count(string(content), "\n") + strings.Count(string(content), "\r") + strings.Count(string(content), "\u2028") +
		strings.Count(string(content), "\u2029") + strings.Count(string(content), "\u0085") + 2; mistake.Line < 0 || mistake.Line > lines {
		t.Errorf("line %d of %d: %s", mistake.Line, lines, text)
	}
	if mistake.Message == "" || strings.Contains(mistake.Message, "\n") {
		t.Errorf("the message %q is not one line", mistake.Message)
	}
}

// FuzzEnvironment holds that any two variables are either a configuration or
// mistakes that are fit to print, and that what is shown of it shows no more.
func FuzzEnvironment(f *testing.F) {
	for _, name := range []string{
		"ANGZARR_STORAGE__TYPE", "ANGZARR__STORAGE__POSTGRES__URI", "ANGZARR_PROJECTORS__0__NAME", "ANGZARR_DOMAINS__0__SNAPSHOTS__AUTOMATIC",
		"ANGZARR_SAGAS__1__ENV", "ANGZARR_STATIC_ENDPOINTS", "PORT", "STREAM_OUTPUT", "ANGZARR_", "ANGZARR___", "ANGZARR_PROJECTORS__99999999999__RUN",
		"ANGZARR_GATEWAY__STATIC_ENDPOINTS__X", "ANGZARR_MESSAGING__AMQP__URL",
	} {
		f.Add(name, "a", "ANGZARR_DOMAINS__0__NAME", "a=b:1|c:2,d=e:1", byte(0))
		f.Add(name, "postgres://u:p@h/d", "ANGZARR_PROJECTORS__0__RUN", "true", byte(3))
	}
	f.Fuzz(func(t *testing.T, first, one, second, other string, role byte) {
		options := config.Options{Dir: t.TempDir(), Environ: []string{first + "=" + one, second + "=" + other}}
		if roles := config.Roles(); int(role) < len(roles) {
			options.Role = roles[role]
		} else {
			options.Dev = role%2 == 0
		}
		loaded, err := config.Load(options)
		if err != nil {
			var mistakes *config.Errors
			if !errors.As(err, &mistakes) || len(mistakes.List) == 0 {
				t.Fatalf("the error %v, expected *config.Errors", err)
			}
			for _, mistake := range mistakes.List {
				checkPrintable(t, mistake, nil)
			}
			return
		}
		if err := loaded.WriteYAML(io.Discard, true); err != nil {
			t.Error(err)
		}
		if err := loaded.WriteJSON(io.Discard, true); err != nil {
			t.Error(err)
		}
	})
}
