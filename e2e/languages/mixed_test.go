package languages_test

import "testing"

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
	s.angz("test")
}
