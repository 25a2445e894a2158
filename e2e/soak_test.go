package e2e_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/angz-dev/angz/emulator/control"
)

// soakTime is how long the soak lasts: ANGZ_SOAK, or long enough to notice what
// leaks with every command or restart. "make soak" gives it two hours.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("ANGZ_SOAK")
	if text == "" {
		return 24 * time.Second
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return length
}

// TestMemoryDoesNotGrow uses a project for a while, with commands, restarts and
// somebody who follows the log, and compares the memory of angz in the last
// third with that in the second; in the first caches fill.
func TestMemoryDoesNotGrow(t *testing.T) {
	w := openWorkshop(t)
	stop := w.busy(w.createOrder)
	defer stop()
	third := soakTime(t) / 3
	pid := w.process.Process.Pid
	var thirds [3][]int
	began := time.Now()
	text := "OrderCreated{CustomerId: command.CustomerId"
	for saves := 0; ; {
		passed := time.Since(began)
		if passed >= 3*third {
			break
		}
		thirds[min(passed/third, 2)] = append(thirds[min(passed/third, 2)], residentKiB(t, pid))
		if wanted := int(passed / (third / 2)); saves < wanted && saves < 200 {
			saves++
			next := `OrderCreated{CustomerId: "save ` + string(rune('a'+saves%26)) + `"`
			w.save("order/main.go", text, next)
			text = next
		}
		time.Sleep(third / 100)
	}
	w.until("everything is ready", func(s control.Status) bool { return s.Ready })
	before, after := slices.Min(thirds[1]), slices.Min(thirds[2])
	t.Logf("resident: %d MiB at most in the first third, then at least %d KiB, and %d KiB in the last", slices.Max(thirds[0])>>10, before, after)
	if allowed := before/10 + 4<<10; after > before+allowed {
		t.Errorf("angz grew from %d to %d KiB", before, after)
	}
}
