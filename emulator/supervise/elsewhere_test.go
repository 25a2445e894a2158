//go:build unix && !linux

package supervise_test

import "testing"

// sweeps says that offspring is found only in its process group here.
const sweeps = false

// awaitGone checks that a process has ended.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
}
