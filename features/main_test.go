package features_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/angz-dev/angz/runtime/servertest"
)

// servers is what the scenarios in production have in common. All of it takes
// long to make, so it begins while the scenarios in one process run.
var servers = struct {
	rabbit   *servertest.Rabbit
	postgres *servertest.Postgres
	angz     angzBinary
}{rabbit: servertest.NewRabbit(), postgres: servertest.NewPostgres()}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testAll(m))
}

func testAll(m *testing.M) int {
	if !testing.Short() {
		servers.rabbit.Begin()
	}
	defer servers.rabbit.Close()
	defer servers.postgres.Close()
	defer servers.angz.remove()
	return m.Run()
}

// angzBinary is the program as it is installed.
type angzBinary struct {
	once   sync.Once
	folder string
	err    error
}

// build returns the path of the program, which it builds when it is first asked.
func (b *angzBinary) build(t testing.TB) string {
	t.Helper()
	b.once.Do(func() {
		if b.folder, b.err = os.MkdirTemp("", "angz-features"); b.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", b.folder, "../cmd/angz")
		if output, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build angz: %w\n%s", err, output)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.folder, "angz")
}

func (b *angzBinary) remove() {
	if b.folder != "" {
		_ = os.RemoveAll(b.folder)
	}
}
