package tui

import tea "charm.land/bubbletea/v2"

// pointed is a part of the screen in which one can point at something. The first
// column and line are 0.
type pointed interface {
	// click chooses what is there, or opens it when it is chosen already.
	click(x, y, width int) tea.Cmd
}

func (m *model) turnMouse() {
	if m.mouse = !m.mouse; m.mouse {
		m.say("the mouse chooses and scrolls; "+m.keys.keys["mouse"][0]+" lets it select text again", nil)
		return
	}
	m.say("the mouse selects text", nil)
}

// click acts on a press of the first button.
func (m *model) click(at tea.Mouse) tea.Cmd {
	if at.Button != tea.MouseLeft || m.prompt != nil || m.help {
		return nil
	}
	if at.Y == 0 {
		return m.clickTab(at.X)
	}
	var on pointed
	switch {
	case m.search != nil:
		on = m.search
	case m.form != nil:
		on = m.form
	default:
		on, _ = m.screens[m.current].(pointed)
	}
	if on == nil || at.Y > m.height-3 {
		return nil
	}
	return on.click(at.X, at.Y-1, m.width)
}

// clickTab goes to the screen whose name is in a column.
func (m *model) clickTab(x int) tea.Cmd {
	if m.form != nil || m.search != nil {
		return nil
	}
	from := 0
	for i, name := range m.tabs() {
		if x >= from && x < from+widthOf(name) {
			return m.show(i)
		}
		from += widthOf(name + tabSpace)
	}
	return nil
}

// wheelLines is how far the wheel goes at once.
const wheelLines = 3

// wheel moves what is under the pointer.
func (m *model) wheel(at tea.Mouse) tea.Cmd {
	did, known := map[tea.MouseButton]action{tea.MouseWheelUp: "up", tea.MouseWheelDown: "down"}[at.Button]
	if !known || m.prompt != nil {
		return nil
	}
	var commands []tea.Cmd
	for range wheelLines {
		switch {
		case m.search != nil:
			m.search.list.move(did, len(m.search.found), m.search.rows)
		case m.form != nil:
			return m.form.move(map[action]int{"up": -1, "down": 1}[did])
		case m.help:
			m.helped.move(did, m.helpRoom(), m.height-3)
		default:
			if m.current == 0 {
				m.streams.pane = m.streams.under(at.X, m.width)
			}
			commands = append(commands, m.screens[m.current].act(did))
		}
	}
	return tea.Batch(commands...)
}

// choose puts the cursor of a list on a line of it, and reports whether it was there
// already.
func (l *list) choose(line, length int) (again, ok bool) {
	if line < 0 || l.top+line >= length {
		return false, false
	}
	again = l.cursor == l.top+line
	l.cursor = l.top + line
	return again, true
}

// under returns which part of the screen a column belongs to.
func (s *streams) under(x, width int) (pane int) {
	to := 0
	for _, each := range s.columns(width) {
		pane, to = each.pane, to+each.width+1 // and the rule
		if x < to {
			break
		}
	}
	return pane
}

func (s *streams) click(x, y, width int) tea.Cmd {
	before := s.pane
	s.pane = s.under(x, width)
	switch s.pane {
	case 0:
		again, ok := s.left.choose(y-1, s.entries())
		if ok && again && before == 0 {
			return s.enter()
		}
		return s.more()
	case 1:
		if _, ok := s.events.list.choose(y-1, len(s.events.shown())); ok {
			s.events.moved()
			return s.join(s.events.around(), s.look())
		}
	}
	return nil
}

func (t *traces) click(_, y, _ int) tea.Cmd { return clickRow(&t.list, y-1, len(t.tree()), t.act) }

func (s *services) click(_, y, _ int) tea.Cmd {
	return clickRow(&s.list, y-1, len(s.topology.Components), s.act)
}

func (p *projections) click(_, y, _ int) tea.Cmd { return clickRow(&p.list, y-1, len(p.all), p.act) }

func (l *letters) click(_, y, _ int) tea.Cmd {
	if l.open != nil {
		return nil
	}
	return clickRow(&l.list, y-1, len(l.all), l.act)
}

// clickRow chooses a line, or opens it when it is chosen already.
func clickRow(l *list, line, length int, act func(action) tea.Cmd) tea.Cmd {
	if again, ok := l.choose(line, length); ok && again {
		return act("open")
	}
	return nil
}

func (s *search) click(_, y, _ int) tea.Cmd {
	if again, ok := s.list.choose(y-2, len(s.found)); ok && again {
		return s.enter()
	}
	return nil
}

func (f *form) click(_, y, _ int) tea.Cmd {
	row := f.top + (y-1)/2
	if y < 1 || row >= len(f.rows) {
		return nil
	}
	return f.move(row - f.active)
}
