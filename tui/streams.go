package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// streams shows domains and their aggregates at the left, the events of one of
// them in the middle, and one event at the right.
type streams struct {
	m    *model
	pane int // 0 the left, 1 the middle, 2 the right

	domains  []inspect.Domain
	asked    bool // the domains were answered
	domain   string
	found    []inspect.Summary // of the domain, as far as they have been read
	places   map[string]int    // where among them one is, by root
	next     string            // where the next page of them begins
	loading  bool
	eager    bool // what is chosen is to be opened as soon as it is there
	prefix   string
	order    inspect.Order
	number   int // of the newest question about aggregates
	left     list
	leftRows int

	counting bool // the domains are asked for, or were a moment ago
	outdated bool // what is counted is not right any more

	events  window
	detail  detail
	history []sentCommand // of the send form
}

func newStreams(m *model) *streams {
	s := &streams{m: m}
	s.events.m, s.detail.m = m, m
	s.events.everything, s.events.follow = true, true
	return s
}

func (s *streams) opened() tea.Cmd { return nil }

func (s *streams) hints() []string {
	switch s.pane {
	case 1, 2:
		return []string{"pane", "part", "previous", "event", "trace", "trace", "state", "state", "copy", "copy", "send", "send"}
	}
	return []string{"open", "open", "filter", "find", "order", "order", "go", "go to", "send", "send"}
}

func (s *streams) actions() []action {
	return []action{
		"up", "down", "page-up", "page-down", "first", "last", "open", "back", "pane", "previous", "next", "filter", "time", "order", "state", "mark", "trace", "copy", "export",
	}
}

// entries returns what the left part lists.
func (s *streams) entries() int {
	if s.domain == "" {
		return len(s.domains) + 1 // everything comes first
	}
	return len(s.found)
}

func (s *streams) act(did action) tea.Cmd {
	s.eager = false
	switch did {
	case "pane":
		s.pane = (s.pane + 1) % 3
		return nil
	case "previous":
		return s.step(-1)
	case "next":
		return s.step(1)
	case "trace":
		return s.trace()
	case "state":
		s.detail.whole = !s.detail.whole
		return nil
	case "mark":
		return s.mark()
	case "copy":
		return s.copy()
	case "export":
		return s.export()
	case "time":
		return s.askTime()
	case "order":
		return s.turn()
	case "filter":
		return s.filter()
	}
	switch s.pane {
	case 0:
		return s.actLeft(did)
	case 1:
		return s.actMiddle(did)
	}
	if did == "back" {
		s.pane = 1
		return nil
	}
	s.detail.scroll(did)
	return nil
}

func (s *streams) actLeft(did action) tea.Cmd {
	if s.left.move(did, s.entries(), s.leftRows) {
		return s.more()
	}
	switch did {
	case "open":
		return s.enter()
	case "back":
		if s.domain != "" {
			s.leave()
		}
	}
	return nil
}

// enter opens what the cursor is on.
func (s *streams) enter() tea.Cmd {
	switch {
	case s.domain == "" && s.left.cursor == 0:
		s.events.showEverything()
		s.pane = 1
		return s.look()
	case s.domain == "":
		s.domain = s.domains[s.left.cursor-1].Name
		s.prefix, s.left = "", list{}
		return s.ask()
	case s.loading && len(s.found) == 0:
		s.eager = true
	case s.left.cursor < len(s.found):
		chosen := s.found[s.left.cursor]
		return s.open(chosen.Domain, chosen.Name(), nil)
	}
	return nil
}

func (s *streams) leave() {
	at := 0
	for i, domain := range s.domains {
		if domain.Name == s.domain {
			at = i + 1
		}
	}
	s.domain, s.found, s.places, s.left = "", nil, nil, list{cursor: at}
	s.number++ // what is still asked for is not wanted any more
}

// open shows the events of an aggregate, the newest or those around a number.
func (s *streams) open(domain, id string, around *uint32) tea.Cmd {
	s.pane = 1
	return s.events.open(domain, id, around)
}

// ask asks for the first page of aggregates.
func (s *streams) ask() tea.Cmd {
	s.found, s.places, s.next, s.loading = nil, map[string]int{}, "", true
	s.number++
	return s.m.aggregates(s.number, s.request(""))
}

func (s *streams) request(after string) inspect.SummariesRequest {
	return inspect.SummariesRequest{Domain: s.domain, Prefix: s.prefix, Order: s.order, After: after, Limit: page}
}

