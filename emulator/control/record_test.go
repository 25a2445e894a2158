package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"project":"shop","dir":"/shop","pid":7,"socket":"/shop/.angz/control.sock","started":"2026-01-31T12:00:00Z","detached":true}`))
	f.Add([]byte(`{"dir":"/","pid":-1,"socket":"x"} {}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := parseRecord(text)
		if err != nil {
			return
		}
		if record.check() != nil {
			t.Errorf("%s is read as %+v", text, record)
		}
		again, err := json.Marshal(record)
		if err != nil {
			return // a year that JSON has no room for
		}
		reread, err := parseRecord(again)
		if diff := cmp.Diff(record, reread); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	})
}

// FuzzRegistry looks for running emulators where anything may have been written
// down.
func FuzzRegistry(f *testing.F) {
	f.Add([]byte(`{"dir":"/","pid":1,"socket":"/s","started":"2026-01-31T12:00:00Z"}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, listed, own []byte) {
		runtime := t.TempDir()
		for path, text := range map[string][]byte{
			filepath.Join(runtime, "angz", "a.json"): listed, filepath.Join(runtime, folderName, recordName): own, filepath.Join(runtime, folderName, lockName): nil,
		} {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if running, err := Running([]string{"XDG_RUNTIME_DIR=" + runtime}); err != nil || len(running) > 0 {
			t.Errorf("got %v, %v", running, err)
		}
		if client, err := Find(runtime); err == nil {
			t.Errorf("found %+v", client.Record)
		}
	})
}

func TestWhatIsWrongWithARecordIsNamed(t *testing.T) {
	t.Parallel()
	good := Record{Dir: "/d", PID: 1, Socket: "/s", Started: time.Now()}
	for want, change := range map[string]func(*Record){
		"pid: found 0":                          func(r *Record) { r.PID = 0 },
		`dir: found "d", expected an absolute`:  func(r *Record) { r.Dir = "d" },
		"expected an absolute path of at most ": func(r *Record) { r.Socket = "/" + strings.Repeat("s", longestSocket) },
		"started: found nothing":                func(r *Record) { r.Started = time.Time{} },
	} {
		record := good
		change(&record)
		if err := record.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

func TestThePlacesOfAPerson(t *testing.T) {
	t.Parallel()
	temp := temporary(nil)
	for _, c := range []struct{ environ, want []string }{
		{[]string{"HOME=/h", "XDG_RUNTIME_DIR=/run/7", "XDG_STATE_HOME=/state"}, []string{"/run/7/angz", "/state/angz", "/h/.local/state/angz", temp}},
		{[]string{"XDG_RUNTIME_DIR=relative", "XDG_STATE_HOME=/state"}, []string{"/state/angz", temp}},
		{[]string{"HOME=/home/a", "HOME=/h"}, []string{"/h/.local/state/angz", temp}},
		{[]string{"TMPDIR=/t"}, []string{filepath.Join("/t", filepath.Base(temp))}},
		{nil, []string{temp}},
	} {
		if diff := cmp.Diff(c.want, registries(c.environ)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.environ, diff)
		}
	}
	long := "/" + strings.Repeat("x", 90)
	for want, environ := range map[string][]string{
		"/run/7/angz/" + mark(long) + ".sock": {"XDG_RUNTIME_DIR=/run/7"},
		temp + "/" + mark(long) + ".sock":     {"XDG_RUNTIME_DIR=" + long, "TMPDIR=" + long},
	} {
		if got, err := socketPath(long, environ); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if got, err := socketPath("/shop", nil); got != "/shop/.angz/control.sock" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestAFolderThatOthersMayWriteToIsMadePrivate(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "angz")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := makePrivate(folder); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	link := filepath.Join(t.TempDir(), "angz")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	if err := makePrivate(link); err == nil {
		t.Error("somebody else's link was taken for a folder")
	}
}
