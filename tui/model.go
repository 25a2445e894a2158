package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/angz-dev/angz/inspect"
)

// screen is one of the program's views.
type screen interface {
	// opened is told when the screen is shown.
	opened() tea.Cmd
	// act does what a key asks for.
	act(action) tea.Cmd
	// take gets every message of the system, shown or not.
	take(tea.Msg) tea.Cmd
	// lines draws the screen in so many columns and lines.
	lines(width, height int) []string
	// hints says which keys matter here, in pairs of action and words.
	hints() []string
	// actions are those that do something here, for help.
	actions() []action
}

// model is the whole program. It changes only in Update, which asks nobody
// anything: questions are commands, see events.go.
type model struct {
	asker
	options Options
	keys    keymap
	styles  styles
	ascii   bool // the terminal knows no UTF-8
	mouse   bool // the terminal tells what is clicked
	feed    *feed
	now     func() time.Time

	width, height int
	screens       []screen
	current       int
	streams       *streams
	traces        *traces
	services      *services
	letters       *letters

	head    uint64 // position of the newest event
	lost    error  // why the connection is gone; nil while it is there
	skipped uint64 // events that were left out because too many came
	notice  string // about what was done last
	failed  bool   // the notice is about something that went wrong
	help    bool
	helped  list // which line of help is at the top
	prompt  *prompt
	form    *form
	search  *search
}

// tabs are the names of the screens, in the order of their keys.
var tabs = []string{"streams", "trace", "services", "projections", "dead letters"}

// shortTabs are their names where there is little room.
var shortTabs = []string{"streams", "trace", "parts", "progress", "dead"}

func newModel(ctx context.Context, options Options) (*model, error) {
	keys, err := newKeymap(options.Keys)
	if err != nil {
		return nil, err
	}
	m := &model{
		asker: asker{ctx, options.System, options.By}, options: options, keys: keys, styles: newStyles(), mouse: options.Mouse, ascii: onlyASCII(options.Environ), now: time.Now,
		width: 80, height: 24,
	}
	m.feed = newFeed(m.asker)
	m.streams, m.traces, m.services, m.letters = newStreams(m), &traces{m: m}, &services{m: m}, &letters{m: m}
	m.screens = []screen{m.streams, m.traces, m.services, &projections{m: m}, m.letters}
	return m, nil
}

// Init asks for what is shown first.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.domains(), m.feed.read, m.feed.next, m.readHistory())
}

// wholeScreen has a terminal scroll all of its lines, and leaves its cursor where it
// is. The library scrolls a part of them to save output, and then says again that it
// is all; when the terminal grows in between, that is the old height, and what is
// drawn below it goes astray until the terminal is told otherwise.
const wholeScreen = ansi.SaveCursor + "\x1b[r" + ansi.RestoreCursor

// Update changes the model by a message.
func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
		return m, tea.Sequence(tea.Raw(wholeScreen), tea.ClearScreen)
	case tea.KeyPressMsg:
		return m, m.press(message)
	case tea.PasteMsg:
		return m, m.write(message)
	case tea.MouseClickMsg:
		return m, m.click(message.Mouse())
	case tea.MouseWheelMsg:
		return m, m.wheel(message.Mouse())
	case newsMsg:
		return m, m.news(message)
	case historyMsg:
		return m, m.takeHistory(message)
	case noticeMsg:
		m.say(message.text, message.err)
		return m, nil
	case decidedMsg:
		m.say(message.what, message.err)
		if m.current == projectionsScreen {
			return m, m.progress()
		}
		return m, m.letters.opened()
	case sentMsg:
		return m, m.sent(message)
	case foundMsg:
		return m, m.found(message)
	case domainsMsg:
		m.head = max(m.head, message.head)
	}
	return m, m.pass(message)
}

// pass gives a message to everybody whom it may concern.
func (m *model) pass(message tea.Msg) tea.Cmd {
	var commands []tea.Cmd
	for _, screen := range m.screens {
		commands = append(commands, screen.take(message))
	}
	if m.form != nil {
		commands = append(commands, m.form.take(message))
	}
	if m.search != nil {
		commands = append(commands, m.search.take(message))
	}
	return tea.Batch(commands...)
}

// say tells the person how something went.
func (m *model) say(text string, err error) {
	m.notice, m.failed = text, err != nil
	if err != nil {
		m.notice = m.explain(err)
	}
}

// explain says in one line what went wrong.
func (m *model) explain(err error) string { return m.explained(err)[0] }

