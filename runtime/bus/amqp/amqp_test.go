package amqp_test

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/servertest"
)

// shared is the broker of all tests that leave it alone.
var shared = servertest.NewRabbit()

func TestMain(m *testing.M) {
	shared.Begin()
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

// epoch is that of the log in these tests.
var epoch = uuid.MustParse("0198e5a0-0000-7000-8000-000000000001")

// names makes tests on one broker independent.
func names(options amqp.Options) amqp.Options {
	own := uuid.NewString()[:8] + "."
	options.Exchange = cmp.Or(options.Exchange, own+"events")
	options.QueuePrefix = cmp.Or(options.QueuePrefix, own)
	options.Epoch = epoch
	return options
}

// open opens a bus, filling in what the test does not care about.
func open(t testing.TB, options amqp.Options) *amqp.Bus {
	t.Helper()
	if options.URL == "" {
		options.URL = shared.Use(t)
	}
	b, err := amqp.Open(names(options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, b.Close()) })
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// awaitUp waits until the bus says that it works, or that it does not.
func awaitUp(t testing.TB, b *amqp.Bus, want bool) {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	seen := false
	err := b.Watch(ctx, func(up bool) {
		if up == want {
			seen = true
			cancel()
		}
	})
	if !seen {
		t.Fatalf("the bus is not up=%t in time: %v", want, err)
	}
}

// record is a log that tests can wait for and read.
type record struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed at the next line
}

func newRecord() *record { return &record{written: make(chan struct{})} }

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.written)
	r.written = make(chan struct{})
	return r.text.Write(line)
}

func (r *record) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// await waits until the log contains a text.
func (r *record) await(t testing.TB, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		found, written := strings.Contains(r.text.String(), text), r.written
		r.mu.Unlock()
		if found {
			return
		}
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("the log does not say %q:\n%s", text, r)
		}
	}
}

const patience = 90 * time.Second

func TestConformanceOverQuorumQueues(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Bus { return unclosed(t, amqp.Options{MaxLength: 5_000}) })
}

func TestConformanceOverClassicQueues(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Bus {
		return unclosed(t, amqp.Options{QueueType: amqp.QueueClassic, MaxLength: 5_000})
	})
}

// unclosed opens a bus that works and that the suite closes.
func unclosed(t *testing.T, options amqp.Options) *amqp.Bus {
	t.Helper()
	options.URL = shared.Use(t)
	b, err := amqp.Open(names(options))
	if err != nil {
		t.Fatal(err)
	}
	awaitUp(t, b, true)
	return b
}

func within(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}