// more asks for the next page when the cursor comes near the end of this one.
func (s *streams) more() tea.Cmd {
	if s.domain == "" || s.loading || s.next == "" || s.left.cursor < len(s.found)-s.leftRows {
		return nil
	}
	s.loading = true
	return s.m.aggregates(s.number, s.request(s.next))
}

// turn changes the order of aggregates.
func (s *streams) turn() tea.Cmd {
	if s.domain == "" {
		s.m.say("", fmt.Errorf("open a domain first"))
		return nil
	}
	if s.order == inspect.ByName {
		s.order, s.prefix = inspect.ByActivity, ""
	} else {
		s.order = inspect.ByName
	}
	s.left = list{}
	return s.ask()
}

func (s *streams) filter() tea.Cmd {
	switch {
	case s.pane > 0:
		s.m.ask("events with the text", s.events.filter, func(text string) tea.Cmd {
			return s.join(s.events.setFilter(text), s.look())
		})
	case s.domain == "":
		s.m.say("", fmt.Errorf("open a domain first, or go to an aggregate with g"))
	default:
		s.m.ask("names that begin with", s.prefix, func(text string) tea.Cmd {
			s.prefix, s.order, s.left = text, inspect.ByName, list{}
			return s.ask()
		})
	}
	return nil
}

func (s *streams) askTime() tea.Cmd {
	if s.events.everything {
		s.m.say("", fmt.Errorf("open an aggregate first"))
		return nil
	}
	s.m.ask("go to the time", "", func(text string) tea.Cmd {
		at, err := inspect.PointInTime(text, s.m.now())
		if err != nil {
			s.m.say("", err)
			return nil
		}
		s.events.number++
		return s.m.placeAt(s.events.number, s.events.domain, s.events.id, at)
	})
	return nil
}

// actMiddle moves among events.
func (s *streams) actMiddle(did action) tea.Cmd {
	switch did {
	case "open":
		s.pane = 2
		return nil
	case "back":
		if s.events.filter != "" {
			return s.join(s.events.setFilter(""), s.look())
		}
		s.pane = 0
		return nil
	case "last":
		return s.join(s.events.toEnd(), s.look())
	case "first":
		return s.join(s.events.toStart(), s.look())
	}
	if s.events.list.move(did, len(s.events.shown()), s.events.rows) {
		s.events.moved()
		return s.join(s.events.around(), s.look())
	}
	return nil
}

func (s *streams) join(commands ...tea.Cmd) tea.Cmd { return tea.Batch(commands...) }

// step goes to the event before or after, whichever part is active.
func (s *streams) step(by int) tea.Cmd {
	s.events.list.cursor += by
	s.events.list.keep(len(s.events.shown()))
	s.events.moved()
	return s.join(s.events.around(), s.look())
}

// look shows the chosen event at the right.
func (s *streams) look() tea.Cmd {
	event, ok := s.events.chosen()
	if !ok {
		s.detail.clear()
		return nil
	}
	return s.detail.show(event)
}

func (s *streams) trace() tea.Cmd {
	event, ok := s.events.chosen()
	if !ok || event.CorrelationID == "" {
		s.m.say("", fmt.Errorf("choose an event first"))
		return nil
	}
	s.m.current = 1
	return s.m.traces.ask(event.CorrelationID)
}

func (s *streams) mark() tea.Cmd {
	event, ok := s.events.chosen()
	if !ok {
		return nil
	}
	if s.detail.marked != nil && same(*s.detail.marked, event) {
		s.detail.marked = nil
		s.m.say("each event is compared with the one before it", nil)
		return s.detail.again()
	}
	s.detail.marked = &event
	s.m.say(fmt.Sprintf("events are compared with number %d", event.Sequence), nil)
	return nil
}

func same(a, b inspect.Event) bool {
	return a.Domain == b.Domain && a.Root == b.Root && a.Sequence == b.Sequence
}

// copy puts the command line that shows the same into the clipboard.
func (s *streams) copy() tea.Cmd {
	event, ok := s.events.chosen()
	if !ok || s.pane == 0 {
		return s.m.clip(s.listing()...)
	}
	number := fmt.Sprint(event.Sequence)
	switch earlier := s.detail.earlierThan(event); {
	case s.detail.whole:
		return s.m.clip("state", event.Domain, event.Name(), "--at", number)
	case s.detail.marked != nil && earlier != nil:
		return s.m.clip("diff", event.Domain, event.Name(), fmt.Sprint(*earlier), number)
	}
	return s.m.clip("events", event.Domain, event.Name(), "--from", number, "--to", number)
}

