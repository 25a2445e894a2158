package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// heavy is a system whose payloads have a size.
type heavy struct {
	*fake
	size int
}

func (h heavy) Events(ctx context.Context, request inspect.EventsRequest) iter.Seq2[inspect.Event, error] {
	return func(yield func(inspect.Event, error) bool) {
		for event, err := range h.fake.Events(ctx, request) {
			event.Payload = json.RawMessage(fmt.Sprintf(`{"number":%d,"text":"%s"}`, event.Sequence, strings.Repeat("é", h.size/2)))
			if !yield(event, err) {
				return
			}
		}
	}
}

func (h heavy) State(context.Context, string, string, *uint32) (inspect.State, error) {
	return inspect.State{JSON: json.RawMessage(`{"text":"` + strings.Repeat("x", h.size) + `"}`), Decoded: true}, nil
}

func TestAPayloadOfTenMegabytes(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30, func(o *Options) { o.System = heavy{newFake(), 10 << 20} })
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5 events", `"number": 4`)
	for _, event := range d.model.streams.events.events {
		if len(event.Payload) > mostShown+200 {
			t.Errorf("%d bytes of event %d are kept", len(event.Payload), event.Sequence)
		}
	}
	d.when("the state is there", func(string) bool { return d.model.streams.detail.states != nil })
	d.press("tab", "end")
	d.until("changed the state", "in nothing", "10420246 bytes more")
	d.press("v", "end")
	d.until("bytes more")
}

func TestManyLargePayloads(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.length["order order-1"] = 5_000
	d := drive(t, system, 100, 30, func(o *Options) { o.System = heavy{system, mostShown - 100} })
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5000 events", "Step1 4999")
	w := &d.model.streams.events
	for range 40 {
		d.press("pgup")
		d.when("more is read", func(string) bool { return !w.loading })
		size := 0
		for _, event := range w.events {
			size += len(event.Payload)
		}
		if size > mostBytes+mostShown {
			t.Fatalf("%d bytes are kept", size)
		}
	}
	chosen, _ := w.chosen()
	if want := fmt.Sprintf("Step%d %d", chosen.Sequence%3, chosen.Sequence); !strings.Contains(d.screen(), want) {
		t.Errorf("%s is not at the right:\n%s", want, d.screen())
	}
	d.press("end")
	d.until("Step1 4999")
}

func TestAFilterLooksFurtherBack(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.length["order order-1"] = 100_000
	d := drive(t, system, 100, 30)
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("100000 events")
	d.press("/")
	d.writes(`"number":98765`)
	d.press("enter")
	d.until("98765 Step2", "Step2 98765", "in 98000–99999")
	d.press("esc")
	d.until("100000 events", "98764 Step1", "Step2 98765")
}

func TestWhatWasLeftOutIsReadAgain(t *testing.T) {
	t.Parallel()
	system := newFake()
	d := drive(t, system, 100, 30)
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5 events", "4 Step1")
	system.mu.Lock()
	system.length["order order-1"] = 300 // of which nobody is told
	system.mu.Unlock()
	system.feed <- inspect.Followed{Stored: inspect.Stored{Skipped: 295, Position: 400, Head: 400}}
	d.until("295 events left out", "300 events", "299 Step2")
}

func TestAnAggregateIsFoundByItsNameAlone(t *testing.T) {
	t.Parallel()
	system := newFake()
	d := drive(t, system, 100, 30)
	d.press("g")
	d.writes("alice@example.com")
	d.press("enter")
	d.until("▸ customer alice", "3 events")
	d.press("g")
	d.writes("nobody")
	d.press("enter")
	d.until(`no domain has an aggregate "nobody"`)
	system.mu.Lock()
	system.length["order bob"] = 1
	system.mu.Unlock()
	d.press("g")
	d.writes("bob")
	d.press("enter")
	d.until(`"bob" is in customer, order`)
}

func TestTextOfOthersCannotTalkToTheTerminal(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.length["order \x1b[2Jx"] = 1
	d := drive(t, system, 120, 30)
	system.happens("order", "\x1b]0;evil\a")
	d.press("enter")
	d.until(`\x1b]0;evil\a`)
	for _, line := range d.model.draw() {
		if strings.Contains(line, "\x1b]") || strings.ContainsAny(line, "\a\n\r") {
			t.Errorf("a payload reaches the terminal: %q", line)
		}
	}
}

func TestWhatIsCopied(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 120, 30, func(o *Options) { o.Flags = []string{"--address", "prod:1"} })
	d.press("y")
	d.until("copied: angz domains --address prod:1")
	d.press("down", "enter")
	d.until("bob")
	d.press("y")
	d.until("copied: angz roots customer --address prod:1")
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5 events")
	d.press("y")
	d.until("copied: angz events order order-1 --from 4 --to 4")
	d.press("[", "[", "m", "]", "y")
	d.until("copied: angz diff order order-1 2 3")
	d.press("v", "y")
	d.until("copied: angz state order order-1 --at 3")
	d.press("t")
	d.until("loyalty")
	d.press("y")
	d.until("copied: angz trace corr-order-1")
}

func TestATraceIsFolded(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 120, 30)
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5 events")
	d.press("t")
	d.until("loyalty → customer bob")
	d.press("home", "enter")
	d.when("it is folded", func(screen string) bool {
		return strings.Contains(screen, "[3 events and 1 command folded]") && !strings.Contains(screen, "loyalty")
	})
	d.system.happens("order", "order-1") // of the same correlation: the trace is read again
	d.when("it stays folded", func(screen string) bool { return !d.model.traces.loading && strings.Contains(screen, "folded]") })
	d.press("enter")
	d.until("loyalty → customer bob")
}

func TestHelpIsLongerThanTheScreen(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 60, 20)
	d.press("?")
	d.until("Keys of streams", "the line above")
	d.press("end")
	d.until("these keys", "end")
	d.take(tea.WindowSizeMsg{Width: 120, Height: 60})
	d.until("these keys")
	d.press("q") // goes back, and ends nothing
	d.until("domains")
}
