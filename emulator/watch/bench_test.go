package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// BenchmarkNew50000Files starts a watcher on a tree of 50,000 files in 5,000
// folders for six services, of which two share a language. It reports how long
// the start takes, how long it is until everything is read, how much memory the
// watcher keeps then, and how much the process has taken for it at most.
func BenchmarkNew50000Files(b *testing.B) {
	dir := b.TempDir()
	buildTree(b, dir)
	var rules []Rule
	for i, patterns := range [][]string{
		{"**/*.go", "go.mod", "go.sum", "!**/*_test.go"}, {"**/*.go", "go.mod", "go.sum", "!**/*_test.go"},
		{"**/*.py", "requirements*.txt"}, {"**/*.rs", "Cargo.toml"}, {"**/*.{ts,tsx,js}", "package.json"}, {"**/*.proto"},
	} {
		rules = append(rules, Rule{Name: fmt.Sprint("service", i), Dir: dir, Patterns: patterns})
	}
	before, reserved := memory()
	for b.Loop() {
		started := time.Now()
		watcher, err := New(rules, Options{})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(started)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- watcher.Run(ctx) }()
		files := waitRead(watcher)
		heap, system := memory()
		b.ReportMetric(float64(heap-before)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(system-reserved)/(1<<20), "system-MiB")
		b.ReportMetric(float64(took)/float64(time.Millisecond), "start-ms")
		b.ReportMetric(float64(time.Since(started))/float64(time.Millisecond), "read-ms")
		b.ReportMetric(float64(files), "files")
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
}

// buildTree makes files of 2 KiB that are older than a moment, ten in a folder.
func buildTree(b *testing.B, dir string) {
	content, old := make([]byte, 2<<10), time.Now().Add(-time.Hour)
	endings := []string{"go", "py", "rs", "ts", "proto"}
	for i := range 5000 {
		folder := filepath.Join(dir, fmt.Sprint("src-", i%50), fmt.Sprint("package-", i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 10 {
			name := filepath.Join(folder, fmt.Sprintf("some_file_name_%d.%s", j, endings[j%len(endings)]))
			if err := os.WriteFile(name, content, 0o644); err != nil {
				b.Fatal(err)
			}
			if err := os.Chtimes(name, old, old); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// memory returns the bytes in use, and those taken from the system.
func memory() (heap, system uint64) {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc, stats.Sys - stats.HeapReleased
}

// waitRead returns how many files are known when all are read.
func waitRead(w *Watcher) int {
	for {
		known, unread := 0, 0
		w.mu.Lock()
		for _, f := range w.folders {
			for _, each := range f.files {
				known++
				if each.readable() {
					unread++
				}
			}
		}
		w.mu.Unlock()
		if unread == 0 {
			return known
		}
		time.Sleep(10 * time.Millisecond)
	}
}
