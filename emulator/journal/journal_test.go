package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/journal"
)

// screen is a console whose text may be read while it is written to.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func fixed() time.Time { return came }

// written has a journal told something and returns what its console got.
func written(t *testing.T, options journal.Options, tell func(*journal.Journal)) string {
	t.Helper()
	console := &screen{}
	options.Console = console
	if options.Clock == nil {
		options.Clock = fixed
	}
	j := journal.New(options)
	tell(j)
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	return console.String()
}

// read returns the texts of what a journal has.
func read(t *testing.T, j *journal.Journal, query journal.Query) (texts []string) {
	t.Helper()
	err := j.Read(t.Context(), query, func(e journal.Entry) error {
		texts = append(texts, e.Name+": "+e.Text)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return texts
}

func TestTheConsoleShowsWhatLinesSay(t *testing.T) {
	t.Parallel()
	got := written(t, journal.Options{Names: []string{"angz", "order"}}, func(j *journal.Journal) {
		j.Line("order", []byte(`{"time":"2026-10-28T12:34:56.789Z","level":"warn","msg":"slow\u0007","n":1,"who":"a b","pid":7,"correlation_id":"3f2a7b11-9dad-11d1-80b4-00c04fd430c8"}`))
		j.Line("order", []byte("plain \x1b[31mred\x1b[0m \x1b[2J\xff"))
		j.Line("order", []byte("10%\r100%"))
		j.Line("order", []byte(`{"level":"error","event":"failed","exception":"Traceback\n  File \"a.py\"\nKeyError"}`))
		j.Line("order", []byte(`{"level":"info","pid":3}`))
		_, _ = io.WriteString(j.Writer("angz"), "{\"level\":\"INFO\",\"msg\":\"a\"}\n{\"level\":\"INFO\",\"msg\":\"b\"}\n")
		j.Record("angz", []byte(`{"msg":"raw"}`), "first\nsecond")
		j.Line("later", nil)
	})
	want := `order | 12:34:56.789 WARN  slow� n=1 who="a b"  corr=3f2a7b11
order | 12:34:57.000       plain red �[2J�
order | 12:34:57.000       100%
order | 12:34:57.000 ERROR failed
order |                      Traceback
order |                        File "a.py"
order |                      KeyError
order | 12:34:57.000 INFO   pid=3
angz  | 12:34:57.000 INFO  a
angz  | 12:34:57.000 INFO  b
angz  | 12:34:57.000       first
angz  |                    second
later | 12:34:57.000       ` + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	got := written(t, journal.Options{Color: true}, func(j *journal.Journal) { j.Line("order", []byte("plain \x1b[31mred")) })
	want := "\x1b[36morder | \x1b[0m\x1b[2m12:34:57.000\x1b[0m       plain \x1b[31mred\x1b[0m\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAConsoleForProgramsGetsJSON(t *testing.T) {
	t.Parallel()
	got := written(t, journal.Options{JSON: true}, func(j *journal.Journal) {
		j.Line("order", []byte(`{"level":"warn","msg":"slow","n":1.50,"of":["a"],"correlationId":"c1"}`))
		j.Line("order", []byte("\xff\x00"))
	})
	want := `{"time":"2026-10-28T12:34:57.000Z","level":"WARN","msg":"slow","component":"order","correlation_id":"c1","fields":{"n":1.50,"of":["a"]}}
{"time":"2026-10-28T12:34:57.000Z","level":"INFO","msg":"�\u0000","component":"order"}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFilterIsForTheConsoleOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := written(t, journal.Options{Dir: dir, Names: []string{"a", "b"}}, func(j *journal.Journal) {
		j.SetFilter(journal.Filter{Names: []string{"a"}, MinLevel: slog.LevelInfo})
		for _, name := range []string{"a", "b"} {
			for _, line := range []string{"DEBUG no", "WARN yes", "perhaps"} {
				j.Line(name, []byte(line))
			}
		}
		j.SetFilter(journal.Filter{})
		j.Line("b", []byte("DEBUG all"))
		if lines := read(t, j, journal.Query{Tail: -1}); len(lines) != 7 {
			t.Errorf("kept %q", lines)
		}
	})
	want := "a | 12:34:57.000 WARN  yes\na | 12:34:57.000       perhaps\nb | 12:34:57.000 DEBUG all\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestQuietShowsWhatAngzSays(t *testing.T) {
	t.Parallel()
	got := written(t, journal.Options{Quiet: true}, func(j *journal.Journal) {
		j.Line("order", []byte("no"))
		_, _ = io.WriteString(j.Writer("angz"), "yes\n")
	})
	if got != "angz  | 12:34:57.000       yes\n" {
		t.Errorf("%q", got)
	}
}

func TestAPausedConsoleShowsTheRestLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines, size int
		note        string
	}{
		"all":        {10, 10, ""},
		"the newest": {200, 8000, " of order left out here, because nobody took them, see .angz/logs/order.log\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				console := &screen{}
				j := journal.New(journal.Options{Console: console, Dir: filepath.Join(t.TempDir(), ".angz", "logs")})
				j.Pause()
				for i := range c.lines {
					time.Sleep(time.Second) // no flood
					j.Line("order", []byte(fmt.Sprint(strings.Repeat("x", c.size), " ", i)))
				}
				synctest.Wait()
				if console.String() != "" {
					t.Errorf("shown while paused: %.100q", console)
				}
				j.Resume()
				synctest.Wait()
				got := console.String()
				if !strings.HasSuffix(got, fmt.Sprintf("x %d\n", c.lines-1)) {
					t.Errorf("shown at last: %q", got[max(0, len(got)-100):])
				}
				if first, _, _ := strings.Cut(got, "\n"); !strings.HasSuffix(first+"\n", c.note) || (c.note == "") != !strings.Contains(first, "left out") {
					t.Errorf("shown first: %.200q", first)
				}
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAFloodIsCutAndOthersAreSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		console := &screen{}
		j := journal.New(journal.Options{Console: console, Dir: filepath.Join(t.TempDir(), ".angz", "logs")})
		const lines = 20_000
		for i := range lines {
			j.Line("order", []byte("noise"))
			if i == lines/2 {
				j.Line("receipt", []byte("signal"))
			}
			if i%10 == 0 {
				time.Sleep(time.Millisecond) // 10,000 lines a second
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		text := console.String()
		shown, left := strings.Count(text, " noise\n"), 0
		for line := range strings.Lines(text) {
			if _, note, ok := strings.Cut(line, "… "); ok {
				var n int
				if _, err := fmt.Sscanf(strings.ReplaceAll(note, ",", ""), "%d line", &n); err != nil || !strings.HasSuffix(note, " of order left out here, see .angz/logs/order.log\n") {
					t.Errorf("said %q", line)
				}
				left += n
			}
		}
		if !strings.Contains(text, "signal") || shown > 3000 || shown+left != lines {
			t.Errorf("shown %d, left out %d of %d", shown, left, lines)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

// stuck is a console that takes nothing until it is told to.
type stuck struct {
	screen
	free chan struct{}
}

func (s *stuck) Write(text []byte) (int, error) {
	<-s.free
	return s.screen.Write(text)
}

// It is not parallel, because it looks at the memory of the whole process.
func TestAConsoleThatTakesNothingStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		console := &stuck{free: make(chan struct{})}
		j := journal.New(journal.Options{Console: console})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		line := []byte(strings.Repeat("x", 10_000))
		for range 5000 {
			time.Sleep(time.Second)
			j.Line("order", line)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("50 MB of lines took %d bytes of memory", grown)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		close(console.free)
		synctest.Wait()
		if !strings.Contains(console.String(), "left out here, because nobody took them") {
			t.Errorf("%.300q", console)
		}
	})
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestAConsoleThatIsGoneIsDoneWithout(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{Console: gone{}, Dir: t.TempDir()})
	for range 100 {
		j.Line("order", []byte("x"))
	}
	if lines := read(t, j, journal.Query{Tail: -1}); len(lines) != 100 {
		t.Errorf("kept %d lines", len(lines))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesAreRotatedAndReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := journal.New(journal.Options{Dir: dir})
	const line = 60 << 10
	for i := range 600 { // 36 MB
		j.Line("order", []byte(fmt.Sprintf("%03d %s", i, strings.Repeat("x", line))))
	}
	var numbers []int
	err := j.Read(t.Context(), journal.Query{Tail: -1}, func(e journal.Entry) error {
		var n int
		_, err := fmt.Sscanf(e.Text, "%d", &n)
		numbers = append(numbers, n)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for i, n := range numbers {
		if n != 600-len(numbers)+i {
			t.Fatalf("the line %d of %d is %d", i, len(numbers), n)
		}
	}
	if len(numbers) < 340 || len(numbers) > 520 {
		t.Errorf("%d lines are kept", len(numbers))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
	for _, file := range files {
		if info, err := file.Info(); err != nil || info.Size() > 11<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

func TestLongLinesComeInPieces(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{Dir: t.TempDir()})
	j.Line("order", bytes.Repeat([]byte("x"), 10<<20))
	j.Line("order", []byte("a\nb"))
	total, lines := 0, 0
	err := j.Read(t.Context(), journal.Query{Tail: -1}, func(e journal.Entry) error {
		total += len(e.Raw)
		lines++
		return nil
	})
	if err != nil || total != 10<<20+2 || lines != 162 {
		t.Errorf("%d bytes in %d lines, %v", total, lines, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestLinesAreInTheirFilesSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := journal.New(journal.Options{Dir: dir})
		j.Line("a/b", []byte("x"))
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 1 || !strings.HasPrefix(files[0].Name(), "a-b-") {
			t.Fatalf("%v, %v", files, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, files[0].Name())); err != nil || string(text) != "2000-01-01T00:00:00.000000Z x\n" {
			t.Errorf("%q, %v", text, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatAngzBeforeHasKeptIsReadToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, line := range []string{"one", "two"} {
		j := journal.New(journal.Options{Dir: dir, Names: []string{"order"}})
		j.Line("order", []byte(line))
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		// As if the machine had gone within a line.
		file, err := os.OpenFile(filepath.Join(dir, "order.log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString("2026-10-2")
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	j := journal.New(journal.Options{Dir: dir, Names: []string{"order"}})
	for _, tail := range []int{-1, 5} {
		if diff := cmp.Diff([]string{"order: one", "order: two"}, read(t, j, journal.Query{Tail: tail})); diff != "" {
			t.Error(tail, diff)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestADiskThatIsFullIsToldOnceAndWorksAgain(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no device that is always full")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "order.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	console := &screen{}
	j := journal.New(journal.Options{Dir: dir, Console: console})
	big := bytes.Repeat([]byte("x"), 60<<10)
	for range 20 {
		j.Line("order", big)
	}
	if err := j.Close(); err == nil {
		t.Log("nothing waited at the end") // the lines before filled the buffer exactly
	}
	if n := strings.Count(console.String(), "logs cannot be kept, everything else goes on: "); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestAFolderThatCannotBeMadeStopsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		console := &screen{}
		dir := filepath.Join(file, "logs")
		j := journal.New(journal.Options{Dir: dir, Console: console})
		for range 5 {
			j.Line("order", []byte("x"))
			time.Sleep(time.Second)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		j.Line("order", []byte("y"))
		time.Sleep(time.Second)
		synctest.Wait()
		text := console.String()
		if strings.Count(text, "cannot be kept") != 1 || strings.Count(text, "kept again") != 1 || strings.Count(text, " x\n") != 5 {
			t.Errorf("%s", text)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLinesAreFound(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"in files": t.TempDir(), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := journal.New(journal.Options{Dir: dir})
				began := time.Now()
				for i := range 4 {
					for _, name := range []string{"a", "b"} {
						j.Line(name, []byte(fmt.Sprint([]string{"INFO ", "ERROR "}[i%2], i)))
						time.Sleep(time.Second)
					}
				}
				for name, c := range map[string]struct {
					query journal.Query
					want  []string
				}{
					"all":          {journal.Query{Tail: -1}, []string{"a: 0", "b: 0", "a: 1", "b: 1", "a: 2", "b: 2", "a: 3", "b: 3"}},
					"of some":      {journal.Query{Tail: -1, Names: []string{"b", "c"}}, []string{"b: 0", "b: 1", "b: 2", "b: 3"}},
					"grave":        {journal.Query{Tail: -1, MinLevel: slog.LevelWarn}, []string{"a: 1", "b: 1", "a: 3", "b: 3"}},
					"since":        {journal.Query{Tail: -1, Since: began.Add(5 * time.Second)}, []string{"b: 2", "a: 3", "b: 3"}},
					"the newest":   {journal.Query{Tail: 3}, []string{"b: 2", "a: 3", "b: 3"}},
					"newest grave": {journal.Query{Tail: 3, MinLevel: slog.LevelWarn}, []string{"b: 1", "a: 3", "b: 3"}},
					"newest since": {journal.Query{Tail: 9, Since: began.Add(6 * time.Second)}, []string{"a: 3", "b: 3"}},
					"none":         {journal.Query{}, nil},
				} {
					if diff := cmp.Diff(c.want, read(t, j, c.query)); diff != "" {
						t.Error(name, diff)
					}
				}
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestWhoFollowsGetsEveryLineOnce(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"in files": t.TempDir(), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := journal.New(journal.Options{Dir: dir})
			const lines = 2000
			var saying sync.WaitGroup
			for _, name := range []string{"a", "b", "c"} {
				saying.Go(func() {
					for i := range lines {
						j.Line(name, []byte(fmt.Sprint(i)))
						if i%50 == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			next := map[string]int{}
			ended := errors.New("all there")
			err := j.Read(t.Context(), journal.Query{Tail: -1, Follow: true}, func(e journal.Entry) error {
				if e.Text != fmt.Sprint(next[e.Name]) {
					return fmt.Errorf("%s says %q after %d lines", e.Name, e.Text, next[e.Name])
				}
				next[e.Name]++
				if next["a"]+next["b"]+next["c"] == 3*lines {
					return ended
				}
				return nil
			})
			if !errors.Is(err, ended) {
				t.Error(err)
			}
			saying.Wait()
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFollowingEndsWithTheJournalOrTheContext(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{})
	j.Line("order", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	err := j.Read(ctx, journal.Query{Tail: 1, Follow: true}, func(journal.Entry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ended := make(chan error, 1)
	reading := make(chan struct{})
	go func() {
		ended <- j.Read(t.Context(), journal.Query{Tail: 1, Follow: true}, func(journal.Entry) error { close(reading); return nil })
	}()
	<-reading
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Read(t.Context(), journal.Query{Tail: 1, Follow: true}, func(journal.Entry) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestWhoFollowsSlowlyIsToldWhatIsMissing(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{})
	defer func() { _ = j.Close() }()
	j.Line("order", []byte("first"))
	big := bytes.Repeat([]byte("x"), 50_000)
	ended := errors.New("told")
	err := j.Read(t.Context(), journal.Query{Tail: 1, Follow: true}, func(e journal.Entry) error {
		if e.Text == "first" {
			for range 100 { // 5 MB
				j.Line("order", big)
			}
			return nil
		}
		if !strings.HasSuffix(e.Text, " of order left out here, because they came faster than they were read") {
			return fmt.Errorf("%.100q", e.Text)
		}
		return ended
	})
	if !errors.Is(err, ended) {
		t.Error(err)
	}
}

func BenchmarkLine(b *testing.B) {
	line := []byte(`{"time":"2026-10-28T12:34:56.789Z","level":"INFO","msg":"order placed","order":"o1","amount":12.5,"customer":{"id":7,"name":"alice"}}`)
	for name, options := range map[string]journal.Options{
		"files":                        {Dir: b.TempDir()},
		"files and a console, flood":   {Dir: b.TempDir(), Console: io.Discard, Color: true},
		"files and a filtered console": {Dir: b.TempDir(), Console: io.Discard},
	} {
		b.Run(name, func(b *testing.B) {
			j := journal.New(options)
			if strings.Contains(name, "filtered") {
				j.SetFilter(journal.Filter{MinLevel: slog.LevelWarn})
			}
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				j.Line("order", line)
			}
			if err := j.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	b.Run("shown", func(b *testing.B) {
		now := time.Now()
		j := journal.New(journal.Options{Console: io.Discard, Color: true, Clock: func() time.Time { now = now.Add(10 * time.Millisecond); return now }})
		b.ReportAllocs()
		for b.Loop() {
			j.Line("order", line)
		}
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
}

// FuzzFile has files read that anybody may have written: both ways of reading
// find the same.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "x", "2026-10-28T12:34:56.000000Z a\n2026-10-28T12:34:57.000000Z b\n", "2026-10-28T12:34:56.000000Z a\n2026-10-2\n\n2026-10-28T12:34:57.000000Z b", "\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "order.log"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		j := journal.New(journal.Options{Dir: dir, Names: []string{"order"}})
		defer func() { _ = j.Close() }()
		raw := func(tail int) (lines []string) {
			err := j.Read(t.Context(), journal.Query{Tail: tail}, func(e journal.Entry) error {
				lines = append(lines, e.Raw)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return lines
		}
		all, newest := raw(-1), raw(1<<20)
		slices.Sort(all) // files of several hands are in no order of time
		slices.Sort(newest)
		if diff := cmp.Diff(all, newest); diff != "" {
			t.Error(diff)
		}
	})
}
