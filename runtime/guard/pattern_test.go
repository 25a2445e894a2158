package guard

import (
	"regexp"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"order", "order", true}, {"order", "orders", false}, {"order", "", false}, {"", "", true},
		{"*", "", true}, {"*", "any.thing/at:all", true}, {"order*", "order", true}, {"order*", "order.eu", true}, {"order*", "reorder", false},
		{"*.eu", "order.eu", true}, {"*.eu", "order.eu.com", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"a*b*c", "a-b-c", true}, {"a*b*c", "acb", false}, {"**", "x", true}, {"[a]", "a", false}, {"o?der", "order", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q %q: got %v", c.pattern, c.text, got)
		}
	}
}

// FuzzPatterns compares with regular expressions.
func FuzzPatterns(f *testing.F) {
	for _, pattern := range []string{"*", "a*a", "**b", "spiffe://x/*", "", "*.*.*"} {
		f.Add(pattern, "a.b.a")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || strings.ContainsRune(pattern+text, 0xfffd) {
			return
		}
		as := regexp.QuoteMeta(strings.ToValidUTF8(pattern, "?"))
		pattern, text = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(text, "?")
		want := regexp.MustCompile("^(?s:" + strings.ReplaceAll(as, `\*`, ".*") + ")$").MatchString(text)
		if got := matches(pattern, text); got != want {
			t.Errorf("%q %q: got %v", pattern, text, got)
		}
	})
}
