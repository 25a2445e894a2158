package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/angz-dev/angz/emulator/control"
)

// TestDevScripts runs what a user types around "angz dev" and "angz serve", with
// the service of examples/quickstart. The scripts find in
//
//	$SERVICE   the service, built
//	$PROTO     the folder that describes its messages
//	$TAKEN     a port that another process listens on
func TestDevScripts(t *testing.T) {
	t.Parallel()
	quickstart, err := filepath.Abs(filepath.Join("..", "..", "examples", "quickstart"))
	if err != nil {
		t.Fatal(err)
	}
	service := filepath.Join(t.TempDir(), "todo")
	build := exec.Command("go", "build", "-o", service, quickstart)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script", "dev"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("SERVICE", service)
			env.Setenv("XDG_RUNTIME_DIR", filepath.Join(env.WorkDir, "run")) // where running projects are written down
			env.Setenv("PROTO", filepath.Join(quickstart, "proto"))
			env.Setenv("TAKEN", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port))
			// Sockets have short paths only.
			sockets, err := os.MkdirTemp("", "angz")
			if err != nil {
				return err
			}
			env.Setenv("SOCKETS", sockets)
			env.Setenv("ANGZARR_TRANSPORT__UDS__BASE_PATH", sockets)
			env.Defer(func() { _ = os.RemoveAll(sockets) })
			env.Defer(func() { stopDetached(t, env.WorkDir, env.Vars) })
			return nil
		},
	})
}

// stopDetached stops what a script that failed has left running below its folder,
// and nobody else's.
func stopDetached(t *testing.T, folder string, environ []string) {
	t.Helper()
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		t.Error(err)
		return
	}
	running, err := control.Running(environ)
	if err != nil {
		t.Error(err)
	}
	for _, record := range running {
		if below, err := filepath.Rel(folder, record.Dir); err != nil || !filepath.IsLocal(below) {
			continue
		}
		client, err := control.Dial(record)
		if err != nil {
			t.Error(err)
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		if err := errors.Join(client.Stop(ctx), client.AwaitGone(ctx), client.Close()); err != nil {
			t.Errorf("stop %s, process %d: %v", record.Dir, record.PID, err)
		}
		cancel()
	}
}
