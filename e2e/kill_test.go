package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// writers is how many clients send commands at once, each to its own aggregate.
const writers = 8

// TestKillMinusNineLosesAndDoublesNothing kills angz at random moments under
// load, again and again, and then compares what is stored, copied and projected
// with what was acknowledged. ANGZ_KILL_ROUNDS says how often.
func TestKillMinusNineLosesAndDoublesNothing(t *testing.T) {
	rounds := 100
	if text := os.Getenv("ANGZ_KILL_ROUNDS"); text != "" {
		rounds, _ = strconv.Atoi(text)
	}
	killRounds(t, rounds, killProject(t, ""), func(d *dev) { d.kill() })
}

// TestStoppingUnderLoadLosesAndDoublesNothing does the same with SIGTERM, after
// which angz has to end by itself and without an error.
func TestStoppingUnderLoadLosesAndDoublesNothing(t *testing.T) {
	killRounds(t, 10, killProject(t, ""), func(d *dev) { d.stop() })
}

// TestKillMinusNineWhileStartingLeavesNothing kills angz while it is opening its
// store and its ports and starting its children.
func TestKillMinusNineWhileStartingLeavesNothing(t *testing.T) {
	project, at := killProject(t, ""), freePorts(t)
	for range 30 {
		d := launchDev(t, project, at)
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // the random moment is the test
		d.kill()
		if t.Failed() {
			return
		}
	}
	killRounds(t, 1, project, func(d *dev) { d.kill() })
}

// TestKillMinusNineLeavesNoSocket does the same over Unix sockets, less often.
func TestKillMinusNineLeavesNoSocket(t *testing.T) {
	sockets, err := os.MkdirTemp("", "angz") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	project := killProject(t, fmt.Sprintf("transport:\n  type: uds\n  uds:\n    base_path: %s\n", sockets))
	killRounds(t, 30, project, func(d *dev) {
		d.kill()
		left := settled(t, -1, func() []string {
			found, err := filepath.Glob(filepath.Join(sockets, "*.sock"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		})
		if len(left) > 0 {
			t.Errorf("sockets are left behind: %q", left)
		}
	})
}

// killRounds runs a project, loads it and ends it, so many times, and then checks
// what has become of all commands.
func killRounds(t *testing.T, rounds int, project string, end func(*dev)) {
	t.Helper()
	at := freePorts(t)
	clients := make([]*writer, writers)
	for i := range clients {
		clients[i] = &writer{name: fmt.Sprintf("source-%d", i)}
	}
	for range rounds {
		d := startDev(t, project, at)
		ctx, stop := context.WithCancel(t.Context())
		var working sync.WaitGroup
		commands := pb.NewAggregateCoordinatorClient(d.dial(at.gateway))
		for _, client := range clients {
			working.Go(func() { client.work(ctx, commands) })
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // the random moment is the test
		end(d)
		stop()
		working.Wait()
		if t.Failed() {
			return
		}
	}
	acknowledged := 0
	for _, client := range clients {
		acknowledged += client.sent
	}
	t.Logf("%d commands were acknowledged in %d rounds", acknowledged, rounds)
	checkAll(t, startDev(t, project, at), project, clients)
}

// killProject writes a project of two domains, a saga and a projector, played by
// this test binary, with more lines of configuration.
func killProject(t *testing.T, more string) string {
	t.Helper()
	project := t.TempDir()
	lines := "    env: {LINES: " + filepath.Join(project, "lines") + "}\n"
	writeProject(t, project, more+"domains:\n"+played(t, "source", "aggregate")+played(t, "target", "aggregate")+
		"projectors:\n"+played(t, "lines", "projector")+lines+"    domains: [source]\n"+
		"sagas:\n"+played(t, "copier", "saga")+"    domains: [source]\n")
	return project
}

// writer is a client that repeats what was not acknowledged under the same key.
type writer struct {
	name string
	sent int // acknowledged commands; the next one carries this number
}

func (w *writer) work(ctx context.Context, commands pb.AggregateCoordinatorClient) {
	for {
		_, err := commands.Handle(ctx, &pb.CommandBook{
			Cover:          &pb.Cover{Domain: "source", AggregateId: w.name},
			Pages:          []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "e2e.Do", Value: fmt.Appendf(nil, "%d", w.sent)}}},
			AutoResequence: true, IdempotencyKey: strconv.Itoa(w.sent),
		})
		if err != nil {
			return
		}
		w.sent++
	}
}

func checkAll(t *testing.T, d *dev, project string, clients []*writer) {
	t.Helper()
	query := pb.NewEventQueryClient(d.dial(d.ports.query))
	var lines []string
	for _, client := range clients {
		root := book.Root("source", client.name)
		stored := payloads(t, query, "source", root[:])
		if len(stored) < client.sent || len(stored) > client.sent+1 {
			t.Errorf("%s: %d commands were acknowledged, %d are stored", client.name, client.sent, len(stored))
		}
		var copies []string
		for n, payload := range stored {
			if payload != strconv.Itoa(n) {
				t.Fatalf("%s: event %d is of command %s", client.name, n, payload)
			}
			copies = append(copies, fmt.Sprintf("%x/%d/%d", root[:], n, n))
		}
		copied := settled(t, len(copies), func() []string { return payloads(t, query, "target", root[:]) })
		slices.Sort(copied)
		slices.Sort(copies)
		if diff := cmp.Diff(copies, copied); diff != "" {
			t.Errorf("%s: what the saga sent differs from what was stored:\n%s", client.name, diff)
		}
		lines = append(lines, copies...)
	}
	projected := settled(t, len(lines), func() []string {
		text, err := os.ReadFile(filepath.Join(project, "lines"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	})
	slices.Sort(lines)
	slices.Sort(projected)
	if diff := cmp.Diff(lines, projected); diff != "" {
		t.Errorf("the read model differs from what was stored:\n%s", diff)
	}
}

// settled reads until there are n entries, none for a negative n, or gives what
// there is after a while.
func settled(t *testing.T, n int, read func() []string) []string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		found := read()
		if n >= 0 && len(found) >= n || n < 0 && len(found) == 0 || time.Now().After(deadline) {
			return found
		}
		time.Sleep(10 * time.Millisecond) // a file sends no signal
	}
}

// payloads returns the events of an aggregate and checks their numbers.
func payloads(t *testing.T, query pb.EventQueryClient, domain string, root []byte) (found []string) {
	t.Helper()
	stream, err := query.GetEvents(t.Context(), &pb.Query{Domain: domain, Root: &pb.UUID{Value: root}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		events, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range events.Pages {
			if int(page.GetNum()) != len(found) {
				t.Fatalf("%s/%x: number %d came when %d was next", domain, root, page.GetNum(), len(found))
			}
			found = append(found, string(page.Event.Value))
		}
	}
}
