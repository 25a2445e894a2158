// Package shop holds nothing but this test, which runs the tests of the shop's
// Python components, so that "go test" leaves none out.
package shop

import (
	"os/exec"
	"testing"
)

func TestPythonComponents(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	for _, command := range [][]string{
		{"sh", "python/setup.sh"},
		{".venv/bin/python", "-m", "unittest", "discover", "-s", "python"},
	} {
		output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", command, err, output)
		}
	}
}
