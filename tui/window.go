package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// mostKept bounds how many events are in memory, of an aggregate that may have
// millions.
const mostKept = 2_000

// window is a part of the events of one aggregate, or of the newest ones of the
// whole system.
type window struct {
	m          *model
	everything bool
	domain, id string
	root       string
	events     []inspect.Event // without gaps, when they are of an aggregate
	total      uint32          // events that the aggregate has
	filter     string
	follow     bool    // the cursor stays at the newest event
	wanted     *uint32 // the number of the event to choose when it is there
	loading    bool
	number     int // of the newest question
	list       list
	rows       int
	log        []inspect.Event // the newest events of the system
}

// open asks for the newest events of an aggregate, or those around a number.
func (w *window) open(domain, id string, around *uint32) tea.Cmd {
	w.everything, w.domain, w.id, w.root, w.filter = false, domain, id, "", ""
	w.events, w.total, w.list, w.loading, w.follow = nil, 0, list{}, true, around == nil
	w.wanted = around
	w.number++
	return w.m.newest(w.number, domain, id, around)
}

func (w *window) showEverything() {
	w.everything, w.filter, w.follow, w.events, w.loading = true, "", true, nil, false
	w.number++
	w.list.cursor = len(w.log)
}

func (w *window) setFilter(text string) {
	w.filter = strings.ToLower(text)
	w.list = list{cursor: max(0, len(w.shown())-1)}
}

// shown returns the events that the filter leaves.
func (w *window) shown() []inspect.Event {
	events := w.events
	if w.everything {
		events = w.log
	}
	if w.filter == "" {
		return events
	}
	var left []inspect.Event
	for _, event := range events {
		if strings.Contains(strings.ToLower(event.Type+" "+event.Name()+" "+string(event.Payload)), w.filter) {
			left = append(left, event)
		}
	}
	return left
}

func (w *window) chosen() (inspect.Event, bool) {
	shown := w.shown()
	if len(shown) == 0 {
		return inspect.Event{}, false
	}
	w.list.keep(len(shown))
	return shown[w.list.cursor], true
}

// moved notes where the cursor was put.
func (w *window) moved() { w.follow = w.list.cursor >= len(w.shown())-1 }

func (w *window) atEnd() bool { return w.follow }

// complete reports whether the newest event is in the window.
func (w *window) complete() bool {
	return w.everything || len(w.events) > 0 && w.events[len(w.events)-1].Sequence+1 >= w.total
}

// around asks for more events when the cursor comes near an end of the window.
func (w *window) around() tea.Cmd {
	if w.everything || w.loading || w.filter != "" || len(w.events) == 0 {
		return nil
	}
	first, last := w.events[0].Sequence, w.events[len(w.events)-1].Sequence
	switch {
	case w.list.cursor < w.rows && first > 0:
		w.loading = true
		return w.m.more(w.number, w.domain, w.id, first-min(first, page), first-1, before)
	case w.list.cursor > len(w.events)-w.rows && !w.complete():
		w.loading = true
		return w.m.more(w.number, w.domain, w.id, last+1, last+page, after)
	}
	return nil
}

// gap asks for events that are known to be there and did not come by themselves.
func (w *window) gap() tea.Cmd {
	if w.everything || w.loading || !w.follow || len(w.events) == 0 || w.complete() {
		return nil
	}
	last := w.events[len(w.events)-1].Sequence
	w.loading = true
	return w.m.more(w.number, w.domain, w.id, last+1, last+page, after)
}

// toEnd goes to the newest event and stays there.
func (w *window) toEnd() tea.Cmd {
	if !w.complete() {
		return w.open(w.domain, w.id, nil)
	}
	w.follow = true
	w.list.cursor = len(w.shown()) - 1
	return nil
}

// toStart goes to the first event.
func (w *window) toStart() tea.Cmd {
	if !w.everything && len(w.events) > 0 && w.events[0].Sequence > 0 {
		zero := uint32(0)
		return w.open(w.domain, w.id, &zero)
	}
	w.list.cursor, w.follow = 0, len(w.shown()) <= 1
	return nil
}

// take puts an answer into the window. It reports whether another event may be
// chosen now.
func (w *window) take(message eventsMsg) bool {
	if message.number != w.number || w.everything {
		return false
	}
	w.loading = false
	if message.err != nil {
		w.m.say("", message.err)
		return false
	}
	switch message.side {
	case instead:
		w.events, w.total = message.events, message.total
		w.list.cursor = len(w.events) - 1
		for i, event := range w.events {
			if w.wanted != nil && event.Sequence == *w.wanted {
				w.list.cursor = i
			}
		}
	case before:
		w.events = append(message.events, w.events...)
		w.list.cursor += len(message.events)
		w.list.top += len(message.events)
		w.events = w.events[:min(len(w.events), mostKept)]
	case after:
		w.add(message.events)
	}
	if len(w.events) > 0 {
		w.root = w.events[0].Root
	}
	return true
}

// add adds what comes next in the aggregate.
func (w *window) add(events []inspect.Event) {
	for _, event := range events {
		w.total = max(w.total, event.Sequence+1)
		if len(w.events) == 0 || event.Sequence == w.events[len(w.events)-1].Sequence+1 {
			w.events = append(w.events, event)
		}
	}
	if over := len(w.events) - mostKept; over > 0 {
		w.events = append([]inspect.Event(nil), w.events[over:]...)
		w.list.cursor, w.list.top = w.list.cursor-over, w.list.top-over
	}
	if w.follow {
		w.list.cursor = len(w.shown()) - 1
	}
}

// news takes what was stored just now, and reports whether any of it is shown.
func (w *window) news(message newsMsg) (shown bool) {
	var own []inspect.Event
	for _, stored := range message.stored {
		for _, event := range stored.Events {
			w.log = append(w.log, event)
			if !w.everything && event.Domain == w.domain && (event.Root == w.root || event.AggregateID != "" && event.AggregateID == w.id) {
				own = append(own, event)
			}
		}
	}
	over := len(w.log) - mostKept
	if over > 0 {
		w.log = append([]inspect.Event(nil), w.log[over:]...)
	}
	if !w.everything {
		if len(own) > 0 && !w.loading {
			w.root = own[0].Root
			w.add(own)
		}
		return len(own) > 0
	}
	if over > 0 {
		w.list.cursor, w.list.top = w.list.cursor-over, w.list.top-over
	}
	if w.follow {
		w.list.cursor = len(w.shown()) - 1
	}
	w.list.keep(len(w.shown()))
	return len(message.stored) > 0
}

func (w *window) emptiness() string {
	switch {
	case w.loading:
		return "…"
	case w.filter != "":
		return "no event has this text"
	case w.everything:
		return "nothing has happened yet"
	}
	return "no events yet"
}

// roomForTime is how wide a line has to be to tell the time as well.
const roomForTime = 25

// line draws one event.
func (w *window) line(event inspect.Event, width int) string {
	at := ""
	if !event.CreatedAt.IsZero() {
		at = event.CreatedAt.Local().Format("15:04:05")
	}
	text := fmt.Sprintf("%5d %s", event.Sequence, clean(event.ShortType()))
	if w.everything {
		text = fmt.Sprintf(" %s %s %s", clean(event.ShortType()), clean(event.Domain), clean(event.Name()))
	}
	if width < roomForTime {
		return fit(text, width)
	}
	return spread(text, at, width)
}
