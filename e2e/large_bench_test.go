package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/quickstart/todopb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
)

// BenchmarkTUI opens the terminal program on a running system and goes through it by
// keys: how long until the first screen, how long a key takes at most, how much
// memory, and the same while 2,000 commands a second are stored. The figures contain
// what tmux needs to pass a key on and to look at the screen, some 10 ms. The large
// store, of ten million events in a million aggregates, takes minutes to make:
//
//	go test ./e2e -run '^$' -bench TUI/large -benchtime 1x
//
// ANGZ_LARGE_STORE names a file in which it is kept for the next time.
func BenchmarkTUI(b *testing.B) {
	for _, c := range []struct {
		name       string
		aggregates int
	}{{"small", 1_000}, {"large", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) { goThrough(b, c.aggregates) })
	}
}

func goThrough(b *testing.B, aggregates int) {
	store := os.Getenv("ANGZ_LARGE_STORE")
	if store == "" || aggregates < 1_000_000 {
		store = filepath.Join(b.TempDir(), "store.db")
	}
	if _, err := os.Stat(store); err != nil {
		fillStore(b, store, aggregates)
	}
	at := freePorts(b)
	d := startDev(b, "../examples/quickstart", at, "ANGZARR_STORAGE__SQLITE__PATH="+store)
	defer d.stop()
	var first, key, loaded time.Duration
	memory := 0
	w := openTerminal(b, "ANGZ="+binary, "LC_ALL=C.UTF-8")
	w.resize(120, 40)
	for b.Loop() {
		w.types("$ANGZ tui --address localhost:" + strconv.Itoa(at.gateway) + " --read-only; clear")
		first = max(first, w.until(`everything +\d+.*│`))
		key = max(key, w.walk(aggregates))
		ctx, stop := context.WithCancel(b.Context())
		stored, ended := d.load(ctx, 2000)
		time.Sleep(2 * time.Second)
		before, began := stored.Load(), time.Now()
		loaded = max(loaded, w.walk(aggregates), w.walk(aggregates))
		b.ReportMetric(float64(stored.Load()-before)/time.Since(began).Seconds(), "commands/s-meanwhile")
		memory = max(memory, peakKiB(b, "tui"))
		stop()
		<-ended
		w.press("q")
		w.until(`prompt>`)
	}
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(milliseconds(first), "ms-first-screen")
	b.ReportMetric(milliseconds(key), "ms-slowest-key")
	b.ReportMetric(milliseconds(loaded), "ms-slowest-key-loaded")
	b.ReportMetric(float64(memory)/1024, "MiB-peak")
}

// walk goes through aggregates and histories, and returns how long the slowest key
// took to be seen.
func (w *terminal) walk(aggregates int) (slowest time.Duration) {
	w.t.Helper()
	far := taskList(aggregates / 2)
	step := func(shows string, keys ...string) {
		w.t.Helper()
		w.press(keys...)
		slowest = max(slowest, w.until(shows))
	}
	w.press("Down")
	step(`▸ todo +│`, "Enter")
	step(`▸ todo l\S+ +\d+ events?`, "Enter")
	step(`carried by`, "3")
	step(`no component`, "4")
	step(`▸ todo l`, "1")
	w.press("g")
	w.writes("todo " + far)
	step(`▸ todo `+far+` +10 events`, "Enter")
	step(`│ +TaskAdded 8`, "[")
	step(`│ +TaskAdded 9`, "]")
	// Not Escape, for which every program waits a while whether it begins a longer key.
	step(`▸ todo +│`, "Left")
	step(`▸ domains`, "Left")
	return slowest
}

// until waits until a pattern is on the screen and returns how long that took.
func (w *terminal) until(pattern string) time.Duration {
	w.t.Helper()
	wanted, began := regexp.MustCompile(pattern), time.Now()
	for !wanted.MatchString(w.screen()) {
		if time.Since(began) > time.Minute {
			w.t.Fatalf("%q is not on the screen:\n%s", pattern, w.screen())
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// load has commands stored at a rate until the context ends.
func (d *dev) load(ctx context.Context, perSecond int) (stored *atomic.Int64, ended chan struct{}) {
	d.t.Helper()
	stored, ended = &atomic.Int64{}, make(chan struct{})
	coordinator := pb.NewAggregateCoordinatorClient(d.dial(d.ports.aggregate))
	slots, began := make(chan struct{}, 64), time.Now().UnixNano() // the store may be an old one
	go func() {
		defer close(ended)
		ticks := time.NewTicker(10 * time.Millisecond)
		defer ticks.Stop()
		for n := 0; ; {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				for range cap(slots) {
					slots <- struct{}{}
				}
				return
			}
			for range perSecond / 100 {
				n++
				task, err := anypb.New(&todopb.AddTask{Title: fmt.Sprint("task ", n, " of ", began)})
				if err != nil {
					d.t.Error(err)
				}
				slots <- struct{}{}
				go func(id string) {
					defer func() { <-slots }()
					_, err := coordinator.Handle(ctx, &pb.CommandBook{
						Cover: &pb.Cover{Domain: "todo", AggregateId: id}, Pages: []*pb.CommandPage{{Command: task}}, AutoResequence: true,
					})
					if err == nil {
						stored.Add(1)
					}
				}("loaded-" + strconv.Itoa(n%500))
			}
		}
	}()
	return stored, ended
}

func taskList(i int) string { return fmt.Sprintf("list-%07d", i) }

// fillStore makes a store in which each aggregate has ten events, one after the
// other over all aggregates.
func fillStore(b *testing.B, path string, aggregates int) {
	b.Helper()
	store, err := sqlite.Open(b.Context(), sqlite.Options{Path: path, CorrelationIndex: true})
	if err != nil {
		b.Fatal(err)
	}
	for next := range uint32(10) {
		payload, err := proto.Marshal(&todopb.TaskAdded{Title: "task " + strconv.Itoa(int(next))})
		if err != nil {
			b.Fatal(err)
		}
		var requests []eventstore.Append
		for i := range aggregates {
			name := taskList(i)
			requests = append(requests, eventstore.Append{
				CommandID: uuid.New(), Key: book.Key{Domain: "todo", Root: book.Root("todo", name)}, Name: name, Next: next, CorrelationID: name,
				Events: []eventstore.NewEvent{{TypeURL: "type.googleapis.com/" + string((&todopb.TaskAdded{}).ProtoReflect().Descriptor().FullName()), Payload: payload, CreatedAt: time.Now()}},
			})
			if len(requests) < 2_000 && i < aggregates-1 {
				continue
			}
			for _, result := range store.AppendAll(b.Context(), requests) {
				if result.Err != nil {
					b.Fatal(result.Err)
				}
			}
			requests = requests[:0]
		}
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}

// peakKiB returns the most memory that a running angz with this verb ever had.
func peakKiB(b *testing.B, verb string) int {
	b.Helper()
	found, err := exec.Command("pgrep", "-f", binary+" "+verb).Output()
	if err != nil {
		b.Fatalf("no angz %s runs: %v", verb, err)
	}
	most := 0
	for _, pid := range strings.Fields(string(found)) {
		status, _ := os.ReadFile("/proc/" + pid + "/status")
		if line := regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(status); line != nil {
			kib, _ := strconv.Atoi(string(line[1]))
			most = max(most, kib)
		}
	}
	return most
}
