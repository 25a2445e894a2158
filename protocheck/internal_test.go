package protocheck

import "testing"

func FuzzBatch(f *testing.F) {
	f.Add([]byte("0123 blob 2\nab\n4567 blob 0\n\n"))
	f.Add([]byte("0123 missing\n"))
	f.Add([]byte("0123 blob 99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, printed []byte) {
		source := Source{}
		if err := source.addBatch(printed, []string{"a", "b"}, "HEAD:"); err == nil && len(source) != 2 {
			t.Error(source)
		}
	})
}
