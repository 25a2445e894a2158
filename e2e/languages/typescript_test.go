package languages_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestNewTypeScript(t *testing.T) {
	t.Parallel()
	s := newShopOf(t, "typescript")
	s.angz("generate")
	s.angz("generate", "--check")
	s.passes("npm", "run", "lint") // the compiler, ESLint and Prettier
	s.passes("npm", "test")
	s.angz("test")
	s.buildsAtOnce()
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))

	// A new command is a message and a function; the compiler names what is
	// missing.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "typescript/src/gen/customer_rules.ts") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	if output, err := s.tool("node", "build.mjs"); err == nil || !strings.Contains(output, "handleCloseCustomer") || !strings.Contains(output, "src/customer/rules.ts") {
		t.Errorf("without a handler the compiler says %v:\n%s", err, output)
	}
	s.edit("typescript/src/customer/rules.ts", "  handleRenameCustomer(", "  handleCloseCustomer() {\n    return [];\n  },\n\n  handleRenameCustomer(")
	s.passes("node", "build.mjs")
	s.staysFormatted()
}

// buildsAtOnce starts the build of one folder several times over, as angz dev
// does for the services in it, where a killed build has left its lock.
func (s *shopOf) buildsAtOnce() {
	s.t.Helper()
	folder := filepath.Join(s.folder, s.lang)
	dead := exec.Command("node", "--version")
	if err := dead.Run(); err != nil {
		s.t.Fatal(err)
	}
	lock := filepath.Join(folder, ".build.lock")
	if err := os.WriteFile(lock, []byte(strconv.Itoa(dead.Process.Pid)), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "node_modules")); err != nil {
		s.t.Fatal(err)
	}
	var builds sync.WaitGroup
	for range 4 {
		builds.Go(func() {
			if output, err := s.tool("node", "build.mjs"); err != nil {
				s.t.Errorf("one of several builds: %v\n%s", err, output)
			}
		})
	}
	builds.Wait()
	if _, err := os.Stat(filepath.Join(folder, "dist", "customer", "main.js")); err != nil {
		s.t.Error(err)
	}
	if left, _ := filepath.Glob(lock + "*"); len(left) > 0 {
		s.t.Errorf("builds leave %v", left)
	}
}

// staysFormatted adds services whose names fill the lines.
func (s *shopOf) staysFormatted() {
	s.t.Helper()
	s.angz("new", "domain", "a", "--lang", s.lang)
	s.angz("new", "domain", "customer-relationship-history", "--lang", s.lang)
	s.angz("new", "projector", "customer-relationship-history-list", "--from", "customer-relationship-history", "--lang", s.lang)
	s.angz("new", "saga", "history-of-itself", "--from", "customer-relationship-history", "--to", "customer-relationship-history", "--lang", s.lang)
	s.angz("generate")
	s.passes("npm", "run", "lint")
	s.passes("npm", "test")
}
