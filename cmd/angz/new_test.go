package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestNewScripts makes projects. Go's own caches are those of the machine.
func TestNewScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script", "new"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           condition,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB", "GONOSUMDB", "GOTOOLCHAIN"} {
				if value, set := os.LookupEnv(name); set {
					env.Setenv(name, value)
				}
			}
			// A path on which no language is installed: testscript's own folder.
			env.Setenv("ONLY_ANGZ", filepath.SplitList(os.Getenv("PATH"))[0])
			return nil
		},
	})
}

func BenchmarkNewProject(b *testing.B) {
	s := streams{err: discard{}, out: discard{}}
	dir := b.TempDir()
	for i := range b.N {
		if code := run(b.Context(), []string{"new", "project", filepath.Join(dir, "p"+string(rune('a'+i%26))), "--lang", "go", "--force"}, s); code != exitOK {
			b.Fatalf("exit code %d", code)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
