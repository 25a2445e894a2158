package generate

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestUpdateRunsOnlyForAReason changes one thing after the other.
func TestUpdateRunsOnlyForAReason(t *testing.T) {
	t.Parallel()
	p := project(t, nil, map[string]string{"go": "go"})
	file := filepath.Join(t.TempDir(), "generated.json")
	runs := func(want bool, why string) {
		t.Helper()
		_, ran, err := Update(t.Context(), p, file)
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if ran != want {
			t.Errorf("%s: ran is %v, want %v", why, ran, want)
		}
	}
	runs(true, "the first time")
	runs(false, "nothing has changed")
	proto := filepath.Join(p.Dir, "proto/customer.proto")
	content, err := os.ReadFile(proto)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(proto, append(content, "message Other {}\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	runs(true, "a message more")
	runs(false, "nothing has changed again")
	stubs := filepath.Join(p.Dir, "go/gen/customerpb/customer.pb.go")
	if err := os.Remove(stubs); err != nil {
		t.Fatal(err)
	}
	runs(true, "the code is gone")
	if err := os.WriteFile(stubs, []byte("package customerpb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	runs(true, "somebody has changed the code")
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	runs(true, "what was remembered cannot be read")
	runs(false, "it is remembered again")
	p.Targets = map[string]string{"elsewhere": "go"}
	if _, ran, err := Update(t.Context(), p, file); !ran || err == nil {
		t.Errorf("another folder: ran is %v, %v", ran, err)
	}
}

func TestAMistakeIsNotRemembered(t *testing.T) {
	t.Parallel()
	p := project(t, map[string]string{"bad.proto": "syntax"}, map[string]string{"go": "go"})
	file := filepath.Join(t.TempDir(), "generated.json")
	for range 2 {
		_, ran, err := Update(t.Context(), p, file)
		if faults := (*Faults)(nil); !ran || !errors.As(err, &faults) {
			t.Errorf("ran is %v, %v", ran, err)
		}
	}
}

// BenchmarkNothingToDo is what every start of angz dev costs.
func BenchmarkNothingToDo(b *testing.B) {
	p := project(b, nil, map[string]string{"go": "go"})
	file := filepath.Join(b.TempDir(), "generated.json")
	if _, _, err := Update(b.Context(), p, file); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ran, err := Update(b.Context(), p, file); ran || err != nil {
			b.Fatal(ran, err)
		}
	}
}
