package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
)

// detail shows one event and what it changed.
type detail struct {
	m       *model
	event   *inspect.Event
	marked  *inspect.Event // what events are compared with; nil for the one before
	whole   bool           // the whole state instead of what changed
	number  int            // of the newest question
	states  *statesMsg     // the answer; nil while there is none
	top     int
	rows    int
	length  int
	noState map[string]string // aggregates whose state nobody knows, and why
	drawn   drawing
}

// drawing is what was drawn last: laying out a payload takes longer than a screen
// should.
type drawing struct {
	event  *inspect.Event
	states *statesMsg
	marked *inspect.Event
	whole  bool
	ago    string
	width  int
	body   []string
}

// whose names an event's aggregate.
func whose(event *inspect.Event) string { return event.Domain + " " + event.Root }

func (d *detail) clear() { d.event, d.states, d.top = nil, nil, 0 }

// show shows an event and asks for its state in a moment.
func (d *detail) show(event inspect.Event) tea.Cmd {
	if d.event != nil && same(*d.event, event) {
		return nil
	}
	d.event, d.states, d.top = &event, nil, 0
	return d.again()
}

// again asks for the state of the event that is shown.
func (d *detail) again() tea.Cmd {
	d.number++
	number := d.number
	if d.event == nil || d.noState[whose(d.event)] != "" {
		return nil
	}
	return tea.Tick(pause, func(time.Time) tea.Msg { return lookMsg{number} })
}

// ask asks for the states, if the same event is still shown.
func (d *detail) ask(message lookMsg) tea.Cmd {
	if message.number != d.number || d.event == nil {
		return nil
	}
	return d.m.states(d.number, d.event.Domain, d.event.Name(), d.event.Sequence, d.earlierThan(*d.event))
}

// earlierThan returns the number of the event to compare one with; nil for none.
func (d *detail) earlierThan(event inspect.Event) *uint32 {
	if d.marked != nil && d.marked.Root == event.Root && d.marked.Domain == event.Domain {
		return &d.marked.Sequence
	}
	if event.Sequence == 0 {
		return nil
	}
	number := event.Sequence - 1
	return &number
}

func (d *detail) take(message statesMsg) {
	if message.number != d.number || d.event == nil {
		return
	}
	d.states = &message
	if code := status.Code(message.err); code == codes.FailedPrecondition || code == codes.Unimplemented {
		if d.noState == nil {
			d.noState = map[string]string{}
		}
		d.noState[whose(d.event)] = status.Convert(message.err).Message()
	}
}

func (d *detail) scroll(did action) {
	l := list{cursor: d.top}
	if l.move(did, max(1, d.length-d.rows+1), d.rows) {
		d.top = l.cursor
	}
}

func (d *detail) lines(width, height int, active bool) []string {
	styles := d.m.styles
	if d.event == nil {
		return column([]string{styles.heading("event", width, active)}, width, height)
	}
	want := drawing{event: d.event, states: d.states, marked: d.marked, whole: d.whole, ago: ago(d.event.CreatedAt, d.m.now()), width: width}
	if have := d.drawn; have.event != want.event || have.states != want.states || have.marked != want.marked || have.whole != want.whole || have.ago != want.ago || have.width != want.width {
		want.body = append(d.eventLines(want), d.stateLines(width)...)
		d.drawn = want
	}
	body := d.drawn.body
	d.rows, d.length = height-1, len(body)
	d.top = max(0, min(d.top, d.length-d.rows))
	lines := []string{styles.heading(fmt.Sprintf("%s %d", clean(d.event.ShortType()), d.event.Sequence), width, active)}
	return column(append(lines, body[d.top:min(d.length, d.top+d.rows)]...), width, height)
}

// eventLines tells everything about the event itself.
func (d *detail) eventLines(want drawing) (lines []string) {
	styles, event := d.m.styles, d.event
	lines = append(lines, styles.faint.Render(clean(event.Type)))
	if !event.CreatedAt.IsZero() {
		lines = append(lines, styles.faint.Render(event.CreatedAt.Local().Format("2006-01-02 15:04:05.000")+" · "+want.ago))
	}
	lines = append(lines, styles.faint.Render(clean(event.Domain+" "+event.Name())), styles.faint.Render("corr "+clean(event.CorrelationID)), "")
	if !event.Decoded {
		lines = append(lines, painted(styles.warn, "the type is not known here: raw bytes", want.width)...)
	}
	return append(append(lines, styles.block(event.Payload, want.width)...), "")
}

// stateLines tells what the event changed, or the whole state.
func (d *detail) stateLines(width int) []string {
	styles := d.m.styles
	switch {
	case d.noState[whose(d.event)] != "":
		return painted(styles.faint, "no state: "+clean(d.noState[whose(d.event)]), width)
	case d.states == nil:
		return []string{styles.faint.Render("state …")}
	case d.states.err != nil:
		return painted(styles.bad, "no state: "+d.m.explain(d.states.err), width)
	}
	now := d.states.now
	if d.whole {
		title := fmt.Sprintf("state after %d", now.Sequence)
		if now.Snapshot {
			title += ", from a snapshot"
		}
		return append([]string{styles.title.Render(title)}, styles.block(now.JSON, width)...)
	}
	return d.changes(width)
}

// mostChanges bounds how many differences are listed.
const mostChanges = 1_000

func (d *detail) changes(width int) []string {
	styles, changes := d.m.styles, d.states.changes
	title := "changed the state"
	if earlier := d.earlierThan(*d.event); d.marked != nil && earlier != nil {
		title = fmt.Sprintf("state since %d", *earlier)
	}
	lines := []string{styles.title.Render(title)}
	if len(changes) == 0 {
		return append(lines, styles.faint.Render("in nothing"))
	}
	for _, change := range changes[:min(len(changes), mostChanges)] {
		path := change.Path
		if path == "" {
			path = "state"
		}
		if change.Before != nil {
			lines = append(lines, painted(styles.bad.UnsetBold(), "- "+clean(path+": "+string(change.Before)), width)...)
		}
		if change.After != nil {
			lines = append(lines, painted(styles.good, "+ "+clean(path+": "+string(change.After)), width)...)
		}
	}
	if more := len(changes) - mostChanges; more > 0 {
		lines = append(lines, styles.warn.Render(fmt.Sprintf("and %d more", more)))
	}
	return lines
}

// painted breaks a text into lines of a width and paints each.
func painted(style lipgloss.Style, text string, width int) (lines []string) {
	for line := range strings.SplitSeq(ansi.Hardwrap(text, max(1, width), true), "\n") {
		lines = append(lines, style.Render(line))
	}
	return lines
}
