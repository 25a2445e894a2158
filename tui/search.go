package tui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// search is the box in which one finds everything: screens, domains, components,
// aggregates, types of events and correlations.
type search struct {
	m      *model
	input  textinput.Model
	known  []target // what there was when the box was opened
	asked  []target // aggregates that the system found by the beginning of their names
	found  []target // what is listed
	list   list
	rows   int
	number int // of the newest question
}

// target is somewhere to go.
type target struct {
	kind, name, about string
	score             int
	at                []int // characters of the name that were typed
	open              func() tea.Cmd
}

// searchPauseMsg says that nothing was typed for a moment.
type searchPauseMsg struct{ number int }

// searchMsg brings the aggregates whose names begin as it was typed.
type searchMsg struct {
	number int
	found  []inspect.Summary
	err    error
}

const (
	// typingPause is how long nothing is typed before the system is asked.
	typingPause = 120 * time.Millisecond
	// mostDomains and fewAggregates bound what one question asks for.
	mostDomains, fewAggregates = 50, 5
	// mostFound is how much is listed. Who wants more types more.
	mostFound = 200
)

func (m *model) openSearch() tea.Cmd {
	m.search = &search{m: m, input: newInput("")}
	m.search.gather()
	m.search.choose()
	return m.topology() // whose components are found, too
}

// gather collects what can be gone to without a question.
func (s *search) gather() {
	s.known = nil
	for i, name := range tabs {
		s.add("screen", name, "", func() tea.Cmd { return s.m.show(i) })
	}
	for _, domain := range s.m.streams.domains {
		s.add("domain", domain.Name, count(domain.Aggregates, "aggregate"), func() tea.Cmd { return s.m.streams.openDomain(domain.Name) })
	}
	for i, component := range s.m.services.topology.Components {
		if component.Kind != "domain" {
			s.add(component.Kind, component.Name, strings.Join(component.From, ", "), func() tea.Cmd {
				s.m.services.list.cursor = i
				return s.m.show(servicesScreen)
			})
		}
	}
	s.gatherEvents()
}

// gatherEvents collects what the newest events tell of, the newest first.
func (s *search) gatherEvents() {
	have := map[[2]string]bool{}
	once := func(kind, name string) bool {
		is := name != "" && !have[[2]string{kind, name}]
		have[[2]string{kind, name}] = true
		return is
	}
	for _, event := range slices.Backward(s.m.streams.events.log) {
		if once("aggregate", event.Domain+" "+event.Name()) {
			s.add("aggregate", event.Domain+" "+event.Name(), event.ShortType(), s.toAggregate(event.Domain, event.Name()))
		}
		if once("event", event.Type) {
			s.add("event", event.ShortType(), event.Type, func() tea.Cmd { return s.m.streams.showType(event.ShortType()) })
		}
		if once("correlation", event.CorrelationID) {
			s.add("correlation", event.CorrelationID, event.ShortType()+" of "+event.Domain+" "+event.Name(), s.toTrace(event.CorrelationID))
		}
	}
	for _, summary := range s.m.streams.found {
		if once("aggregate", summary.Domain+" "+summary.Name()) {
			s.add("aggregate", summary.Domain+" "+summary.Name(), summary.Type, s.toAggregate(summary.Domain, summary.Name()))
		}
	}
}

func (s *search) add(kind, name, about string, open func() tea.Cmd) {
	s.known = append(s.known, target{kind: kind, name: name, about: about, open: open})
}

func (s *search) toAggregate(domain, id string) func() tea.Cmd {
	return func() tea.Cmd {
		s.m.current = 0
		return s.m.streams.open(domain, id, nil)
	}
}

func (s *search) toTrace(correlation string) func() tea.Cmd {
	return func() tea.Cmd {
		s.m.current = 1
		return s.m.traces.ask(correlation)
	}
}

// choose lists what fits to what is typed, the best first.
func (s *search) choose() {
	typed := strings.TrimSpace(s.input.Value())
	s.found = nil
	have := map[[2]string]bool{}
	for _, each := range slices.Concat(s.known, s.asked) {
		score, at, ok := match(typed, each.name)
		if typed == "" {
			score = 0 // in the order in which they were gathered
		}
		if who := [2]string{each.kind, each.name}; ok && !have[who] {
			have[who] = true
			each.score, each.at = score, at
			s.found = append(s.found, each)
		}
	}
	slices.SortStableFunc(s.found, func(a, b target) int { return cmp.Compare(b.score, a.score) })
	s.found = s.found[:min(len(s.found), mostFound)]
	if typed != "" { // what is known nowhere may be there all the same
		s.found = append(s.found,
			target{kind: "go to", name: typed, about: "ID, or DOMAIN ID [NUMBER]", open: func() tea.Cmd { return s.m.goTo(typed) }},
			target{kind: "trace", name: typed, about: "a correlation", open: s.toTrace(typed)})
	}
	s.list.keep(len(s.found))
}

