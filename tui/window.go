package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// mostKept and mostBytes bound how many events are in memory, of an aggregate that
// may have millions, and how large ones.
const (
	mostKept  = 2_000
	mostBytes = 24 << 20 // of payloads; a page of the largest ones that are kept needs half
)

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
	left       []inspect.Event // those that the filter leaves, when it is known
	known      bool
}

// beyond returns how many events at one end, the first ones or else the last ones,
// are too many to be kept.
func beyond(events []inspect.Event, first bool) int {
	size := 0
	for i := range events {
		at := i
		if first {
			at = len(events) - 1 - i
		}
		if size += len(events[at].Payload); i >= mostKept || i >= page && size > mostBytes {
			return len(events) - i
		}
	}
	return 0
}

// steady changes the events with the cursor staying at the event where it is, or
// at the newest one.
func (w *window) steady(change func()) {
	chosen, any := w.chosen()
	above := w.list.cursor - w.list.top
	change()
	w.known = false
	shown := w.shown()
	w.list.keep(len(shown))
	if w.follow {
		w.list.cursor = max(0, len(shown)-1)
		return
	}
	at := slices.IndexFunc(shown, func(event inspect.Event) bool { return any && same(event, chosen) })
	if at >= 0 {
		w.list.cursor, w.list.top = at, at-above
	}
}

// open asks for the newest events of an aggregate, or those around a number.
func (w *window) open(domain, id string, around *uint32) tea.Cmd {
	w.everything, w.domain, w.id, w.root, w.filter = false, domain, id, "", ""
	w.events, w.total, w.list, w.loading, w.follow, w.known = nil, 0, list{}, true, around == nil, false
	w.wanted = around
	w.number++
	return w.m.newest(w.number, domain, id, around)
}

func (w *window) showEverything() {
	w.everything, w.filter, w.follow, w.events, w.loading, w.known = true, "", true, nil, false, false
	w.number++
	w.list.cursor = len(w.log)
}

func (w *window) setFilter(text string) tea.Cmd {
	w.follow = false
	w.steady(func() { w.filter = strings.ToLower(text) })
	w.list.top = w.list.cursor - w.rows/2 // with what is around it
	w.moved()
	return w.search()
}

// search reads on backwards while the filter leaves little, as far as events are
// kept.
func (w *window) search() tea.Cmd {
	if w.filter == "" || len(w.shown()) >= w.rows || len(w.events)+page > mostKept || beyond(w.events, false) > 0 {
		return nil
	}
	return w.around()
}

// searched says which events the filter was applied to, when not to all of them.
func (w *window) searched() string {
	if w.everything || len(w.events) == 0 || len(w.events) == int(w.total) {
		return ""
	}
	return fmt.Sprintf("in %d–%d", w.events[0].Sequence, w.events[len(w.events)-1].Sequence)
}

// shown returns the events that the filter leaves.
func (w *window) shown() []inspect.Event {
	events := w.events
	if w.everything {
		events = w.log
	}
	switch {
	case w.filter == "":
		return events
	case w.known:
		return w.left
	}
	w.left, w.known = nil, true
	for _, event := range events {
		if strings.Contains(strings.ToLower(event.Type+" "+event.Name()+" "+string(event.Payload)), w.filter) {
			w.left = append(w.left, event)
		}
	}
	return w.left
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
	if w.everything || w.loading || len(w.events) == 0 {
		return nil
	}
	first, last := w.events[0].Sequence, w.events[len(w.events)-1].Sequence
	switch {
	case w.list.cursor < w.rows && first > 0:
		w.loading = true
		return w.m.more(w.number, w.domain, w.id, first-min(first, page), first-1, before)
	case w.list.cursor > len(w.shown())-w.rows && !w.complete():
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
		w.known = false
	case before:
		w.steady(func() {
			w.events = append(message.events, w.events...)
			w.events = slices.Clip(w.events[:len(w.events)-beyond(w.events, false)])
		})
	case after:
		w.add(message.events)
	case nowhere:
		w.total = max(w.total, message.total)
		return false
	}
	if len(w.events) > 0 {
		w.root = w.events[0].Root
	}
	return true
}

// add adds what comes next in the aggregate.
func (w *window) add(events []inspect.Event) {
	w.steady(func() {
		for _, event := range events {
			w.total = max(w.total, event.Sequence+1)
			if len(w.events) == 0 && event.Sequence == 0 || len(w.events) > 0 && event.Sequence == w.events[len(w.events)-1].Sequence+1 {
				w.events = append(w.events, event)
			}
		}
		w.events = slices.Clone(w.events[beyond(w.events, true):])
	})
}

// news takes what was stored just now, and reports whether any of it is shown.
func (w *window) news(message newsMsg) (shown bool) {
	var all, own []inspect.Event
	for _, stored := range message.stored {
		for _, event := range stored.Events {
			all = append(all, event)
			if w.has(event) {
				own = append(own, event)
				w.total = max(w.total, event.Sequence+1)
			}
		}
	}
	take := func() {
		w.log = append(w.log, all...)
		w.log = slices.Clone(w.log[beyond(w.log, true):])
	}
	if w.everything {
		if len(all) > 0 {
			w.steady(take)
		}
		return len(all) > 0
	}
	take()
	if len(own) > 0 && !w.loading {
		w.root = own[0].Root
		w.add(own)
	}
	return len(own) > 0
}

// has reports whether an event is of the aggregate that is shown.
func (w *window) has(event inspect.Event) bool {
	return !w.everything && event.Domain == w.domain &&
		(event.Root == w.root || event.Root == w.id || event.AggregateID != "" && event.AggregateID == w.id)
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
