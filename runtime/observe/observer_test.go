package observe_test

import (
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/observe"
)

func TestWaitsAreCountedByTheInnermost(t *testing.T) {
	t.Parallel()
	observe.Waited(t.Context(), time.Second) // nobody counts
	outer, all := observe.CountWaits(t.Context())
	inner, some := observe.CountWaits(outer)
	observe.Waited(outer, time.Second)
	observe.Waited(inner, time.Minute)
	observe.Waited(inner, time.Minute)
	if all.Total() != time.Second || some.Total() != 2*time.Minute || (*observe.Waits)(nil).Total() != 0 {
		t.Errorf("counted %s and %s", all.Total(), some.Total())
	}
}

func TestCorrelationsAreShortened(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"":                                     "",
		"order-7":                              "order-7",
		"3f2a7b11-9dad-11d1-80b4-00c04fd430c8": "3f2a7b11",
		"a name of somebody's who likes them":  "a name of somebody's who…",
	} {
		if got := observe.ShortCorrelation(id); got != want {
			t.Errorf("%q is shortened to %q", id, got)
		}
	}
}
