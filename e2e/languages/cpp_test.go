package languages_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNewCpp(t *testing.T) {
	t.Parallel()
	s := newShopOf(t, "cpp")
	s.angz("generate")
	s.angz("generate", "--check")
	s.buildsSideBySide()
	s.passes("cmake", "-P", "build.cmake")
	s.passes("ctest", "--test-dir", "build", "--output-on-failure")
	s.passes(append([]string{"clang-format", "--dry-run", "--Werror"}, s.sources("*/*.cc", "*/*.h")...)...)
	// What angz generates is not the linter's; order is made as customer is.
	s.passes("run-clang-tidy", "-quiet", "-p", "build", "-j", "2", "/(angzarr/[a-z_]+|(customer|customer_list|welcome)/rules(_test)?)[.]cc$")
	s.angz("test")
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))

	// A new command is a message and a function; the compiler names what is
	// missing, and the other services do not mind.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "cpp/gen/customer_rules.h") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	if output, err := s.tool("cmake", "-D", "SERVICE=customer", "-P", "build.cmake"); err == nil || !strings.Contains(output, "HandleCloseCustomer") {
		t.Errorf("without a handler the compiler says %v:\n%s", err, output)
	}
	s.passes("cmake", "-D", "SERVICE=order", "-P", "build.cmake")
	s.edit("cpp/customer/rules.cc", "  angzarr::Decision HandleRenameCustomer", "  angzarr::Decision HandleCloseCustomer(\n      const CloseCustomer& /*command*/, const CustomerState& /*state*/) const override {\n    return angzarr::Events{};\n  }\n\n  angzarr::Decision HandleRenameCustomer")
	s.passes("cmake", "-D", "SERVICE=customer", "-P", "build.cmake")
}

// buildsSideBySide builds all services at once in the same folder, as angz dev
// does, beginning with nothing.
func (s *shopOf) buildsSideBySide() {
	s.t.Helper()
	started := time.Now()
	var building sync.WaitGroup
	for _, name := range []string{"customer", "order", "customer_list", "welcome"} {
		building.Go(func() {
			if output, err := s.tool("cmake", "-D", "SERVICE="+name, "-P", "build.cmake"); err != nil {
				s.t.Errorf("%s: %v\n%s", name, err, output)
			}
		})
	}
	building.Wait()
	s.t.Logf("all services: %.1f s", time.Since(started).Seconds())
	if built := s.sources("build/bin/*"); len(built) != 4 {
		s.t.Fatalf("built %q, want four services", built)
	}
}

// sources returns the files in the language's folder that patterns match, but
// not what angz has generated.
func (s *shopOf) sources(patterns ...string) []string {
	s.t.Helper()
	folder := filepath.Join(s.folder, s.lang)
	var names []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, place := range found {
			if name, err := filepath.Rel(folder, place); err == nil && !strings.HasPrefix(filepath.ToSlash(name), "gen/") {
				names = append(names, name)
			}
		}
	}
	return names
}
