package languages_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestNewRust(t *testing.T) {
	t.Parallel()
	caches := toolCaches(t)
	forgetCrates(t, strings.TrimPrefix(caches[0], "CARGO_BUILD_BUILD_DIR="))
	s := newShopOf(t, "rust", caches...)
	s.angz("generate")
	s.angz("generate", "--check")
	s.passesCargo()
	s.angz("test")
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))
	if output, err := s.tool("env", "-u", "PORT", "target/debug/order"); err == nil || !strings.Contains(output, `no PORT in the environment; start this service with \"angz dev\", or set PORT`) {
		t.Errorf("without a port the start says %v:\n%s", err, output)
	}

	// A new command is a message and a function; the compiler names what is
	// missing, and the other services do not mind.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "rust/src/generated/customer.rs") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	if output, err := s.tool("cargo", "build", "--locked", "--bin", "customer"); err == nil || !strings.Contains(output, "missing: `handle_close_customer`") {
		t.Errorf("without a handler the compiler says %v:\n%s", err, output)
	}
	s.passes("cargo", "build", "--locked", "--bin", "order")
	s.edit("rust/src/bin/customer/rules.rs", "    fn handle_rename_customer", "    fn handle_close_customer(_: CloseCustomer, _: &CustomerState) -> Decision {\n        Ok(vec![])\n    }\n\n    fn handle_rename_customer")
	s.passes("cargo", "build", "--locked", "--bin", "customer")
	s.namesOfRust()
}

// passesCargo sees that the services' own tests and tools are content, with the
// lock file as angz wrote it.
func (s *shopOf) passesCargo() {
	s.t.Helper()
	before := s.lockFile()
	s.passes("cargo", "fmt", "--check")
	s.passes("cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings")
	s.passes("cargo", "test")
	if s.lockFile() != before {
		s.t.Error("cargo has written Cargo.lock anew")
	}
}

func (s *shopOf) lockFile() string {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.folder, "rust", "Cargo.lock"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(content)
}

// namesOfRust adds services whose names and messages are hard on a language that
// has many words of its own and a formatter that counts characters.
func (s *shopOf) namesOfRust() {
	s.t.Helper()
	for _, name := range []string{"ax", "shop", "b2b-client", "international-shipping-address"} {
		s.angz("new", "domain", name, "--lang", "rust")
	}
	// The .proto file of a domain that is there without a service.
	odd := "syntax = \"proto3\";\npackage shop.type.V1;\nimport \"angzarr/options.proto\";\noption (angzarr.domain) = \"odd\";\n" +
		"//     indented words in a comment\nmessage OpenB2BShop {\n  option (angzarr.kind) = KIND_COMMAND;\n  string type = 1;\n  double self = 2;\n}\n" +
		"message ShopB2BOpened {\n  option (angzarr.kind) = KIND_EVENT;\n  string type = 1;\n  double self = 2;\n  oneof how {\n    bool fast = 3;\n  }\n}\n" +
		"message OddState {\n  option (angzarr.kind) = KIND_STATE;\n}\n"
	if err := os.WriteFile(filepath.Join(s.folder, "proto", "odd.proto"), []byte(odd), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.edit("angz.yaml", "domains:\n", "domains:\n  - name: odd\n    address: 127.0.0.1:50999\n")
	s.angz("new", "projector", "odd-list", "--from", "odd", "--lang", "rust")
	s.angz("new", "projector", "address-list", "--from", "international-shipping-address", "--lang", "rust")
	for from, to := range map[string]string{"odd": "odd", "ax": "ax", "shop": "odd", "b2b-client": "international-shipping-address"} {
		s.angz("new", "saga", "after-"+from, "--from", from, "--to", to, "--lang", "rust")
	}
	s.angz("generate")
	s.passesCargo()
}

// ofProjects are files that Cargo has made of projects of these tests, and not of
// the crates that they all use.
var ofProjects = regexp.MustCompile(`^(lib)?(shop|customer|order|welcome|customer_list|odd_list|address_list|ax|b2b_client|international_shipping_address|after_[a-z0-9_]+)-[0-9a-f]+`)

// forgetCrates removes what earlier runs have left in the cache: each project has
// a folder of its own, so that nothing of it is used again.
func forgetCrates(t *testing.T, cache string) {
	t.Helper()
	const running = 12 * time.Hour // somebody's test may be
	for _, folder := range []string{"deps", "build", ".fingerprint"} {
		entries, err := os.ReadDir(filepath.Join(cache, "debug", folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || time.Since(info.ModTime()) < running || !ofProjects.MatchString(entry.Name()) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(cache, "debug", folder, entry.Name())); err != nil {
				t.Error(err)
			}
		}
	}
}
