package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// load is many clients that send one command after the other through the
// gateways and repeat what was not acknowledged, under the same key, until it is.
type load struct {
	t        testing.TB
	writers  []*steady
	stop     context.CancelFunc
	working  sync.WaitGroup
	failures failures
}

// failures counts what clients were told, by code.
type failures struct {
	mu     sync.Mutex
	counts map[codes.Code]int
	last   map[codes.Code]string
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts, f.last = map[codes.Code]int{}, map[codes.Code]string{}
	}
	said := status.Convert(err)
	f.counts[said.Code()]++
	f.last[said.Code()] = said.Message()
}

func (f *failures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for code, count := range f.counts {
		lines = append(lines, fmt.Sprintf("%d times %s, at last: %s", count, code, f.last[code]))
	}
	return strings.Join(lines, "\n")
}

// steady is one client with an aggregate of its own.
type steady struct {
	name string
	sent atomic.Int64 // acknowledged commands; the next one carries this number
}

// acknowledged returns how many commands have been acknowledged so far.
func (l *load) acknowledged() (total int64) {
	for _, client := range l.writers {
		total += client.sent.Load()
	}
	return total
}

// startLoad sends commands for new aggregates until settle.
func (p *plant) startLoad(name string, clients int) *load {
	p.t.Helper()
	var gateways []pb.AggregateCoordinatorClient
	for _, gateway := range p.of("gateway") {
		conn := dialLocal(p.t, gateway.port)
		p.t.Cleanup(func() { _ = conn.Close() })
		gateways = append(gateways, pb.NewAggregateCoordinatorClient(conn))
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(p.t.Context()))
	l := &load{t: p.t, stop: stop}
	for i := range clients {
		client := &steady{name: fmt.Sprintf("%s-%d", name, i)}
		l.writers = append(l.writers, client)
		l.working.Go(func() { client.work(ctx, gateways, &l.failures) })
	}
	return l
}

// work sends commands until the context ends; the last one is repeated until it is
// acknowledged too, so that nothing is under way any more.
func (s *steady) work(ctx context.Context, gateways []pb.AggregateCoordinatorClient, failed *failures) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(time.Minute, cancel) })()
	for turn := 0; (ctx.Err() == nil || turn > 0) && lasting.Err() == nil; turn++ {
		number := s.sent.Load()
		call, cancel := context.WithTimeout(lasting, 20*time.Second)
		_, err := gateways[(turn+int(number))%len(gateways)].Handle(call, &pb.CommandBook{
			Cover:          &pb.Cover{Domain: "source", AggregateId: s.name},
			Pages:          []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "e2e.Do", Value: fmt.Appendf(nil, "%d", number)}}},
			AutoResequence: true, IdempotencyKey: strconv.FormatInt(number, 10),
		})
		cancel()
		if err == nil {
			s.sent.Add(1)
			turn = -1
			continue
		}
		failed.add(err)
		time.Sleep(5 * time.Millisecond) // as a client waits before it tries again
	}
}

// settle stops the load, waits until everything it caused has happened, and
// compares what is stored, copied and projected with what was acknowledged.
func (p *plant) settle(l *load) {
	p.t.Helper()
	l.stop()
	l.working.Wait()
	p.awaitServing()
	conn := dialLocal(p.t, p.of("gateway")[0].port)
	defer conn.Close()
	query := pb.NewEventQueryClient(conn)
	acknowledged := l.acknowledged()
	var lines []string
	for _, client := range l.writers {
		lines = append(lines, p.settleWriter(query, client)...)
	}
	p.t.Logf("%d commands were acknowledged; clients were told:\n%s", acknowledged, &l.failures)
	if acknowledged == 0 {
		p.t.Errorf("no command was acknowledged")
	}
	p.checkLines(l, lines)
}