// typed lists anew after a change, and asks the system when that was the last one.
func (s *search) typed(before string) tea.Cmd {
	if s.input.Value() == before {
		return nil
	}
	s.number++
	number := s.number
	s.list = list{}
	s.choose()
	return tea.Tick(typingPause, func(time.Time) tea.Msg { return searchPauseMsg{number} })
}

func (s *search) update(message tea.Msg) tea.Cmd {
	before := s.input.Value()
	var command tea.Cmd
	s.input, command = s.input.Update(message)
	return tea.Batch(command, s.typed(before))
}

func (s *search) press(key tea.KeyPressMsg) tea.Cmd {
	moves := map[string]action{"up": "up", "ctrl+p": "up", "down": "down", "ctrl+n": "down", "tab": "down", "pgup": "page-up", "pgdown": "page-down"}
	switch name := key.String(); name {
	case "esc":
		s.m.search = nil
		return nil
	case "enter":
		return s.enter()
	default:
		if s.list.move(moves[name], len(s.found), s.rows) {
			return nil
		}
	}
	return s.update(key)
}

// enter goes to what is chosen.
func (s *search) enter() tea.Cmd {
	if s.list.cursor >= len(s.found) {
		return nil
	}
	s.m.search = nil
	return s.found[s.list.cursor].open()
}

// take gets answers.
func (s *search) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case topologyMsg, domainsMsg:
		s.gather()
		s.choose()
	case searchPauseMsg:
		if text := strings.TrimSpace(s.input.Value()); message.number == s.number && text != "" {
			return s.m.beginningWith(s.number, s.m.streams.names(), text)
		}
	case searchMsg:
		if message.number == s.number {
			s.takeFound(message.found) // an error is no more than nothing found
		}
	}
	return nil
}

func (s *search) takeFound(found []inspect.Summary) {
	s.asked = nil
	for _, summary := range found {
		s.asked = append(s.asked, target{
			kind: "aggregate", name: summary.Domain + " " + summary.Name(), about: count(summary.Events, "event"), open: s.toAggregate(summary.Domain, summary.Name()),
		})
	}
	s.choose()
}

// beginningWith asks each domain for the aggregates whose names begin with the last
// word of a text; the words before it may name the domain.
func (a asker) beginningWith(number int, domains []string, text string) tea.Cmd {
	words := strings.Fields(text)
	prefix := words[len(words)-1]
	return a.ask(func(ctx context.Context) tea.Msg {
		answer := searchMsg{number: number}
		asked := 0
		for _, domain := range domains {
			if _, _, fits := match(strings.Join(words[:len(words)-1], " "), domain); !fits || asked == mostDomains {
				continue
			}
			asked++
			page, err := a.system.Summaries(ctx, inspect.SummariesRequest{Domain: domain, Prefix: prefix, Limit: fewAggregates})
			if err != nil {
				answer.err = err
				return answer
			}
			answer.found = append(answer.found, page.Aggregates...)
		}
		return answer
	})
}

func (s *search) lines(width, height int) []string {
	styles := s.m.styles
	s.input.SetWidth(width - 12)
	lines := []string{styles.title.Render("▸ search ") + s.input.View(), ""}
	s.rows = height - len(lines)
	kind, name := s.widths(width)
	from, to := s.list.window(len(s.found), s.rows)
	for i := from; i < to; i++ {
		each := s.found[i]
		line := " " + styles.faint.Render(fit(each.kind, kind)) + "  " + s.highlighted(each, name) + "  " + styles.faint.Render(clean(each.about))
		if i == s.list.cursor {
			line = styles.cursor.Render(fit(ansiStrip(line), width))
		}
		lines = append(lines, line)
	}
	if len(s.found) == 0 {
		lines = append(lines, styles.faint.Render("  …"))
	}
	return column(lines, width, height)
}

// widths returns how wide the columns of kinds and names are.
func (s *search) widths(width int) (kind, name int) {
	for _, each := range s.found {
		kind, name = max(kind, widthOf(each.kind)), max(name, widthOf(clean(each.name)))
	}
	return kind, min(name, width*6/10)
}

// highlighted draws a name with what was typed of it.
func (s *search) highlighted(each target, width int) string {
	var drawn strings.Builder
	for i, r := range []rune(each.name) {
		if text := clean(string(r)); slices.Contains(each.at, i) {
			drawn.WriteString(s.m.styles.name.Bold(true).Render(text))
		} else {
			drawn.WriteString(text)
		}
	}
	return fit(drawn.String(), width)
}

func (s *search) hint() string {
	return fmt.Sprintf("%s · ↑ ↓ choose · enter go there · esc leave", count(len(s.found), "place"))
}

// openDomain lists the aggregates of a domain.
func (s *streams) openDomain(name string) tea.Cmd {
	s.m.current, s.pane = 0, 0
	s.domain, s.prefix, s.left = name, "", list{}
	return s.ask()
}

// showType shows the newest events of one type, of all domains.
func (s *streams) showType(short string) tea.Cmd {
	s.m.current, s.pane = 0, 1
	s.events.showEverything()
	return s.join(s.events.setFilter(short), s.look())
}
