package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// traces shows what a request led to, as a tree.
type traces struct {
	m           *model
	correlation string
	trace       inspect.Trace
	loading     bool
	outdated    bool // more of it was stored while it was read
	failed      error
	folded      map[place]bool
	number      int
	list        list
	rows        int
}

// place names a command by its first event: it stays the same when the trace is read
// again.
type place struct {
	domain, root string
	sequence     uint32
}

func placeOf(step *inspect.Step) place {
	first := step.Events[0]
	return place{first.Domain, first.Root, first.Sequence}
}

// row is one line of the tree: a command, or one of its events.
type row struct {
	lead  string
	step  *inspect.Step
	event *inspect.Event // nil for the command itself
}

// ask asks for a correlation.
func (t *traces) ask(correlation string) tea.Cmd {
	t.correlation, t.trace, t.loading, t.failed, t.folded, t.list = correlation, inspect.Trace{}, true, nil, map[place]bool{}, list{}
	t.number++
	return t.m.asker.trace(t.number, correlation)
}

func (t *traces) opened() tea.Cmd {
	if t.correlation == "" || t.loading {
		return nil
	}
	t.loading, t.outdated = true, false // what is there stays until the answer comes
	t.number++
	return t.m.asker.trace(t.number, t.correlation)
}

func (t *traces) hints() []string {
	return []string{"open", "go to the event, or fold", "filter", "another correlation", "copy", "copy", "back", "back"}
}

func (t *traces) actions() []action {
	return []action{"up", "down", "page-up", "page-down", "first", "last", "open", "back", "filter", "copy"}
}

func (t *traces) act(did action) tea.Cmd {
	rows := t.tree()
	if t.list.move(did, len(rows), t.rows) {
		return nil
	}
	switch did {
	case "back":
		t.m.current = 0
	case "filter":
		t.m.ask("trace the correlation", t.correlation, func(text string) tea.Cmd { return t.ask(strings.TrimSpace(text)) })
	case "copy":
		return t.m.clip("trace", t.correlation)
	case "open":
		if t.list.cursor >= len(rows) {
			return nil
		}
		chosen := rows[t.list.cursor]
		if chosen.event == nil {
			t.folded[placeOf(chosen.step)] = !t.folded[placeOf(chosen.step)]
			return nil
		}
		t.m.current = 0
		return t.m.streams.open(chosen.event.Domain, chosen.event.Name(), &chosen.event.Sequence)
	}
	return nil
}

func (t *traces) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case traceMsg:
		if message.number == t.number {
			t.loading, t.trace, t.failed = false, message.trace, message.err
			if t.outdated {
				return t.opened()
			}
		}
	case newsMsg:
		for _, stored := range message.stored {
			if len(stored.Events) == 0 || t.correlation == "" || stored.Events[0].CorrelationID != t.correlation || t.m.current != 1 {
				continue
			}
			if t.outdated = t.loading; !t.loading {
				return t.opened()
			}
		}
	}
	return nil
}

// tree lays the trace out.
func (t *traces) tree() (rows []row) {
	for _, step := range t.trace.Steps {
		rows = t.branch(rows, step, "", "")
	}
	return rows
}

// branch lays out a command and what it led to. first leads its own line, rest
// those below it.
func (t *traces) branch(rows []row, step *inspect.Step, first, rest string) []row {
	rows = append(rows, row{lead: first, step: step})
	if t.folded[placeOf(step)] {
		return rows
	}
	for i := range step.Events {
		branch, line := "├─ ", "│  "
		if i == len(step.Events)-1 {
			branch, line = "└─ ", "   "
		}
		rows = append(rows, row{lead: rest + branch, step: step, event: &step.Events[i]})
		var children []*inspect.Step
		for _, child := range step.Steps {
			if child.Cause.Sequence == step.Events[i].Sequence {
				children = append(children, child)
			}
		}
		for j, child := range children {
			inner, more := "├▶ ", "│  "
			if j == len(children)-1 {
				inner, more = "└▶ ", "   "
			}
			rows = t.branch(rows, child, rest+line+inner, rest+line+more)
		}
	}
	return rows
}

func (t *traces) lines(width, height int) []string {
	styles := t.m.styles
	switch {
	case t.correlation == "":
		return []string{styles.heading("no trace", width, true), "", "  Choose an event among the streams and press " + t.m.keys.keys["trace"][0] + "."}
	case t.loading && len(t.trace.Steps) == 0:
		return []string{styles.heading(clean(t.correlation), width, true), "  …"}
	case t.failed != nil:
		return []string{styles.heading(clean(t.correlation), width, true), "  " + styles.bad.Render(t.m.explain(t.failed))}
	}
	summary := fmt.Sprintf("%s, %s, %s", count(t.trace.Commands, "command"), count(t.trace.Events, "event"), took(t.trace.Took))
	lines := []string{styles.heading(spread(clean(t.correlation), summary, width-2), width, true)}
	if len(t.trace.Steps) == 0 {
		return append(lines, "  nothing belongs to this correlation")
	}
	rows := t.tree()
	t.rows = height - 1
	from, to := t.list.window(len(rows), t.rows)
	for i := from; i < to; i++ {
		line := t.row(rows[i])
		if i == t.list.cursor {
			line = styles.cursor.Render(fit(ansiStrip(line), width))
		}
		lines = append(lines, line)
	}
	return lines
}

func (t *traces) row(r row) string {
	styles := t.m.styles
	lead := styles.faint.Render(r.lead)
	if r.event != nil {
		payload := string(r.event.Payload[:min(len(r.event.Payload), widest)])
		return fmt.Sprintf("%s%d %s  %s", lead, r.event.Sequence, styles.name.Render(clean(r.event.ShortType())), styles.faint.Render(clean(payload)))
	}
	text := styles.title.Render(clean(r.step.Events[0].Domain + " " + r.step.Events[0].Name()))
	if r.step.Cause != nil {
		text = clean(r.step.Cause.By) + " → " + text + styles.faint.Render("  after "+took(r.step.After))
	}
	if t.folded[placeOf(r.step)] {
		text += styles.faint.Render(fmt.Sprintf("  [%s folded]", within(r.step)))
	}
	return lead + text
}

// widest is more than a line of any screen holds, in bytes.
const widest = 1_000

// within says what a folded command hides.
func within(step *inspect.Step) string {
	commands, events := -1, 0
	var add func(*inspect.Step)
	add = func(step *inspect.Step) {
		commands, events = commands+1, events+len(step.Events)
		for _, child := range step.Steps {
			add(child)
		}
	}
	add(step)
	if commands == 0 {
		return count(events, "event")
	}
	return count(events, "event") + " and " + count(commands, "command")
}
