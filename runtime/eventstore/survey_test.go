package eventstore

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
)

func TestNameKeyIsTheBeginningOfAName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", NameOrder)
	for name, want := range map[string]string{
		"": "", "alice": "alice", long[:len(long)-2]: long[:len(long)-2], long: long, long + "a": long, "a\x00b": "a", "\x00": "", long + "\x00": long,
	} {
		if got := NameKey(name); got != want {
			t.Errorf("NameKey(%q) is %q, want %q", name, got, want)
		}
	}
}

func FuzzNameKey(f *testing.F) {
	f.Add("alice")
	f.Add(strings.Repeat("日", NameOrder+1))
	f.Add("a\x00b\xff")
	f.Fuzz(func(t *testing.T, name string) {
		key := NameKey(name)
		if !strings.HasPrefix(name, key) || utf8.RuneCountInString(key) > NameOrder || NameKey(key) != key || strings.ContainsRune(key, 0) {
			t.Errorf("NameKey(%q) is %q", name, key)
		}
	})
}

// FuzzRootRange holds it to its meaning: what lies in the range is what begins with
// the prefix.
func FuzzRootRange(f *testing.F) {
	f.Add("", []byte{})
	f.Add("0b9a-", []byte{1})
	f.Add("0b9a2c44-7", []byte{0x0b, 0x9a, 0x2c, 0x44, 0x70})
	f.Add("0b9a2c44-7f00-4000-8000-000000000001", []byte{0x0b})
	f.Add("0B", []byte{0x0b})
	f.Fuzz(func(t *testing.T, prefix string, bytes []byte) {
		var root uuid.UUID
		copy(root[:], bytes)
		lowest, highest, ok := RootRange(prefix)
		within := ok && strings.Compare(lowest.String(), root.String()) <= 0 && strings.Compare(root.String(), highest.String()) <= 0
		if begins := strings.HasPrefix(root.String(), prefix); begins != within {
			t.Errorf("%s begins with %q: %t, but the range is %s to %s, %t", root, prefix, begins, lowest, highest, ok)
		}
	})
}
