package project_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/project"
)

func TestAServiceIsToldWhereToListen(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][]string{
		"127.0.0.1:7":        {"SERVICE_NAME=saga", "SAGA_NAME=loyalty", "TRANSPORT_TYPE=tcp", "HOST=127.0.0.1", "PORT=7"},
		"https://h:7/":       {"SERVICE_NAME=saga", "SAGA_NAME=loyalty", "TRANSPORT_TYPE=tcp", "HOST=h", "PORT=7"},
		"/run/saga-l.sock":   {"SERVICE_NAME=saga", "SAGA_NAME=loyalty", "TRANSPORT_TYPE=uds", "UDS_BASE_PATH=/run"},
		"unix:/run/s.sock":   {"SERVICE_NAME=saga", "SAGA_NAME=loyalty", "TRANSPORT_TYPE=uds", "UDS_BASE_PATH=/run"},
		"no address of ours": nil,
	} {
		got, err := project.ListenVariables(project.Saga, "loyalty", address)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v %s", address, err, diff)
		}
	}
}

func TestTheLanguageOfAServiceIsRecognised(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Cargo.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		".venv/bin/python3.11 order.py": "Python",
		"go run ./order":                "Go",
		"java -jar order.jar":           "Java",
		"npx tsx main.ts":               "TypeScript", // npx alone would be JavaScript
		"node dist/main.js":             "JavaScript",
		"./target/release/order":        "Rust", // by the folder
	} {
		if got := project.Language(dir, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if got := project.Language(t.TempDir(), "./order"); got != "" {
		t.Errorf("got %q from nothing", got)
	}
}

func TestPortsStayAndAreFree(t *testing.T) {
	t.Parallel()
	var first, second project.Ports
	wish := t.TempDir()
	one, err := first.Pick(wish)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := second.Pick(wish); err != nil || again != one {
		t.Errorf("got %s, %v, the first time %s", again, err, one)
	}
	if other, err := first.Pick(wish); err != nil || other == one {
		t.Errorf("%s was given twice, %v", other, err)
	}
	listener, err := net.Listen("tcp", one)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var third project.Ports
	if taken, err := third.Pick(wish); err != nil || taken == one {
		t.Errorf("%s is taken, but was given, %v", taken, err)
	}
}

func TestTheFolderIsOutOfVersionControlsSight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		folder, err := project.MakeFolder(dir)
		if err != nil || folder != filepath.Join(dir, ".angz") {
			t.Fatalf("got %s, %v", folder, err)
		}
		ignore, err := os.ReadFile(filepath.Join(folder, ".gitignore"))
		if err != nil || string(ignore) != "*\n" {
			t.Errorf("got %q, %v", ignore, err)
		}
		// What a person has written there stays.
		if err := os.WriteFile(filepath.Join(folder, ".gitignore"), []byte("*\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := project.MakeFolder(filepath.Join(dir, ".angz", ".gitignore")); err == nil {
		t.Error("a folder was made inside a file")
	}
}

func TestSocketsAreSeenFromTheProject(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"./s.sock": "/project/s.sock", "unix:s.sock": "/project/s.sock", "/run/s.sock": "/run/s.sock", "localhost:1": "localhost:1",
	} {
		if got := project.AbsoluteSocket("/project", address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	if got := project.Socket("/run", project.Business, "order"); got != "/run/business-order.sock" {
		t.Errorf("got %s", got)
	}
}
