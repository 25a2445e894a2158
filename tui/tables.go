package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// table lays rows out in columns as wide as what they hold; the first row is the
// heading. The last column takes what is left.
func (s styles) table(rows [][]string, width, height int, l *list, active bool) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], widthOf(cell))
		}
	}
	line := func(row []string) string {
		var text strings.Builder
		text.WriteString(" ")
		for i, cell := range row {
			if i == len(row)-1 {
				text.WriteString(cell)
				break
			}
			text.WriteString(fit(cell, widths[i]) + "  ")
		}
		return text.String()
	}
	lines := []string{s.faint.Render(fit(line(rows[0]), width))}
	from, to := l.window(len(rows)-1, height-1)
	for i := from; i < to; i++ {
		drawn := line(rows[i+1])
		if i == l.cursor {
			drawn = s.pointer(drawn, width, active)
		}
		lines = append(lines, drawn)
	}
	return lines
}

// services shows what the system is made of.
type services struct {
	m        *model
	topology inspect.Topology
	failed   error
	asked    bool
	list     list
	rows     int
}

func (s *services) opened() tea.Cmd   { return s.m.topology() }
func (s *services) hints() []string   { return []string{"refresh", "again", "copy", "copy"} }
func (s *services) actions() []action { return []action{"up", "down", "page-up", "page-down", "copy"} }

func (s *services) act(did action) tea.Cmd {
	if s.list.move(did, len(s.topology.Components), s.rows) || did != "copy" {
		return nil
	}
	return s.m.clip("topology")
}

func (s *services) take(message tea.Msg) tea.Cmd {
	if message, ok := message.(topologyMsg); ok {
		s.asked, s.failed = true, message.err
		if message.err == nil {
			s.topology = message.topology
		}
	}
	return nil
}

func (s *services) lines(width, height int) []string {
	switch {
	case s.failed != nil:
		return []string{s.m.styles.bad.Render(s.m.explain(s.failed))}
	case !s.asked:
		return []string{"  …"}
	}
	rows := [][]string{{"KIND", "NAME", "EVENTS OF", "COMMANDS TO", "ADDRESS"}}
	for _, c := range s.topology.Components {
		rows = append(rows, []string{c.Kind, clean(c.Name), clean(strings.Join(c.From, ", ")), clean(strings.Join(c.To, ", ")), clean(c.Address)})
	}
	s.rows = height - 3
	lines := s.m.styles.table(rows, width, s.rows, &s.list, true)
	return append(lines, "", s.m.styles.faint.Render(fmt.Sprintf(" events are kept in %s and carried by %s", clean(s.topology.Store), clean(s.topology.Bus))))
}

// again is when what nobody tells by itself is asked for once more, while it is on
// the screen.
const again = time.Second

// tickMsg asks whether a screen still wants to be kept up to date.
type tickMsg struct{ screen int }

func tick(screen int) tea.Cmd {
	return tea.Tick(again, func(time.Time) tea.Msg { return tickMsg{screen} })
}

// projections shows how far every component has come, lets them rest, and has read
// models made anew.
type projections struct {
	m       *model
	list    list
	rows    int
	all     []inspect.Progress
	failed  error
	asked   bool
	ticking bool
}

const servicesScreen, projectionsScreen, lettersScreen = 2, 3, 4

func (p *projections) opened() tea.Cmd { return p.m.progress() }
func (p *projections) hints() []string {
	return []string{"pause", "pause or resume", "rebuild", "rebuild", "copy", "copy", "letters", "dead letters"}
}
func (p *projections) actions() []action {
	return []action{"up", "down", "page-up", "page-down", "pause", "rebuild", "copy"}
}

