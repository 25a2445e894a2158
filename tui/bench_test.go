package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// BenchmarkNews takes and draws what 30 ms of 2,000 events a second bring.
func BenchmarkNews(b *testing.B) {
	m := opened(b, 100)
	var news newsMsg
	for number := range uint32(60) {
		news.stored = append(news.stored, inspect.Stored{Events: []inspect.Event{eventOf("order", "order-1", number)}})
	}
	for b.Loop() {
		m.Update(news)
		m.View()
	}
}

// BenchmarkKey answers a key where the payloads are the largest that are kept.
func BenchmarkKey(b *testing.B) {
	m := opened(b, mostShown)
	keys := []tea.KeyPressMsg{keyOf("["), keyOf("]")}
	for i := 0; b.Loop(); i++ {
		m.Update(keys[i%2])
		m.View()
	}
}

// opened is a model with a page of events whose payloads have a size.
func opened(b *testing.B, size int) *model {
	m, err := newModel(b.Context(), Options{System: newFake()})
	if err != nil {
		b.Fatal(err)
	}
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	m.streams.open("order", "order-1", nil)
	var events []inspect.Event
	for number := range uint32(page) {
		event := eventOf("order", "order-1", number)
		event.Payload = []byte(`{"text":"` + strings.Repeat("a b ", size/4) + `"}`)
		event.Payload = trimmed(event.Payload)
		events = append(events, event)
	}
	m.Update(eventsMsg{number: m.streams.events.number, events: events, total: page})
	return m
}
