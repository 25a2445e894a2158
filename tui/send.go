package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// Forms knows the commands that can be sent. Its methods may ask somebody, and are
// called in the background.
type Forms interface {
	// Commands lists the types of a domain's commands, by full name.
	Commands(ctx context.Context, domain string) []string
	// Fields lists the fields of a type.
	Fields(ctx context.Context, typeName string) ([]inspect.Field, error)
}

// form is what one command is written in.
type form struct {
	m        *model
	rows     []formRow
	active   int
	top      int
	commands []string // of the domain
	forWhom  string   // the domain of which the commands are
	fields   []inspect.Field
	ofType   string            // the command of which the fields are
	wrong    map[string]string // mistakes by field
	sending  bool
	result   *inspect.Sent
	refused  error
	effects  []inspect.Event // what followed elsewhere
	past     int             // place in the history, from its end; 0 for a new command
	values   map[string]string
}

// formRow is one line of the form.
type formRow struct {
	name, hint string
	choices    []string
	input      textinput.Model
}

const (
	domainRow = iota
	aggregateRow
	commandRow
	firstField
)

// sentCommand is a command that was sent, to be sent again.
type sentCommand struct {
	domain, id, command string
	values              map[string]string
}

type commandsMsg struct {
	domain   string
	commands []string
}

type fieldsMsg struct {
	command string
	fields  []inspect.Field
	err     error
}

// openForm shows the form, with what is on the screen filled in.
func (m *model) openForm(inspect.SendRequest) tea.Cmd {
	if !m.changes("sending commands") {
		return nil
	}
	domain, id := m.streams.domain, ""
	if !m.streams.events.everything {
		domain, id = m.streams.events.domain, m.streams.events.id
	}
	f := &form{m: m, wrong: map[string]string{}, values: map[string]string{}}
	f.rows = []formRow{
		{name: "domain", input: newInput(domain), choices: m.streams.names()},
		{name: "aggregate", hint: "what people call it, or a UUID; a new name makes a new one", input: newInput(id)},
		{name: "command", hint: "← → choose", input: newInput("")},
	}
	m.form = f
	for f.active < commandRow && f.rows[f.active].input.Value() != "" {
		f.active++
	}
	f.focus()
	return f.changed()
}

// names lists the domains.
func (s *streams) names() (names []string) {
	for _, domain := range s.domains {
		names = append(names, domain.Name)
	}
	return names
}

func (f *form) focus() {
	for i := range f.rows {
		if i == f.active {
			f.rows[i].input.Focus()
		} else {
			f.rows[i].input.Blur()
		}
	}
}

func (f *form) value(row int) string { return strings.TrimSpace(f.rows[row].input.Value()) }

// changed asks for what the form has to know of a domain or command that was
// chosen.
func (f *form) changed() tea.Cmd {
	var commands []tea.Cmd
	forms := f.m.options.Forms
	if domain := f.value(domainRow); domain != f.forWhom && forms != nil {
		f.forWhom = domain
		commands = append(commands, f.m.asker.ask(func(ctx context.Context) tea.Msg { return commandsMsg{domain, forms.Commands(ctx, domain)} }))
	}
	if command := f.value(commandRow); command != f.ofType && command != "" && forms != nil {
		f.ofType = command
		commands = append(commands, f.m.asker.ask(func(ctx context.Context) tea.Msg {
			fields, err := forms.Fields(ctx, command)
			return fieldsMsg{command, fields, err}
		}))
	}
	return tea.Batch(commands...)
}

// take gets answers and what is stored meanwhile.
func (f *form) take(message tea.Msg) tea.Cmd {
	switch message := message.(type) {
	case commandsMsg:
		if message.domain == f.forWhom {
			f.commands = message.commands
			f.rows[commandRow].choices = message.commands
			if f.value(commandRow) == "" && len(message.commands) > 0 {
				f.rows[commandRow].input.SetValue(message.commands[0])
				f.rows[commandRow].input.CursorEnd()
			}
			return f.changed()
		}
	case fieldsMsg:
		if message.command == f.ofType {
			f.setFields(message)
		}
	case newsMsg:
		f.follow(message)
	}
	return nil
}

