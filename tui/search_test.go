package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestSearchFindsEverything(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, chosen string   // what is typed, and what of the first line
		then          []string // what is seen after Enter
	}{
		{"dead", "dead letters", []string{"no dead letters"}},
		{"proj", "projections", []string{"projector/receipt", "the log ends at"}},
		{"order", "order", []string{"▸ order", "order-1", "日本"}},
		{"alice", "customer alice@example.com", []string{"▸ customer alice@examp", "3 events"}},
		{"日本", "order 日本-🍵", []string{"▸ order 日本-🍵", "2 events"}},
		{"ord order-1", "order order-1", []string{"▸ order order-1", "5 events"}},
		{"loy", "loyalty", []string{"KIND", "loyalty"}},
		{"corr-something", "corr-something new", []string{"▸ corr-something new", "2 commands"}},
		{"corr-elsewhere", "corr-elsewhere", []string{"no domain has an aggregate"}},
		{"customer bob 0", "customer bob 0", []string{"▸ customer bob", "1 event"}},
	} {
		t.Run(c.typed, func(t *testing.T) {
			t.Parallel()
			d := drive(t, newFake(), 100, 30)
			d.system.happens("order", "something new")
			d.until("#12")
			d.press("ctrl+p")
			d.until("▸ search", "loyalty", "dead letters")
			d.writes(c.typed)
			d.when(c.chosen+" comes first", func(screen string) bool {
				first := strings.Split(screen, "\n")[3]
				return strings.Contains(first, " "+c.chosen)
			})
			d.press("enter")
			d.until(c.then...)
			d.when("the box is gone", func(screen string) bool { return !strings.Contains(screen, "▸ search") })
		})
	}
}

func TestSearchShowsTheEventsOfAType(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.system.happens("order", "order-1")           // Step2
	d.system.happens("customer", "something else") // Step0
	d.until("#17")
	d.press("ctrl+p")
	d.writes("step2")
	d.until("event  Step2")
	d.press("enter")
	d.until("▸ everything /step2", "Step2 order order-1")
	d.when("no other type is listed", func(screen string) bool { return !strings.Contains(screen, "Step0 customer") })
}

func TestSearchScreens(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{60, 20}, {80, 24}, {120, 40}} {
		d := drive(t, newFake(), size[0], size[1])
		d.system.happens("order", "order-1")
		d.until("#17")
		d.press("ctrl+p")
		d.until("loyalty")
		d.golden(fmt.Sprintf("search-%dx%d", size[0], size[1]))
		d.writes("or")
		d.until("go to ", "order order-1")
		d.press("down")
		d.golden(fmt.Sprintf("search-typed-%dx%d", size[0], size[1]))
		d.press("esc")
		d.until("domains")
	}
}

func TestSearchWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	system := newFake()
	d := drive(t, system, 80, 24)
	system.set(func() { system.failing = status.Error(codes.PermissionDenied, "bob may not call it") })
	d.press("ctrl+p")
	d.writes("order")
	d.until("domain  order") // what is known is found all the same
	d.press("esc")
	d.when("the box is gone", func(screen string) bool { return !strings.Contains(screen, "search: ") })
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for typed, texts := range map[string][]string{ // the best first
		"or":     {"order", "order order-1", "projector/order", "customer bob-r", ""},
		"ia":     {"ItemAdded", "pizza"},
		"ord o1": {"order order-1", "order other-order-21"},
		"ÄR":     {"ärger", "bär"},
	} {
		scores := make([]int, len(texts))
		for i, text := range texts {
			score, _, ok := match(typed, text)
			if ok == (text == "") {
				t.Errorf("%q in %q: %v", typed, text, ok)
			}
			if scores[i] = score; !ok {
				scores[i] = -1000
			}
		}
		if !slices.IsSortedFunc(scores, func(a, b int) int { return b - a }) {
			t.Errorf("%q: %v are worth %v", typed, texts, scores)
		}
	}
	if _, at, ok := match("ia", "ItemAdded"); !ok || !slices.Equal(at, []int{0, 4}) {
		t.Errorf("ia is at %v", at)
	}
	if _, _, ok := match("oi", "io"); ok {
		t.Error("the order does not matter")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("or 1", "order-1")
	f.Add("日 \x00", "日本\xff")
	f.Fuzz(func(t *testing.T, typed, text string) {
		_, at, ok := match(typed, text)
		letters := []rune(text)
		for _, place := range at {
			if !ok || place < 0 || place >= len(letters) {
				t.Fatalf("%q in %q: %v at %v", typed, text, ok, at)
			}
		}
		if _, _, itself := match(text, text); !itself {
			t.Errorf("%q is not found in itself", text)
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	m, err := newModel(b.Context(), Options{System: newFake()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range uint32(mostKept) {
		m.streams.events.log = append(m.streams.events.log, eventOf("order", fmt.Sprintf("order-%d", i), i))
	}
	m.openSearch()
	for b.Loop() {
		m.search.input.SetValue("order-1999")
		m.search.typed("")
	}
}
