package e2e_test

import (
	"strings"
	"testing"
)

// TestNewMixed has one project in five languages: a saga in Python between a
// domain in Go and one in Rust, followed by projectors in Java and TypeScript.
func TestNewMixed(t *testing.T) {
	t.Parallel()
	s := newProjectOf(t, "go", toolCaches(t)...)
	s.angz("new", "domain", "order", "--lang", "rust")
	s.angz("new", "projector", "customer-list", "--from", "customer", "--lang", "java")
	s.angz("new", "projector", "order-list", "--from", "order", "--lang", "typescript")
	s.angz("new", "saga", "welcome", "--from", "customer", "--to", "order", "--lang", "python")
	s.angz("generate")
	s.angz("generate", "--check")
	s.works()
	s.awaitEvents("order", "alice-0@example.com", "OrderCreated")
	out := s.angz("test")
	if strings.Contains(out, "undefined") {
		t.Errorf("angz test:\n%s", out)
	}
}