// setFields makes a row for each field. What was written in one of the same name
// stays.
func (f *form) setFields(message fieldsMsg) {
	f.keep()
	f.rows, f.fields = f.rows[:firstField], message.fields
	if delete(f.wrong, "command"); message.err != nil {
		f.wrong["command"] = f.m.explain(message.err)
	}
	for _, field := range message.fields {
		hint := field.Hint
		if field.Oneof != "" {
			hint += "; one of " + field.Oneof
		}
		f.rows = append(f.rows, formRow{name: field.Name, hint: hint, choices: field.Values, input: newInput(f.values[field.Name])})
	}
	f.active = min(f.active, len(f.rows)-1)
	f.focus()
}

// keep remembers what is written in the fields.
func (f *form) keep() {
	for _, row := range f.rows[firstField:] {
		f.values[row.name] = row.input.Value()
	}
}

// follow collects what the command led to elsewhere.
func (f *form) follow(message newsMsg) {
	if f.result == nil || f.result.CorrelationID == "" {
		return
	}
	for _, stored := range message.stored {
		for _, event := range stored.Events {
			own := slices.ContainsFunc(f.result.Events, func(e inspect.Event) bool { return same(e, event) })
			if event.CorrelationID == f.result.CorrelationID && !own {
				f.effects = append(f.effects, event)
			}
		}
	}
}

func (f *form) hint() string {
	return "tab next · ← → choose · ctrl+s send · ctrl+p sent before · esc leave"
}

func (f *form) press(key tea.KeyPressMsg) tea.Cmd {
	row := &f.rows[f.active]
	f.m.notice, f.m.failed = "", false
	switch key.String() {
	case "esc":
		f.m.form = nil
		return nil
	case "ctrl+s":
		return f.send()
	case "ctrl+p":
		return f.recall(1)
	case "ctrl+n":
		return f.recall(-1)
	case "tab", "down", "enter":
		return f.move(1)
	case "shift+tab", "up":
		return f.move(-1)
	case "right", "left":
		if len(row.choices) > 0 && (key.String() == "left" || row.input.Position() >= len([]rune(row.input.Value()))) {
			f.choose(map[string]int{"right": 1, "left": -1}[key.String()])
			return f.changed()
		}
	}
	var command tea.Cmd
	row.input, command = row.input.Update(key)
	f.result, f.refused = nil, nil
	return tea.Batch(command, f.afterTyping())
}

func (f *form) update(message tea.Msg) (command tea.Cmd) {
	row := &f.rows[f.active]
	row.input, command = row.input.Update(message)
	return command
}

// afterTyping looks again at the fields when the command is written by hand.
func (f *form) afterTyping() tea.Cmd {
	if f.active == commandRow && slices.Contains(f.commands, f.value(commandRow)) {
		return f.changed()
	}
	return nil
}

func (f *form) move(by int) tea.Cmd {
	f.active = (f.active + by + len(f.rows)) % len(f.rows)
	f.focus()
	return f.changed()
}

// choose puts the next choice into the row.
func (f *form) choose(by int) {
	row := &f.rows[f.active]
	at := slices.Index(row.choices, strings.TrimSpace(row.input.Value()))
	if at < 0 && by < 0 {
		at = 0
	}
	at = (at + by + len(row.choices)) % len(row.choices)
	row.input.SetValue(row.choices[at])
	row.input.CursorEnd()
	f.result, f.refused = nil, nil
}

// recall brings back a command that was sent before.
func (f *form) recall(by int) tea.Cmd {
	history := f.m.streams.history
	f.past = max(0, min(f.past+by, len(history)))
	if f.past == 0 {
		return nil
	}
	before := history[len(history)-f.past]
	f.rows[domainRow].input.SetValue(before.domain)
	f.rows[aggregateRow].input.SetValue(before.id)
	f.rows[commandRow].input.SetValue(before.command)
	f.values = map[string]string{}
	for name, value := range before.values {
		f.values[name] = value
	}
	for i := firstField; i < len(f.rows); i++ {
		f.rows[i].input.SetValue(f.values[f.rows[i].name])
	}
	f.result, f.refused, f.effects = nil, nil, nil
	return f.changed()
}

// json returns the command as it is written by now, and notes what is wrong.
func (f *form) json() (json.RawMessage, bool) {
	f.keep()
	text, wrong := inspect.Fill(f.fields, f.values, f.m.now())
	clear(f.wrong)
	for _, mistake := range wrong {
		f.wrong[mistake.Field] = mistake.Message
	}
	return text, len(wrong) == 0
}