// explained says what went wrong and, in further lines, what to do next.
func (m *model) explained(err error) []string {
	if m.options.Explain != nil {
		err = m.options.Explain(err)
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return lines
}

// news takes what was stored, and waits for more.
func (m *model) news(message newsMsg) tea.Cmd {
	if message.ended {
		return nil
	}
	var commands []tea.Cmd
	switch {
	case message.lost != nil:
		m.lost = message.lost
	case m.lost != nil:
		m.lost = nil
		m.say("connected again", nil)
		commands = append(commands, m.domains(), m.screens[m.current].opened())
	}
	m.skipped += message.skipped
	for _, stored := range message.stored {
		m.head = max(m.head, stored.Head, stored.Position)
	}
	return tea.Batch(append(commands, m.pass(message), m.feed.next)...)
}

// write gives a message to whatever is being written in.
func (m *model) write(message tea.Msg) tea.Cmd {
	switch {
	case m.prompt != nil:
		return m.prompt.update(message)
	case m.search != nil:
		return m.search.update(message)
	case m.form != nil:
		return m.form.update(message)
	}
	return nil
}

// press acts on a key.
func (m *model) press(key tea.KeyPressMsg) tea.Cmd {
	if key.String() == "ctrl+c" {
		return tea.Quit
	}
	switch {
	case m.prompt != nil:
		return m.pressInPrompt(key)
	case m.search != nil:
		return m.search.press(key)
	case m.form != nil:
		return m.form.press(key)
	}
	did := m.keys.of(key)
	if m.help {
		if m.helped.move(did, m.helpRoom(), m.height-3) {
			return nil
		}
		m.help = false
		if did == "help" || did == "back" || did == "quit" {
			return nil
		}
	}
	m.notice, m.failed = "", false
	switch did {
	case "":
		return nil
	case "quit":
		return tea.Quit
	case "help":
		m.help, m.helped = true, list{}
		return nil
	case "streams", "traces", "services", "projections", "letters":
		return m.show(map[action]int{"streams": 0, "traces": 1, "services": 2, "projections": 3, "letters": 4}[did])
	case "go":
		m.ask("go to [DOMAIN] ID [NUMBER]", "", m.goTo)
		return nil
	case "search":
		return m.openSearch()
	case "mouse":
		m.turnMouse()
		return nil
	case "send":
		return m.openForm(inspect.SendRequest{})
	case "refresh":
		return tea.Batch(m.domains(), m.screens[m.current].opened())
	}
	return m.screens[m.current].act(did)
}

// show changes to a screen.
func (m *model) show(number int) tea.Cmd {
	m.current = number
	return m.screens[number].opened()
}

// goTo goes to an aggregate that is written as DOMAIN ID [NUMBER].
func (m *model) goTo(text string) tea.Cmd {
	words := strings.Fields(text)
	var around *uint32
	if len(words) > 2 {
		var number uint32
		if _, err := fmt.Sscan(words[len(words)-1], &number); err == nil {
			around, words = &number, words[:len(words)-1]
		}
	}
	switch {
	case len(words) == 0:
		return nil
	case len(words) == 1:
		return m.find(words[0])
	}
	m.current = 0
	return m.streams.open(words[0], strings.Join(words[1:], " "), around)
}

// found goes to an aggregate that was looked for by its name alone.
func (m *model) found(message foundMsg) tea.Cmd {
	switch {
	case message.err != nil:
		m.say("", message.err)
	case len(message.found) == 0:
		m.say("", fmt.Errorf("no domain has an aggregate %q; DOMAIN ID goes to a new one", message.name))
	case len(message.found) > 1:
		var domains []string
		for _, each := range message.found {
			domains = append(domains, each.Domain)
		}
		m.say("", fmt.Errorf("%q is in %s: go to DOMAIN %s", message.name, strings.Join(domains, ", "), message.name))
	default:
		m.current = 0
		return m.streams.open(message.found[0].Domain, message.found[0].Name(), nil)
	}
	return nil
}

// prompt is a line in which something is written.
type prompt struct {
	label string
	input textinput.Model
	done  func(text string) tea.Cmd
}

// ask has the person write something.
func (m *model) ask(label, value string, done func(string) tea.Cmd) {
	p := &prompt{label: label, input: newInput(value), done: done}
	m.prompt = p
}

func newInput(value string) textinput.Model {
	input := textinput.New()
	input.Prompt = ""
	input.SetVirtualCursor(true)
	input.SetValue(value)
	input.CursorEnd()
	input.Focus()
	return input
}

func (p *prompt) update(message tea.Msg) (command tea.Cmd) {
	p.input, command = p.input.Update(message)
	return command
}

func (m *model) pressInPrompt(key tea.KeyPressMsg) tea.Cmd {
	switch key.String() {
	case "esc":
		m.prompt = nil
		return nil
	case "enter":
		done, text := m.prompt.done, m.prompt.input.Value()
		m.prompt = nil
		return done(text)
	}
	return m.prompt.update(key)
}

// clip puts the command line that shows the same into the clipboard.
func (m *model) clip(words ...string) tea.Cmd {
	line := "angz"
	for _, word := range append(words, m.options.Flags...) {
		line += " " + quoted(word)
	}
	m.say("copied: "+clean(line), nil)
	return tea.SetClipboard(line)
}

// changes refuses what would change the system when it is only to be read.
func (m *model) changes(what string) bool {
	if m.options.ReadOnly {
		m.say("", fmt.Errorf("--read-only: %s is not possible here", what))
	}
	return !m.options.ReadOnly
}

// The smallest terminal in which everything has a place.
const leastWidth, leastHeight = 60, 20

// View draws the program.
func (m *model) View() tea.View {
	lines := m.draw()
	if m.ascii {
		for i, line := range lines {
			lines[i] = inASCII(line)
		}
	}
	view := tea.NewView(strings.Join(lines, "\n"))
	view.AltScreen = true
	if m.mouse {
		view.MouseMode = tea.MouseModeCellMotion
	}
	view.WindowTitle = "angz " + clean(m.options.Name)
	return view
}

func (m *model) draw() []string {
	if m.width < leastWidth || m.height < leastHeight {
		return []string{fit(fmt.Sprintf("angz needs %d×%d, this is %d×%d", leastWidth, leastHeight, m.width, m.height), m.width)}
	}
	notice := m.noticeLines()
	body := m.height - 2 - len(notice)
	var lines []string
	switch {
	case m.help:
		lines = m.helpLines()[m.helped.cursor:]
	case m.search != nil:
		lines = m.search.lines(m.width, body)
	case m.form != nil:
		lines = m.form.lines(m.width, body)
	default:
		lines = m.screens[m.current].lines(m.width, body)
	}
	drawn := []string{m.topLine()}
	for i := range body {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		drawn = append(drawn, fit(line, m.width))
	}
	return append(append(drawn, notice...), m.bottomLine())
}

// tabSpace is between the names of the screens.
const tabSpace = "  "

// tabs returns the names of the screens with their keys.
func (m *model) tabs() (names []string) {
	known := tabs
	if m.width < 80 {
		known = shortTabs
	}
	for i, name := range known {
		names = append(names, fmt.Sprintf("%d %s", i+1, name))
	}
	return names
}

func (m *model) topLine() string {
	var names []string
	for i, name := range m.tabs() {
		style := m.styles.tab
		if i == m.current {
			style = m.styles.chosen
		}
		names = append(names, style.Render(name))
	}
	left := strings.Join(names, tabSpace)
	right := fmt.Sprintf("#%s", short(m.head))
	if m.options.ReadOnly {
		right = m.styles.warn.Render("read-only") + " " + right
	}
	if m.width >= 100 {
		right = clean(m.options.Name) + "  " + right
	}
	return spread(left, right, m.width)
}

// spread puts one text at the left and one at the right.
func spread(left, right string, width int) string {
	space := width - widthOf(right) - 1
	return fit(left, space) + " " + right
}

// noticeLines draws the line in which one writes, or what there is to say.
func (m *model) noticeLines() []string {
	switch {
	case m.prompt != nil:
		return []string{fit(m.styles.title.Render(m.prompt.label+": ")+m.prompt.input.View(), m.width)}
	case m.lost != nil:
		lines := m.explained(m.lost)
		lines[0] = "no connection: " + lines[0]
		lines[len(lines)-1] += " · trying again"
		return m.wrapped(m.styles.bad.UnsetBold(), lines...)
	case m.failed:
		return m.wrapped(m.styles.bad, m.notice)
	case m.notice != "":
		return m.wrapped(m.styles.good, m.notice)
	case m.skipped > 0:
		return m.wrapped(m.styles.warn, fmt.Sprintf("too much happens to show all of it: %s left out", count(m.skipped, "event")))
	}
	return []string{strings.Repeat(" ", m.width)}
}

// wrapped breaks lines that are too long, since the end of what went wrong says what
// helps. They get half of the screen at most.
func (m *model) wrapped(style lipgloss.Style, lines ...string) (drawn []string) {
	for _, line := range lines {
		for piece := range strings.SplitSeq(ansi.Wrap(line, m.width, ""), "\n") {
			drawn = append(drawn, style.Render(fit(piece, m.width)))
		}
	}
	return drawn[:min(len(drawn), m.height/2)]
}

func (m *model) bottomLine() string {
	var words []string
	switch {
	case m.prompt != nil:
		return fit(m.styles.faint.Render("enter does it · esc leaves it"), m.width)
	case m.search != nil:
		return fit(m.styles.faint.Render(m.search.hint()), m.width)
	case m.form != nil:
		return fit(m.styles.faint.Render(m.form.hint()), m.width)
	case m.help:
		return fit(m.styles.faint.Render("↑ ↓ more · any other key goes back"), m.width)
	default:
		words = append([]string{"help", "keys", "search", "search"}, append(m.screens[m.current].hints(), "quit", "end")...)
	}
	return fit(m.styles.faint.Render(m.keys.hint(words...)), m.width)
}

// helpRoom is how far help can be scrolled.
func (m *model) helpRoom() int { return len(m.helpLines()) - m.height + 4 }

// helpLines explains the keys of the present screen, and those that work
// everywhere.
func (m *model) helpLines() []string {
	here := append(m.screens[m.current].actions(), "search", "go", "send", "refresh", "streams", "traces", "services", "projections", "letters", "mouse", "help", "quit")
	lines := []string{m.styles.title.Render("Keys of " + tabs[m.current])}
	for _, b := range bindings {
		for _, each := range here {
			if each == b.action {
				lines = append(lines, fmt.Sprintf(" %-21s %s", strings.Join(m.keys.keys[b.action], ", "), b.about))
				break
			}
		}
	}
	return lines
}