func (p *projections) act(did action) tea.Cmd {
	if p.list.move(did, len(p.all), p.rows) {
		return nil
	}
	if did == "copy" {
		return p.m.clip("projections")
	}
	if len(p.all) == 0 {
		return nil
	}
	p.list.keep(len(p.all))
	switch chosen := p.all[p.list.cursor]; {
	case did == "pause" && p.m.changes("pausing") && chosen.Paused:
		return p.m.resume(chosen.Name)
	case did == "pause" && p.m.changes("pausing"):
		p.m.ask("pause "+clean(chosen.Name)+" because", "", func(note string) tea.Cmd { return p.m.asker.pause(chosen.Name, note) })
	case did == "rebuild" && p.m.changes("rebuilding"):
		p.m.ask("clear the read model of "+clean(chosen.Name)+" away and make it anew because", "", func(note string) tea.Cmd {
			if strings.TrimSpace(note) == "" {
				p.m.say("", fmt.Errorf("making a read model anew needs a reason"))
				return nil
			}
			return p.m.rebuild(chosen.Name, note)
		})
	}
	return nil
}

func (p *projections) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case progressMsg:
		p.asked, p.failed = true, message.err
		if message.err == nil {
			p.all = message.list
		}
		if p.m.current == projectionsScreen && !p.ticking {
			p.ticking = true
			return tick(projectionsScreen)
		}
	case tickMsg:
		if message.screen == projectionsScreen {
			if p.ticking = false; p.m.current == projectionsScreen {
				return p.m.progress()
			}
		}
	}
	return nil
}

func (p *projections) lines(width, height int) []string {
	styles := p.m.styles
	switch {
	case p.failed != nil:
		return []string{styles.bad.Render(p.m.explain(p.failed))}
	case !p.asked:
		return []string{"  …"}
	case len(p.all) == 0:
		return []string{"  no component has begun yet"}
	}
	rows := [][]string{{"COMPONENT", "STATE", "POSITION", "LAG", "", "UPDATED", "HELD"}}
	for _, each := range p.all {
		rows = append(rows, []string{
			clean(each.Name), each.State(), fmt.Sprint(each.Position), short(each.Lag), bar(each.Position, each.Head), ago(each.UpdatedAt, p.m.now()), fmt.Sprintf("%d/%d", each.Held, each.Slices),
		})
	}
	p.rows = height - 4
	lines := styles.table(rows, width, p.rows, &p.list, true)
	lines = append(lines, styles.faint.Render(fmt.Sprintf(" the log ends at %d", p.all[0].Head)))
	p.list.keep(len(p.all))
	chosen := p.all[p.list.cursor]
	if chosen.Note != "" {
		lines = append(lines, styles.faint.Render(" "+clean(chosen.Note)))
	}
	if chosen.Failed != "" {
		lines = append(lines, styles.bad.Render(" its events do not come again: "+clean(chosen.Failed)))
	}
	return lines
}

// bar draws how much of the log is done.
func bar(position, head uint64) string {
	const width = 10
	done := width
	if head > 0 {
		done = int(min(position, head) * width / head)
	}
	return strings.Repeat("█", done) + strings.Repeat("░", width-done)
}

// letters shows dead letters and has them decided about.
type letters struct {
	m       *model
	list    list
	rows    int
	all     []inspect.DeadLetter
	cut     bool
	failed  error
	asked   bool
	ticking bool
	open    *inspect.DeadLetter // the one that is shown with its events
	top     int
}

func (l *letters) opened() tea.Cmd { return l.m.asker.letters() }

func (l *letters) hints() []string {
	if l.open != nil {
		return []string{"retry", "retry", "skip", "skip", "trace", "trace", "copy", "copy", "back", "back"}
	}
	return []string{"open", "open", "retry", "retry", "skip", "skip", "copy", "copy"}
}

func (l *letters) actions() []action {
	return []action{"up", "down", "page-up", "page-down", "first", "last", "open", "back", "retry", "skip", "trace", "copy"}
}

// chosen returns the dead letter that is shown or pointed at.
func (l *letters) chosen() (inspect.DeadLetter, bool) {
	if l.open != nil {
		return *l.open, true
	}
	if len(l.all) == 0 {
		return inspect.DeadLetter{}, false
	}
	l.list.keep(len(l.all))
	return l.all[l.list.cursor], true
}

