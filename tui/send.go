package tui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
	raw      bool              // the fields are not known: the command is written as JSON
	missing  map[string]bool   // rows that were empty when it was to be sent
	wrong    map[string]string // mistakes by field
	unknown  error             // why the fields are not known
	asking   bool              // the fields are asked for
	sending  bool
	result   *inspect.Sent
	refused  error
	effects  *effectsMsg // what it led to; nil while that is not known
	looked   int         // how often that was asked
	past     int         // place in the history, from its end; 0 for a new command
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
	Domain  string            `json:"domain"`
	ID      string            `json:"id"`
	Command string            `json:"command"`
	Values  map[string]string `json:"values"`
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
	f := &form{m: m, missing: map[string]bool{}, wrong: map[string]string{}, values: map[string]string{}}
	f.rows = []formRow{
		{name: "domain", input: newInput(domain), choices: m.streams.names()},
		{name: "aggregate", hint: "what people call it, or a UUID; a new name makes a new one", input: newInput(id)},
		{name: "command", hint: "← → choose", input: newInput("")},
	}
	m.form = f
	for f.active < commandRow && f.rows[f.active].input.Value() != "" {
		f.active++
	}
	if m.options.Forms == nil {
		f.setFields(fieldsMsg{err: errors.New("no descriptions of commands are known")})
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
		f.ofType, f.asking = command, true
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
	case effectsMsg:
		return f.takeEffects(message)
	case lookAgainMsg:
		if f.result != nil && f.result.CorrelationID == message.correlation {
			return f.m.effects(message.correlation)
		}
	}
	return nil
}

