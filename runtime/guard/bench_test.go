package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/angz-dev/angz/runtime/guard"
)

// BenchmarkPass measures what a guard with 100 tokens, ten rules and a rate costs
// each call.
func BenchmarkPass(b *testing.B) {
	var tokens strings.Builder
	for i := range 100 {
		fmt.Fprintf(&tokens, "caller%d:token-%d-0123456789abcdef\n", i, i)
	}
	made, _, _ := reading(b, tokens.String(), func(o *guard.Options) {
		o.RequestsPerSecond = 1e9
		o.Rules = nil
		for i := range 10 {
			o.Rules = append(o.Rules, guard.Rule{Identity: fmt.Sprintf("caller%d*", i), Queries: []string{"stock", "ord*"}})
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		if err := pass(b.Context(), made, "token-99-0123456789abcdef"); err != nil {
			b.Fatal(err)
		}
	}
}
