package languages_test

import (
	"strings"
	"sync"
	"testing"
)

func TestNewPython(t *testing.T) {
	t.Parallel()
	s := newShopOf(t, "python")
	s.angz("generate")
	s.angz("generate", "--check")
	s.passes(".venv/bin/ruff", "format", "--check", ".")
	s.passes(".venv/bin/ruff", "check", ".")
	s.passes(".venv/bin/pytest", "-q")
	s.setsUpAtOnce()
	s.angz("test")
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))

	// A new command is a message and a function; the start names what is missing.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "python/gen/customer_rules.py") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	const missing = "customer/rules.py has no handle_close_customer(command, state), which CloseCustomer in customer.proto needs"
	if output, err := s.tool("env", "PYTHONPATH=gen", ".venv/bin/python", "-m", "customer"); err == nil || !strings.Contains(output, missing) {
		t.Errorf("without a handler the start says %v:\n%s", err, output)
	}
	s.edit("python/customer/rules.py", "def handle_rename_customer", "def handle_close_customer(command, state):\n    return None\n\n\ndef handle_rename_customer")
	if output, err := s.tool("env", "PYTHONPATH=gen", ".venv/bin/python", "-m", "customer"); err == nil || !strings.Contains(output, "no PORT in the environment; start this service with \"angz dev\", or set PORT") {
		t.Errorf("without a port the start says %v:\n%s", err, output)
	}

	// Names that fill the lines, in one order and the other.
	s.angz("new", "domain", "customer-relationship-history", "--lang", "python")
	s.angz("new", "domain", "zebra", "--lang", "python")
	s.angz("new", "projector", "a-list", "--from", "customer-relationship-history", "--lang", "python")
	s.angz("new", "saga", "history-of-itself", "--from", "customer-relationship-history", "--to", "customer-relationship-history", "--lang", "python")
	s.angz("new", "saga", "back", "--from", "zebra", "--to", "customer", "--lang", "python")
	s.angz("generate")
	s.passes(".venv/bin/ruff", "format", "--check", ".")
	s.passes(".venv/bin/ruff", "check", ".")
	s.passes(".venv/bin/pytest", "-q")
}

// setsUpAtOnce starts the set-up of one folder several times over, as angz dev
// does for the services in it.
func (s *shopOf) setsUpAtOnce() {
	s.t.Helper()
	s.passes("rm", "-rf", ".venv")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if output, err := s.tool("sh", "setup.sh"); err != nil {
				s.t.Errorf("one of several set-ups: %v\n%s", err, output)
			}
		})
	}
	all.Wait()
}