func (l *letters) act(did action) tea.Cmd {
	if did == "back" {
		l.open = nil
		return nil
	}
	if l.open != nil {
		at := list{cursor: l.top}
		if at.move(did, 10_000, l.rows) {
			l.top = at.cursor
			return nil
		}
	} else if l.list.move(did, len(l.all), l.rows) {
		return nil
	}
	letter, ok := l.chosen()
	if !ok {
		return nil
	}
	switch did {
	case "open":
		return l.m.letter(letter.Component, letter.Position)
	case "trace":
		l.m.current = 1
		return l.m.traces.ask(letter.CorrelationID)
	case "copy":
		return l.m.clip("dlq", "show", letter.Component, fmt.Sprint(letter.Position))
	case "retry":
		if l.m.changes("retrying") {
			return l.m.retry(letter)
		}
	case "skip":
		if l.m.changes("skipping") {
			l.m.ask("skip "+clean(letter.Place())+" because", "", func(note string) tea.Cmd {
				if strings.TrimSpace(note) == "" {
					l.m.say("", fmt.Errorf("skipping needs a reason"))
					return nil
				}
				l.open = nil
				return l.m.skip(letter, note)
			})
		}
	}
	return nil
}

func (l *letters) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case lettersMsg:
		l.asked, l.failed = true, message.err
		if message.err == nil {
			l.all, l.cut = message.letters, message.more
		}
		if l.m.current == lettersScreen && !l.ticking {
			l.ticking = true
			return tick(lettersScreen)
		}
	case letterMsg:
		if message.err != nil {
			l.m.say("", message.err)
			return nil
		}
		l.open, l.top = &message.letter, 0
	case tickMsg:
		if message.screen == lettersScreen {
			if l.ticking = false; l.m.current == lettersScreen {
				return l.m.asker.letters()
			}
		}
	}
	return nil
}

func (l *letters) lines(width, height int) []string {
	styles := l.m.styles
	l.rows = height - 2
	switch {
	case l.failed != nil:
		return []string{styles.bad.Render(l.m.explain(l.failed))}
	case !l.asked:
		return []string{"  …"}
	case l.open != nil:
		return l.letterLines(width, height)
	case len(l.all) == 0:
		return []string{"", "  no dead letters"}
	}
	rows := [][]string{{"COMPONENT", "POSITION", "STATE", "AGGREGATE", "EVENT", "TRIED", "LAST", "REASON"}}
	for _, letter := range l.all {
		rows = append(rows, []string{
			clean(letter.Component), fmt.Sprint(letter.Position), string(letter.State), clean(letter.Domain + " " + letter.Name()), fmt.Sprintf("%d %s", letter.Sequence, clean(letter.ShortType())),
			fmt.Sprint(letter.Attempts), ago(letter.LastAt, l.m.now()), clean(strings.SplitN(letter.Reason, "\n", 2)[0]),
		})
	}
	lines := styles.table(rows, width, l.rows, &l.list, true)
	if l.cut {
		lines = append(lines, styles.warn.Render(fmt.Sprintf(" these are the first %d", mostLetters)))
	}
	return lines
}

func (l *letters) letterLines(width, height int) []string {
	styles, letter := l.m.styles, l.open
	lines := []string{styles.heading(clean(letter.Place())+"  "+string(letter.State), width, true)}
	body := []string{
		" aggregate    " + clean(letter.Domain+" "+letter.Name()),
		" correlation  " + clean(letter.CorrelationID),
		fmt.Sprintf(" tried        %s, last %s ago", count(letter.Attempts, "time"), ago(letter.LastAt, l.m.now())),
	}
	for i, line := range strings.Split(letter.Reason, "\n") {
		label := "             "
		if i == 0 {
			label = " reason       "
		}
		body = append(body, label+styles.bad.UnsetBold().Render(clean(line)))
	}
	if letter.Note != "" {
		body = append(body, " note         "+clean(letter.Note))
	}
	for _, event := range letter.Events {
		body = append(body, "", styles.title.Render(fmt.Sprintf(" %d %s", event.Sequence, clean(event.ShortType()))))
		for _, line := range pretty(event.Payload) {
			body = append(body, " "+styles.colored(line))
		}
	}
	l.top = max(0, min(l.top, len(body)-(height-1)))
	return append(lines, body[l.top:]...)
}