// setFields makes a row for each field. What was written in one of the same name
// stays.
func (f *form) setFields(message fieldsMsg) {
	f.keep()
	f.asking = false
	f.rows, f.fields, f.unknown, f.raw = f.rows[:firstField], message.fields, message.err, message.err != nil
	if f.raw {
		f.rows = append(f.rows, formRow{name: rawField, hint: "an object in JSON; its fields are not known here", input: newInput(f.values[rawField])})
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

// rawField is the name of the row in which a command is written as JSON.
const rawField = "JSON"

// keep remembers what is written in the fields.
func (f *form) keep() {
	for _, row := range f.rows[firstField:] {
		f.values[row.name] = row.input.Value()
	}
}

// lookAgainMsg asks once more what a command has led to.
type lookAgainMsg struct{ correlation string }

// Until everything that a command led to is done, it is asked for again and again:
// at first often, so that one sees it happen, and in the end no more.
const (
	soon      = 150 * time.Millisecond
	longest   = 2 * time.Second
	mostLooks = 60
)

// takeEffects shows what the command led to, and asks again until all is done.
func (f *form) takeEffects(message effectsMsg) tea.Cmd {
	if f.result == nil || message.correlation != f.result.CorrelationID {
		return nil
	}
	f.effects = &message
	if f.looked++; f.settled() || f.looked >= mostLooks {
		return nil
	}
	return tea.Tick(min(longest, soon*time.Duration(f.looked)), func(time.Time) tea.Msg { return lookAgainMsg{message.correlation} })
}

func (f *form) settled() bool {
	return f.effects != nil && f.effects.err == nil && f.effects.effects.Settled()
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
	f.edited()
	return tea.Batch(command, f.afterTyping())
}

// edited forgets what became of the command as it was before.
func (f *form) edited() {
	f.result, f.refused, f.effects, f.looked = nil, nil, nil, 0
	delete(f.missing, f.rows[f.active].name)
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
	f.edited()
}

// recall brings back a command that was sent before.
func (f *form) recall(by int) tea.Cmd {
	history := f.m.streams.history
	f.past = max(0, min(f.past+by, len(history)))
	if f.past == 0 {
		return nil
	}
	before := history[len(history)-f.past]
	f.rows[domainRow].input.SetValue(before.Domain)
	f.rows[aggregateRow].input.SetValue(before.ID)
	f.rows[commandRow].input.SetValue(before.Command)
	f.values = maps.Clone(before.Values)
	if f.values == nil {
		f.values = map[string]string{} // of a file that somebody wrote
	}
	for i := firstField; i < len(f.rows); i++ {
		f.rows[i].input.SetValue(f.values[f.rows[i].name])
	}
	f.edited()
	return f.changed()
}

// json returns the command as it is written by now, and notes what is wrong.
func (f *form) json() (json.RawMessage, bool) {
	f.keep()
	clear(f.wrong)
	for name := range f.missing {
		f.wrong[name] = "is missing"
	}
	if f.unknown != nil && f.value(commandRow) != "" {
		f.wrong["command"] = f.m.explain(f.unknown) // which does not keep anybody from sending it
	}
	if f.raw {
		return f.rawJSON()
	}
	text, wrong := inspect.Fill(f.fields, f.values, f.m.now())
	for _, mistake := range wrong {
		f.wrong[mistake.Field] = mistake.Message
	}
	return text, len(wrong) == 0
}

func (f *form) rawJSON() (json.RawMessage, bool) {
	text := strings.TrimSpace(f.values[rawField])
	if text == "" {
		return json.RawMessage("{}"), true
	}
	if text[0] != '{' || !json.Valid([]byte(text)) {
		f.wrong[rawField] = "expected an object in JSON, such as {\"name\": \"Alice\"}"
		return json.RawMessage("{}"), false
	}
	return json.RawMessage(text), true
}

func (f *form) send() tea.Cmd {
	if ask := f.changed(); f.asking {
		f.m.say("", fmt.Errorf("nothing was sent: the fields of the command are only just asked for"))
		return ask
	}
	if f.sending {
		return nil
	}
	clear(f.missing)
	for i, name := range []string{"domain", "aggregate", "command"} {
		if f.value(i) == "" {
			f.missing[name] = true
		}
	}
	text, right := f.json()
	if !right || len(f.missing) > 0 {
		f.m.say("", fmt.Errorf("nothing was sent: look at the fields that are marked"))
		return nil
	}
	f.edited()
	f.sending = true
	return tea.Batch(f.remember(), f.m.asker.send(inspect.SendRequest{Domain: f.value(domainRow), ID: f.value(aggregateRow), Type: f.value(commandRow), JSON: text, Sync: inspect.SyncSimple}))
}

// remember keeps the command, to be sent again.
func (f *form) remember() tea.Cmd {
	f.past = 0
	return f.m.remember(sentCommand{f.value(domainRow), f.value(aggregateRow), f.value(commandRow), maps.Clone(f.values)})
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
	if message.sent.CorrelationID == "" || len(message.sent.Events) == 0 {
		return nil
	}
	return m.effects(message.sent.CorrelationID)
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
	lines := append([]string{styles.heading("as JSON", width, false)}, styles.block(text, width)...)
	lines = append(lines, "")
	switch {
	case f.sending:
		lines = append(lines, styles.faint.Render("sending …"))
	case f.refused != nil:
		lines = append(lines, styles.bad.Render("refused"))
		lines = append(lines, painted(styles.title.UnsetBold(), f.m.explain(f.refused), width)...)
	case f.result != nil:
		lines = append(lines, f.resultLines()...)
	}
	if over := len(lines) - height; over > 0 { // what became of it matters more than what it was
		lines = append(lines[:1], lines[1+over:]...)
	}
	return column(lines, width, height)
}

func (f *form) resultLines() []string {
	styles := f.m.styles
	lines := []string{styles.good.Render("accepted")}
	if len(f.result.Events) == 0 {
		lines = append(lines, "nothing was stored, because the command changed nothing")
	}
	for _, event := range f.result.Events {
		lines = append(lines, fmt.Sprintf("%d %s", event.Sequence, styles.name.Render(clean(event.ShortType()))))
	}
	for _, projection := range f.result.Projections {
		lines = append(lines, styles.faint.Render(fmt.Sprintf("%s is at %d", clean(projection.Projector), projection.Sequence)))
	}
	if f.result.CorrelationID == "" || len(f.result.Events) == 0 {
		return lines
	}
	switch {
	case f.effects == nil:
	case f.effects.err != nil:
		lines = append(lines, styles.bad.Render("what it led to is not known: ")+f.m.explain(f.effects.err))
	default:
		lines = f.effectLines(lines, f.effects.effects.Trace.Steps)
		lines = append(lines, f.waiting())
	}
	return append(lines, styles.faint.Render("corr "+clean(f.result.CorrelationID)))
}

// effectLines lists what others did because of the command.
func (f *form) effectLines(lines []string, steps []*inspect.Step) []string {
	for _, step := range steps {
		for _, event := range step.Events {
			if slices.ContainsFunc(f.result.Events, func(own inspect.Event) bool { return same(own, event) }) {
				continue
			}
			by := ""
			if step.Cause != nil {
				by = clean(step.Cause.By) + " "
			}
			lines = append(lines, fmt.Sprintf("%s→ %s %s %s", by, clean(event.Domain), clean(event.Name()), f.m.styles.name.Render(clean(event.ShortType()))))
		}
		lines = f.effectLines(lines, step.Steps)
	}
	return lines
}

// waiting says whether all is done.
func (f *form) waiting() string {
	styles := f.m.styles
	behind := clean(strings.Join(f.effects.effects.Behind, ", "))
	switch {
	case f.settled() && len(f.effects.effects.Letters) > 0:
		return styles.bad.Render("done, but for what is among the dead letters: " + clean(f.effects.effects.Letters[0].Place()))
	case f.settled():
		return styles.good.Render("all is done")
	case len(f.effects.effects.Paused) > 0:
		return styles.warn.Render("paused: " + clean(strings.Join(f.effects.effects.Paused, ", ")))
	case f.looked >= mostLooks:
		return styles.warn.Render("not done, and not waited for any more: " + behind)
	}
	return styles.faint.Render("at work: " + behind)
}
