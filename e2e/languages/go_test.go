package languages_test

import (
	"strings"
	"testing"
)

func TestNewGo(t *testing.T) {
	t.Parallel()
	s := newShopOf(t, "go")
	s.angz("generate")
	s.angz("generate", "--check")
	s.passes("go", "vet", "./...")
	s.passes("go", "test", "./...")
	if unformatted := s.passes("gofmt", "-l", "."); unformatted != "" {
		t.Errorf("not as gofmt writes it: %s", unformatted)
	}
	s.angz("test")
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))

	// A new command is a message and a function; the compiler names what is
	// missing.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "go/gen/customerpb/customer_rules.go") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	if output, err := s.tool("go", "build", "./..."); err == nil || !strings.Contains(output, "HandleCloseCustomer") {
		t.Errorf("without a handler the compiler says %v:\n%s", err, output)
	}
	s.edit("go/customer/rules.go", "func (rules) HandleRenameCustomer", "func (rules) HandleCloseCustomer(*customerpb.CloseCustomer, *customerpb.CustomerState) (angzarr.Events, error) {\n\treturn nil, nil\n}\n\nfunc (rules) HandleRenameCustomer")
	s.passes("go", "build", "./...")
}