// settleWriter checks one client's aggregate and its copy, and returns the lines
// that the read model has to have.
func (p *plant) settleWriter(query pb.EventQueryClient, client *steady) []string {
	p.t.Helper()
	root := book.Root("source", client.name)
	stored := storedPayloads(p.t, query, "source", root[:])
	sent := int(client.sent.Load())
	if len(stored) != sent {
		p.t.Errorf("%s: %d commands were acknowledged, %d are stored", client.name, sent, len(stored))
	}
	var copies []string
	for n, payload := range stored {
		if payload != strconv.Itoa(n) {
			p.t.Fatalf("%s: event %d is of command %s", client.name, n, payload)
		}
		copies = append(copies, fmt.Sprintf("%x/%d/%d", root[:], n, n))
	}
	copied := within(2*time.Minute, len(copies), func() []string { return storedPayloads(p.t, query, "target", root[:]) })
	if diff := cmp.Diff(copies, copied); diff != "" {
		p.t.Errorf("%s: what the saga sent differs, or is in another order, than what was stored:\n%s", client.name, clip(diff))
	}
	return copies
}

// checkLines checks the read model: every event of the load once, those of one
// aggregate in order.
func (p *plant) checkLines(l *load, want []string) {
	p.t.Helper()
	ours := func(line string) bool {
		return slices.ContainsFunc(l.writers, func(client *steady) bool {
			root := book.Root("source", client.name)
			return strings.HasPrefix(line, fmt.Sprintf("%x/", root[:]))
		})
	}
	got := within(2*time.Minute, len(want), func() []string {
		text, err := os.ReadFile(filepath.Join(p.folder, "lines"))
		if err != nil {
			p.t.Fatal(err)
		}
		return slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), func(line string) bool { return !ours(line) })
	})
	byRoot := func(lines []string) map[string][]string {
		sorted := map[string][]string{}
		for _, line := range lines {
			root, _, _ := strings.Cut(line, "/")
			sorted[root] = append(sorted[root], line)
		}
		return sorted
	}
	if diff := cmp.Diff(byRoot(want), byRoot(got)); diff != "" {
		p.t.Errorf("the read model differs, or has another order, than what was stored:\n%s", clip(diff))
	}
}

func clip(text string) string { return text[:min(len(text), 4000)] }

// within reads until there are n entries or the time is over.
func within(limit time.Duration, n int, read func() []string) []string {
	deadline := time.Now().Add(limit)
	for {
		found := read()
		if len(found) >= n || time.Now().After(deadline) {
			return found
		}
		time.Sleep(50 * time.Millisecond) // other processes send no signal
	}
}

// storedPayloads returns the events of an aggregate, asking again while a
// process is coming back.
func storedPayloads(t testing.TB, query pb.EventQueryClient, domain string, root []byte) (found []string) {
	t.Helper()
	var err error
	for range 200 {
		if found, err = tryPayloads(t.Context(), query, domain, root); err == nil {
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("read %s/%x: %v", domain, root, err)
	return nil
}

func tryPayloads(ctx context.Context, query pb.EventQueryClient, domain string, root []byte) (found []string, err error) {
	answer, err := query.GetEventBook(ctx, &pb.Query{Domain: domain, Root: &pb.UUID{Value: root}})
	for i, page := range answer.GetPages() {
		if int(page.GetNum()) != i {
			return nil, fmt.Errorf("number %d came when %d was next", page.GetNum(), i)
		}
		found = append(found, string(page.Event.Value))
	}
	return found, err
}

// rounds is how often processes are killed: ANGZ_PRODUCTION_ROUNDS, or 200.
func rounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("ANGZ_PRODUCTION_ROUNDS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// killAtRandom kills processes of every role in turn at random moments and
// starts them again.
func (p *plant) killAtRandom(rounds int) {
	p.t.Helper()
	for round := range rounds {
		victim := p.processes[round%len(p.processes)]
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // the random moment is the test
		victim.kill()
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		victim.start()
		if p.t.Failed() {
			return
		}
	}
}

// freeze stops processes for a while as a paused machine does.
func (p *plant) freeze(frozen []*process, length time.Duration) {
	p.t.Helper()
	for _, process := range frozen {
		process.signal(syscall.SIGSTOP)
	}
	time.Sleep(length)
	for _, process := range frozen {
		process.signal(syscall.SIGCONT)
	}
}
