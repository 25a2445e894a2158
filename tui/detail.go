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
	noState map[string]string // domains whose services cannot replay, and what they say
}

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
	if d.event == nil || d.noState[d.event.Domain] != "" {
		return nil
	}
	return tea.Tick(pause, func(time.Time) tea.Msg { return lookMsg{number} })
}

// ask asks for the states, if the same event is still shown.
func (d *detail) ask(message lookMsg) tea.Cmd {
	if message.number != d.number || d.event == nil {
		return nil
	}
	return d.m.states(d.number, d.event.Domain, d.event.Name(), d.event.Sequence, d.earlier())
}

// earlier returns the number of the event to compare with.
func (d *detail) earlier() *uint32 {
	if d.marked != nil && d.marked.Root == d.event.Root && d.marked.Domain == d.event.Domain {
		return &d.marked.Sequence
	}
	if d.event.Sequence == 0 {
		return nil
	}
	number := d.event.Sequence - 1
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
		d.noState[d.event.Domain] = status.Convert(message.err).Message()
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
	event := d.event
	lines := []string{styles.heading(fmt.Sprintf("%s %d", clean(event.ShortType()), event.Sequence), width, active)}
	var body []string
	body = append(body, styles.faint.Render(clean(event.Type)))
	if !event.CreatedAt.IsZero() {
		body = append(body, styles.faint.Render(event.CreatedAt.Local().Format("2006-01-02 15:04:05.000")+" · "+ago(event.CreatedAt, d.m.now())))
	}
	body = append(body, styles.faint.Render(clean(event.Domain+" "+event.Name())), styles.faint.Render("corr "+clean(event.CorrelationID)), "")
	if !event.Decoded {
		body = append(body, styles.warn.Render("the type is not known here: raw bytes"))
	}
	for _, line := range pretty(event.Payload) {
		body = append(body, styles.colored(line))
	}
	body = append(body, "")
	body = append(body, d.stateLines(width)...)
	d.rows, d.length = height-1, len(body)
	d.top = max(0, min(d.top, d.length-d.rows))
	return column(append(lines, body[d.top:]...), width, height)
}

// stateLines tells what the event changed, or the whole state.
func (d *detail) stateLines(width int) []string {
	styles := d.m.styles
	switch {
	case d.noState[d.event.Domain] != "":
		return painted(styles.faint, "no state: "+clean(d.noState[d.event.Domain]), width)
	case d.states == nil:
		return []string{styles.faint.Render("state …")}
	case d.states.err != nil:
		return painted(styles.bad, "no state: "+d.m.explain(d.states.err), width)
	}
	now := d.states.now
	if d.whole {
		lines := []string{styles.title.Render(fmt.Sprintf("state after %d", now.Sequence))}
		for _, line := range pretty(now.JSON) {
			lines = append(lines, styles.colored(line))
		}
		return lines
	}
	return d.changes(width)
}

func (d *detail) changes(width int) []string {
	styles := d.m.styles
	title := "changed the state"
	if earlier := d.earlier(); d.marked != nil && earlier != nil {
		title = fmt.Sprintf("state since %d", *earlier)
	}
	lines := []string{styles.title.Render(title)}
	changes, err := inspect.Diff(d.states.earlier.JSON, d.states.now.JSON)
	switch {
	case err != nil:
		return append(lines, styles.bad.Render(clean(err.Error())))
	case len(changes) == 0:
		return append(lines, styles.faint.Render("in nothing"))
	}
	for _, change := range changes {
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
	return lines
}

// painted breaks a text into lines of a width and paints each.
func painted(style lipgloss.Style, text string, width int) (lines []string) {
	for line := range strings.SplitSeq(ansi.Hardwrap(text[:min(len(text), mostShown)], width, true), "\n") {
		lines = append(lines, style.Render(line))
	}
	return lines
}
