package languages_test

import (
	"strings"
	"testing"
)

// TestMessageAndRuleTogether saves a message and its rule as an editor does that
// saves everything: what follows is one start, of that service only. A change with
// which stored events cannot be read is told, and that it is gone, too.
func TestMessageAndRuleTogether(t *testing.T) {
	t.Parallel()
	s := newProjectOf(t, "go")
	s.angz("new", "domain", "order", "--lang", "go")
	s.angz("dev", "--ports", "auto", "--detach", "--wait", "4m")
	defer s.angz("stop")
	s.angz("send", "customer", "alice", "CreateCustomer", `{"name":"Alice","email":"alice@example.com"}`)

	s.edit("go/customer/rules.go", "func (rules) HandleRenameCustomer", "func (rules) HandleCloseCustomer(*customerpb.CloseCustomer, *customerpb.CustomerState) (angzarr.Events, error) {\n\treturn nil, nil\n}\n\nfunc (rules) HandleRenameCustomer")
	s.edit("proto/customer.proto", "// Events: what has happened.", "// CloseCustomer asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	s.untilAccepted("customer", "alice", "CloseCustomer", `{}`)

	// When another service is up again, whatever else the change might have
	// caused is under way.
	s.edit("go/order/rules.go", "package main", "// Rules.\npackage main")
	s.logged("order is ready again")
	for name, want := range map[string]int{"customer": 1, "order": 1} {
		if got := strings.Count(s.log(), name+" is ready again"); got != want {
			t.Errorf("%s was started again %d times, want %d:\n%s", name, got, want, s.log())
		}
	}

	// One event has an email, and nobody can read it any more.
	const was, is = "message CustomerCreated {\n  option (angzarr.kind) = KIND_EVENT;\n\n  // What it is called.\n  string name = 1;\n  // Its email.\n  string email = 2;", "message CustomerCreated {\n  option (angzarr.kind) = KIND_EVENT;\n\n  // What it is called.\n  string name = 1;\n  // Its email.\n  int32 email = 2;"
	s.edit("proto/customer.proto", was, is)
	s.logged("customer.CustomerCreated: field 2 (email) was string and is now int32: the email of 1 stored event cannot be read; see angz proto breaking")
	if out, said, code := s.try("proto", "breaking", "--against", "store"); code != 1 || !strings.Contains(out, "[stored-type]") {
		t.Errorf("angz proto breaking: %d\n%s%s", code, out, said)
	}
	s.edit("proto/customer.proto", is, was)
	s.logged("everything that is stored can be read again")
	s.angz("proto", "breaking", "--against", "store")
}
