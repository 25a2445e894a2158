package generate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/angz-dev/angz/scaffold"
)

// A .proto file that is saved has angz dev generate, and a person may at the same
// time.
func TestSeveralGenerateAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	project := Project{Dir: dir, Name: scaffold.Name{"shop"}, Protos: []string{"proto"}, Targets: map[string]string{"rust": "rust"}}
	if err := os.MkdirAll(filepath.Join(dir, "proto"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "proto", "order.proto")
	if err := os.WriteFile(file, []byte("syntax = \"proto3\"; package order; message Place {}"), 0o644); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				if _, err := Run(t.Context(), project); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestWaitingForOthersEndsWithTheContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	leave, err := takeTurn(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := takeTurn(ctx, dir, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