func (f *form) send() tea.Cmd {
	if f.sending {
		return nil
	}
	text, right := f.json()
	for i, name := range []string{"domain", "aggregate", "command"} {
		if f.value(i) == "" {
			f.wrong[name], right = "is missing", false
		}
	}
	if !right {
		f.m.say("", fmt.Errorf("nothing was sent: look at the fields that are marked"))
		return nil
	}
	f.sending, f.result, f.refused, f.effects = true, nil, nil, nil
	values := map[string]string{}
	for name, value := range f.values {
		values[name] = value
	}
	s := f.m.streams
	s.history = append(s.history, sentCommand{f.value(domainRow), f.value(aggregateRow), f.value(commandRow), values})
	f.past = 0
	return f.m.asker.send(inspect.SendRequest{Domain: f.value(domainRow), ID: f.value(aggregateRow), Type: f.value(commandRow), JSON: text, Sync: inspect.SyncSimple})
}

// sent takes what became of a command.
func (m *model) sent(message sentMsg) tea.Cmd {
	if m.form == nil {
		m.say("the command was sent", message.err)
		return nil
	}
	m.form.sending = false
	if message.err != nil {
		m.form.refused = message.err
		return nil
	}
	m.form.result = &message.sent
	return nil
}

func (f *form) lines(width, height int) []string {
	left := width * 55 / 100
	right := width - left - 1
	return f.m.styles.beside(f.drawRows(left, height), f.drawResult(right, height))
}

func (f *form) drawRows(width, height int) []string {
	styles := f.m.styles
	f.json() // the mistakes are shown as they are made
	name := 0
	for _, row := range f.rows {
		name = max(name, widthOf(row.name))
	}
	name = min(name, 20)
	lines := []string{styles.heading("send a command", width, true)}
	shown := max(1, (height-1)/2) // each row has a line for its hint or mistake
	f.top = max(0, min(f.top, f.active))
	if f.active >= f.top+shown {
		f.top = f.active - shown + 1
	}
	for i := f.top; i < min(len(f.rows), f.top+shown); i++ {
		row := &f.rows[i]
		row.input.SetWidth(max(4, width-name-5))
		label := fit(clean(row.name), name)
		value := clean(row.input.Value())
		if i == f.active {
			label, value = styles.title.Render(label), row.input.View()
		}
		lines = append(lines, " "+label+" "+styles.rule.Render("│")+" "+value)
		note := styles.faint.Render(clean(row.hint))
		if i != f.active {
			note = ""
		}
		if mistake := f.wrong[row.name]; mistake != "" {
			note = styles.bad.UnsetBold().Render(clean(mistake))
		}
		lines = append(lines, strings.Repeat(" ", name+4)+note)
	}
	return column(lines, width, height)
}

func (f *form) drawResult(width, height int) []string {
	styles := f.m.styles
	text, _ := f.json()
	lines := []string{styles.heading("as JSON", width, false)}
	for _, line := range pretty(text) {
		lines = append(lines, " "+styles.colored(line))
	}
	lines = append(lines, "")
	switch {
	case f.sending:
		lines = append(lines, " "+styles.faint.Render("sending …"))
	case f.refused != nil:
		lines = append(lines, " "+styles.bad.Render("refused"))
		for _, line := range wrapped(f.m.explain(f.refused), max(10, width-2)) {
			lines = append(lines, " "+line)
		}
	case f.result != nil:
		lines = append(lines, " "+styles.good.Render("accepted"))
		if len(f.result.Events) == 0 {
			lines = append(lines, " nothing was stored, because the command changed nothing")
		}
		for _, event := range f.result.Events {
			lines = append(lines, fmt.Sprintf(" %d %s", event.Sequence, styles.name.Render(clean(event.ShortType()))))
		}
		for _, projection := range f.result.Projections {
			lines = append(lines, " "+styles.faint.Render(fmt.Sprintf("%s is at %d", clean(projection.Projector), projection.Sequence)))
		}
		for _, event := range f.effects {
			lines = append(lines, fmt.Sprintf(" → %s %s %s", clean(event.Domain), clean(event.Name()), styles.name.Render(clean(event.ShortType()))))
		}
		lines = append(lines, "", " "+styles.faint.Render("corr "+clean(f.result.CorrelationID)))
	}
	return column(lines, width, height)
}
