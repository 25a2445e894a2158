package supervise

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheTableOfSocketsIsRead(t *testing.T) {
	t.Parallel()
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:0521 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n" +
		"   1: 0100007F:0521 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n" +
		"   2: 0100007F:0522 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n"
	got := map[string]bool{}
	listeners([]byte(table), 1313, got)
	if diff := cmp.Diff(map[string]bool{"4711": true}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAProcessMayHaveAnyName(t *testing.T) {
	t.Parallel()
	got, ok := parseStat([]byte("12 (a) R (b) S 1 34 34 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5678 1 1"))
	want := stat{state: 'S', group: 34, threads: 1, start: "5678"}
	if !ok || got != want {
		t.Errorf("got %+v, %t", got, ok)
	}
}

// FuzzProcessTables checks that nothing in the kernel's tables makes reading them
// fail in another way than by finding nothing.
func FuzzProcessTables(f *testing.F) {
	f.Add([]byte("12 (a) R (b) S 1 34 34 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5678 1 1"))
	f.Add([]byte("0: 0100007F:0521 00000000:0000 0A 0:0 00:0 0 0 0 4711 1"))
	f.Add([]byte("A=b\x00ANGZ_SUPERVISED=x.y.1\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = parseStat(text)
		listeners(text, 1313, map[string]bool{})
		_ = carries(text, markOf("x", ""))
		if len(shownCommand(text)) > 400 {
			t.Errorf("a command of %d bytes is shown", len(shownCommand(text)))
		}
	})
}

func TestMarksTellStartsApart(t *testing.T) {
	t.Parallel()
	environ := []byte("A=b\x00" + markOf("group", "order.12") + "\x00C=d")
	for mark, want := range map[string]bool{
		markOf("group", ""): true, markOf("group", "order.12"): true, markOf("group", "order.1"): false, markOf("other", ""): false,
	} {
		if got := carries(environ, mark); got != want {
			t.Errorf("%s: %t, want %t", mark, got, want)
		}
	}
}