// listing returns the command that lists what the left part does.
func (s *streams) listing() []string {
	switch {
	case s.domain == "":
		return []string{"domains"}
	case s.prefix != "":
		return []string{"roots", s.domain, s.prefix}
	case s.order == inspect.ByActivity:
		return []string{"roots", s.domain, "--order", "activity"}
	}
	return []string{"roots", s.domain}
}

func (s *streams) export() tea.Cmd {
	if s.events.everything {
		s.m.say("", fmt.Errorf("open an aggregate first"))
		return nil
	}
	domain, id := s.events.domain, s.events.id
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>| `, r) || r < ' ' {
			return '-'
		}
		return r
	}, domain+"-"+id) + ".jsonl"
	s.m.ask("write the events to the file", name, func(file string) tea.Cmd { return s.m.export(domain, id, file) })
	return nil
}

func (s *streams) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case domainsMsg:
		if s.asked = true; message.err != nil {
			s.m.say("", message.err)
			return nil
		}
		s.domains = message.domains
		return nil
	case countedMsg:
		s.counting = false
		if s.outdated {
			return s.recount()
		}
	case aggregatesMsg:
		return s.takeAggregates(message)
	case eventsMsg:
		return s.takeEvents(message)
	case placeMsg:
		if message.number != s.events.number {
			return nil
		}
		if message.err != nil {
			s.m.say("", message.err)
			return nil
		}
		return s.events.open(s.events.domain, s.events.id, &message.sequence)
	case statesMsg:
		s.detail.take(message)
	case lookMsg:
		return s.detail.ask(message)
	case newsMsg:
		return s.takeNews(message)
	}
	return nil
}

func (s *streams) takeEvents(message eventsMsg) tea.Cmd {
	shown := s.events.take(message)
	switch {
	case message.err != nil, len(message.events) == 0 && message.side != nowhere:
		return s.look() // asking again would bring the same
	case !shown:
		return s.events.gap()
	}
	return s.join(s.look(), s.events.gap(), s.events.search())
}

func (s *streams) takeAggregates(message aggregatesMsg) tea.Cmd {
	if message.number != s.number {
		return nil
	}
	eager := s.eager
	s.loading, s.eager = false, false
	if message.err != nil {
		s.m.say("", message.err)
		return nil
	}
	for i, aggregate := range message.page.Aggregates {
		s.places[aggregate.Root] = len(s.found) + i
	}
	if s.found, s.next = append(s.found, message.page.Aggregates...), message.page.Next; eager {
		return s.enter()
	}
	return nil
}

// takeNews counts what was stored, and shows it where it belongs.
func (s *streams) takeNews(message newsMsg) tea.Cmd {
	var commands []tea.Cmd
	unknown := false
	for _, stored := range message.stored {
		for _, event := range stored.Events {
			unknown = !s.count(event) || unknown
		}
	}
	if unknown || message.skipped > 0 {
		commands = append(commands, s.recount())
	}
	followed := s.events.atEnd()
	if s.events.news(message) && followed {
		commands = append(commands, s.look())
	}
	return s.join(append(commands, s.events.gap())...)
}

// countedMsg says that a moment has passed since things were counted.
type countedMsg struct{}

// recount asks for what the news do not tell: how much there is by now. It does so
// once in a while, however often it is called.
func (s *streams) recount() tea.Cmd {
	if s.outdated = s.counting; s.counting {
		return nil
	}
	s.counting = true
	commands := []tea.Cmd{s.m.domains(), tea.Tick(again, func(time.Time) tea.Msg { return countedMsg{} })}
	if !s.events.everything {
		commands = append(commands, s.m.total(s.events.number, s.events.domain, s.events.id))
	}
	return s.join(commands...)
}

// count adds an event to its domain and aggregate. It reports whether the domain
// is known.
func (s *streams) count(event inspect.Event) bool {
	if i, listed := s.places[event.Root]; listed && event.Domain == s.domain && event.Position > s.found[i].Position {
		aggregate := &s.found[i]
		aggregate.Events, aggregate.LastAt, aggregate.Type = max(aggregate.Events, event.Sequence+1), event.CreatedAt, event.Type
	}
	for i := range s.domains {
		if domain := &s.domains[i]; domain.Name == event.Domain {
			if event.Position > domain.Position {
				domain.Events++
				domain.LastAt = event.CreatedAt
				if event.Sequence == 0 {
					domain.Aggregates++
				}
			}
			return true
		}
	}
	return !s.asked // else they are on their way
}

func (s *streams) lines(width, height int) []string {
	var drawn [][]string
	for _, each := range s.columns(width) {
		switch each.pane {
		case 0:
			drawn = append(drawn, s.drawLeft(each.width, height))
		case 1:
			drawn = append(drawn, s.drawMiddle(each.width, height))
		case 2:
			drawn = append(drawn, s.detail.lines(each.width, height, s.pane == 2))
		}
	}
	return s.m.styles.beside(drawn...)
}

// part is a part of the screen.
type part struct{ pane, width int }

// roomForThree is how wide the screen has to be to show three parts; below it shows
// the one that is active and its neighbour.
const roomForThree = 76

// columns says which parts are shown and how wide they are. A rule is between them.
func (s *streams) columns(width int) []part {
	if width < roomForThree {
		first := width * 45 / 100
		left := min(s.pane, 1)
		return []part{{left, first}, {left + 1, width - first - 1}}
	}
	left := max(16, min(34, width*26/100))
	right := max(22, width*40/100)
	return []part{{0, left}, {1, width - left - right - 2}, {2, right}}
}

// heading draws the first line of a part.
func (s styles) heading(text string, width int, active bool) string {
	if active {
		return s.title.Render(fit("▸ "+text, width))
	}
	return s.faint.Render(fit("  "+text, width))
}

func (s *streams) drawLeft(width, height int) []string {
	title := "domains"
	switch {
	case s.domain != "" && s.prefix != "":
		title = fmt.Sprintf("%s %s…", s.domain, s.prefix)
	case s.domain != "" && s.order == inspect.ByActivity:
		title = s.domain + " (latest)"
	case s.domain != "":
		title = s.domain
	}
	lines := []string{s.m.styles.heading(clean(title), width, s.pane == 0)}
	s.leftRows = height - 1
	from, to := s.left.window(s.entries(), s.leftRows)
	for i := from; i < to; i++ {
		line := s.entry(i, width)
		if i == s.left.cursor {
			line = s.m.styles.pointer(line, width, s.pane == 0)
		}
		lines = append(lines, line)
	}
	switch {
	case s.domain != "" && s.loading:
		lines = append(lines, s.m.styles.faint.Render("  …"))
	case s.domain != "" && len(s.found) == 0:
		lines = append(lines, s.m.styles.faint.Render("  none"))
	}
	return column(lines, width, height)
}

// pointer draws the line of the cursor.
func (s styles) pointer(line string, width int, active bool) string {
	if active {
		return s.cursor.Render(fit(line, width))
	}
	return s.title.Render(fit(line, width))
}

func (s *streams) entry(i, width int) string {
	now := s.m.now()
	if s.domain != "" {
		a := s.found[i]
		return spread(" "+clean(a.Name()), fmt.Sprintf("%s %3s", short(uint64(a.Events)), ago(a.LastAt, now)), width)
	}
	if i == 0 {
		return spread(" everything", short(s.m.head), width)
	}
	d := s.domains[i-1]
	right := fmt.Sprintf("%s %3s", short(d.Aggregates), ago(d.LastAt, now))
	return spread(" "+clean(d.Name), right, width)
}

func (s *streams) drawMiddle(width, height int) []string {
	w := &s.events
	title := "everything"
	if !w.everything {
		title = fmt.Sprintf("%s %s", w.domain, w.id)
	}
	if w.filter != "" {
		title += " /" + w.filter
	}
	right := ""
	switch {
	case w.filter != "":
		right = w.searched()
	case !w.everything:
		right = count(w.total, "event")
	}
	lines := []string{s.m.styles.heading(spread(clean(title), right, width-2), width, s.pane == 1)}
	w.rows = height - 1
	shown := w.shown()
	from, to := w.list.window(len(shown), w.rows)
	for i := from; i < to; i++ {
		line := w.line(shown[i], width)
		if i == w.list.cursor {
			line = s.m.styles.pointer(line, width, s.pane == 1)
		}
		lines = append(lines, line)
	}
	if len(shown) == 0 {
		lines = append(lines, s.m.styles.faint.Render("  "+w.emptiness()))
	}
	return column(lines, width, height)
}

// lookMsg asks for the states of the event that is shown, unless another one is
// shown by then.
type lookMsg struct{ number int }

// pause is how long an event has to be shown before its state is asked for, so that
// going through a history asks for no more than is seen.
const pause = 60 * time.Millisecond
