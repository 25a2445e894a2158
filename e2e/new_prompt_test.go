package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNewAsks answers the questions of angz new in a real terminal, and leaves
// them unanswered.
func TestNewAsks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := openTerminal(t, "ANGZ="+binary)
	w.types("cd '" + folder + "'")
	w.types("$ANGZ new project")
	w.sees("What is the project called?")
	w.types("2fast")
	w.sees("begins with a digit")
	w.press("C-u")
	w.types("shop")
	w.sees("In which language?")
	w.press("Enter") // the first is Go
	w.sees("create shop/go/customer/rules.go")
	w.types("cd shop; clear")

	w.types("$ANGZ new projector customer-list --lang go; echo ended: $?")
	w.sees("Whose events does it follow?")
	w.press("Enter")
	w.sees("ended: 0")
	if content, err := os.ReadFile(filepath.Join(folder, "shop/angz.yaml")); err != nil || !strings.Contains(string(content), "domains: [customer]") {
		t.Errorf("angz.yaml is %s, %v", content, err)
	}

	w.types("clear; $ANGZ new domain; echo left: $?")
	w.sees("What is the domain called?")
	w.press("C-c")
	w.sees("nothing was written: the questions were left unanswered")
	w.sees("left: 1")
}
