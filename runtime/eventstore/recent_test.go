package eventstore

import "testing"

func TestRecentKeepsItsBounds(t *testing.T) {
	t.Parallel()
	r := NewRecent()
	payload := make([]byte, 1<<16)
	for i := range uint64(3 * recentEvents) {
		event := Event{Position: i + 1, Count: 1}
		if i%100 == 0 {
			event.Payload = payload
		}
		r.Add([]Event{event})
	}
	total := 0
	for _, event := range r.events {
		total += len(event.Payload)
	}
	if len(r.events) > recentEvents || r.bytes > recentBytes || r.bytes != total {
		t.Errorf("%d events, %d bytes counted as %d", len(r.events), total, r.bytes)
	}
	r.Add([]Event{{Position: r.head.Load() + 1, Count: 1, Payload: make([]byte, 2*recentBytes)}})
	if events, ok := r.After(r.head.Load()-1, 10); !ok || len(events) != 1 {
		t.Errorf("the newest event is not kept: %d, %t", len(events), ok)
	}
	if _, ok := r.After(0, 10); ok {
		t.Error("the oldest events are said to be in memory")
	}
}

// Another process's appends move the head without their events being known here.
func TestRecentJoinsOnlyWhatContinuesIt(t *testing.T) {
	t.Parallel()
	r := NewRecent()
	if !r.Join([]Event{{Position: 1, Count: 1}}) || r.Head() != 1 {
		t.Fatal("the first event was not joined")
	}
	if r.Join([]Event{{Position: 3, Count: 1}}) || r.Head() != 1 {
		t.Error("an event was joined over a hole")
	}
	r.Reach(3)
	if _, ok := r.After(1, 10); ok || r.Head() != 3 {
		t.Error("events that are not known were given")
	}
	r.Reach(2)
	if !r.Join([]Event{{Position: 4, Count: 1}}) || r.Head() != 4 {
		t.Error("the event after the hole was not joined")
	}
	if events, ok := r.After(3, 10); !ok || len(events) != 1 {
		t.Errorf("after 3: %v, %v", events, ok)
	}
}
