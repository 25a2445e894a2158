package languages_test

import (
	"strings"
	"testing"
)

func TestNewJava(t *testing.T) {
	t.Parallel()
	s := newShopOf(t, "java")
	s.angz("generate")
	s.angz("generate", "--check")
	s.passes("mvn", "-B", "-q", "spotless:check")
	if said := s.passes("mvn", "-B", "test"); strings.Contains(said, "[WARNING]") && strings.Contains(said, "src/main") {
		t.Errorf("the compiler warns:\n%s", said)
	}
	s.passes("sh", "build.sh")
	s.works()
	s.works("ANGZARR_TRANSPORT__TYPE=uds", "ANGZARR_TRANSPORT__UDS__BASE_PATH="+socketFolder(t))
	s.angz("test")

	// A new command is a message and a function; the compiler names what is
	// missing.
	s.edit("proto/customer.proto", "// Events: what has happened.", "// Close asks for the end.\nmessage CloseCustomer {\n  option (angzarr.kind) = KIND_COMMAND;\n}\n\n// Events:")
	if said := s.refusedCheck(); !strings.Contains(said, "java/src/generated/java/shop/customer/CustomerRules.java") {
		t.Errorf("angz generate --check says:\n%s", said)
	}
	s.angz("generate")
	if output, err := s.tool("sh", "build.sh"); err == nil || !strings.Contains(output, "handleCloseCustomer") {
		t.Errorf("without a handler the compiler says %v:\n%s", err, output)
	}
	s.edit("java/src/main/java/shop/customer/Rules.java", "  @Override\n  public void applyCustomerCreated", "  @Override\n  public List<CustomerRenamed> handleCloseCustomer(CloseCustomer command, CustomerState state) {\n    return List.of();\n  }\n\n  @Override\n  public void applyCustomerCreated")
	s.passes("sh", "build.sh")
}
