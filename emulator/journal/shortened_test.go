package journal

import "testing"

func TestTimesAreShortened(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"332.190755": "332.19ms", "2012.3456": "2.01s", "0.0123456": "12.35µs", "0": "0s", "61000": "1m1s",
		"-1": "", "soon": "", "1e300": "", "NaN": "",
	} {
		key, got := shortened(Field{Key: "duration_ms", Value: value})
		if want == "" {
			if key != "duration_ms" || got != value {
				t.Errorf("%s became %s=%s", value, key, got)
			}
			continue
		}
		if key != "duration" || got != want {
			t.Errorf("%s became %s=%s, want %s", value, key, got, want)
		}
	}
	if key, got := shortened(Field{Key: "ms", Value: "1.5"}); key != "ms" || got != "1.5" {
		t.Errorf("got %s=%s", key, got)
	}
}
