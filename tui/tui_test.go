package tui

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/payload"
)

var update = flag.Bool("update", false, "write the golden screens anew")

func TestMain(m *testing.M) {
	if os.Getenv(breakingDown) != "" {
		os.Exit(breakDown())
	}
	flag.Parse()
	time.Local = time.UTC // what golden screens show
	os.Exit(m.Run())
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// fake is a system whose aggregates count: event n of each says n.
type fake struct {
	mu       sync.Mutex
	told     sync.Mutex        // of how it behaves
	length   map[string]uint32 // events by "domain id"
	feed     chan inspect.Followed
	letters  []inspect.DeadLetter
	widest   uint32 // the largest range of events that was asked for
	sent     []inspect.SendRequest
	refuse   error
	noReplay bool
	failing  error           // of every question
	led      []*inspect.Step // to what the command that was sent led by now
	// decidedAbout says what was decided about components.
	decidedAbout map[string]string
	done         bool // every component has seen everything
}

// set changes how the system behaves.
func (f *fake) set(change func()) {
	f.told.Lock()
	defer f.told.Unlock()
	change()
}

func (f *fake) is(what *bool) (is bool) {
	f.set(func() { is = *what })
	return is
}

func (f *fake) error(what *error) (err error) {
	f.set(func() { err = *what })
	return err
}

func newFake() *fake {
	f := &fake{length: map[string]uint32{"customer alice@example.com": 3, "customer bob": 1, "order order-1": 5, "order 日本-🍵": 2}, feed: make(chan inspect.Followed, 10_000)}
	f.feed <- inspect.Followed{Stored: inspect.Stored{Position: 11, Head: 11}}
	return f
}

func eventOf(domain, id string, number uint32) inspect.Event {
	return inspect.Event{
		Domain: domain, AggregateID: id, Root: "root of " + id, Sequence: number, Type: fmt.Sprintf("shop.Step%d", number%3), CreatedAt: noon.Add(time.Duration(number) * time.Second),
		CorrelationID: "corr-" + id, Position: 11, Payload: json.RawMessage(fmt.Sprintf(`{"number":%d,"text":"a \"b\" \u001b[31m 日本🍵","items":[true,null]}`, number)), Decoded: true,
	}
}

func (f *fake) Domains(context.Context) ([]inspect.Domain, uint64, error) {
	return []inspect.Domain{
		{Name: "customer", Aggregates: 2, Events: 4, Position: 11, LastAt: noon.Add(-time.Minute), Served: true},
		{Name: "order", Aggregates: 1_234_567, Events: 7, Position: 11, LastAt: noon, Served: true},
	}, 11, f.error(&f.failing)
}

func (f *fake) Summaries(_ context.Context, request inspect.SummariesRequest) (inspect.Summaries, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page inspect.Summaries
	for _, id := range []string{"alice@example.com", "bob", "order-1", "日本-🍵"} {
		if length, has := f.length[request.Domain+" "+id]; has && strings.HasPrefix(id, request.Prefix) {
			page.Aggregates = append(page.Aggregates, summaryOf(request.Domain, id, length))
		}
	}
	return page, f.error(&f.failing)
}

func summaryOf(domain, id string, length uint32) inspect.Summary {
	return inspect.Summary{
		Aggregate: inspect.Aggregate{Domain: domain, ID: id, Root: "root of " + id}, Events: length, Position: 11, Type: "shop.Step0", LastAt: noon.Add(-2 * time.Hour),
	}
}

func (f *fake) Summary(_ context.Context, domain, id string) (inspect.Summary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return summaryOf(domain, id, f.length[domain+" "+id]), f.error(&f.failing)
}

func (f *fake) Events(_ context.Context, request inspect.EventsRequest) iter.Seq2[inspect.Event, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	length := f.length[request.Domain+" "+request.ID]
	to := length
	if request.To != nil {
		to = min(length, *request.To+1)
		f.widest = max(f.widest, to-min(to, request.From))
	}
	return func(yield func(inspect.Event, error) bool) {
		for number := request.From; number < to; number++ {
			if !yield(eventOf(request.Domain, request.ID, number), nil) {
				return
			}
		}
	}
}

func (f *fake) Follow(ctx context.Context, _ inspect.TailRequest) iter.Seq[inspect.Followed] {
	return func(yield func(inspect.Followed) bool) {
		for {
			select {
			case followed := <-f.feed:
				if !yield(followed) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// happens stores the next event of an aggregate.
func (f *fake) happens(domain, id string) {
	f.mu.Lock()
	number := f.length[domain+" "+id]
	f.length[domain+" "+id] = number + 1
	f.mu.Unlock()
	event := eventOf(domain, id, number)
	event.Position = 12 + uint64(number)
	f.feed <- inspect.Followed{Stored: inspect.Stored{Events: []inspect.Event{event}, Position: event.Position, Head: event.Position}}
}

func (f *fake) Trace(_ context.Context, correlation string) (inspect.Trace, error) {
	if correlation == "corr-new" {
		f.mu.Lock()
		defer f.mu.Unlock()
		return inspect.Trace{CorrelationID: correlation, Steps: f.led}, f.error(&f.failing)
	}
	first := &inspect.Step{Stored: inspect.Stored{Events: []inspect.Event{eventOf("order", "order-1", 0), eventOf("order", "order-1", 1)}}}
	child := &inspect.Step{
		Stored: inspect.Stored{Events: []inspect.Event{eventOf("customer", "bob", 0)}, Cause: &inspect.Cause{By: "loyalty", Domain: "order", Root: "root of order-1", Sequence: 0}},
		After:  1500 * time.Microsecond,
	}
	first.Steps = []*inspect.Step{child}
	return inspect.Trace{CorrelationID: correlation, Steps: []*inspect.Step{first}, Commands: 2, Events: 3, Took: time.Second}, f.error(&f.failing)
}

// leadsTo says what the command that is sent leads to by now.
func (f *fake) leadsTo(step *inspect.Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := *step
	f.led = []*inspect.Step{&made}
}

func (f *fake) State(_ context.Context, domain, id string, sequence *uint32) (inspect.State, error) {
	if f.is(&f.noReplay) {
		return inspect.State{}, status.Error(codes.FailedPrecondition, "domain order's service does not offer Replay")
	}
	return inspect.State{
		Domain: domain, AggregateID: id, Sequence: *sequence, Type: "shop.State", Decoded: true,
		JSON: json.RawMessage(fmt.Sprintf(`{"count":%d,"fixed":"x","last":{"step":"Step%d"}}`, *sequence+1, *sequence%3)),
	}, f.error(&f.failing)
}

func (f *fake) Topology(context.Context) (inspect.Topology, error) {
	return inspect.Topology{Store: "sqlite", Bus: "channel", Components: []inspect.Component{
		{Kind: "domain", Name: "order", Address: "127.0.0.1:1"}, {Kind: "saga", Name: "loyalty", From: []string{"order"}, To: []string{"customer"}, Address: "127.0.0.1:2"},
	}}, f.error(&f.failing)
}

func (f *fake) Progress(context.Context, string) ([]inspect.Progress, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	receipt := inspect.Progress{Name: "projector/receipt", Slices: 2, Held: 1, Position: 5, Head: 11, Lag: 6, UpdatedAt: noon}
	if decided := f.decidedAbout["projector/receipt"]; decided != "" {
		receipt.Note, receipt.Paused, receipt.Rewinding = decided, strings.HasPrefix(decided, "pause"), strings.HasPrefix(decided, "rebuild")
	}
	return []inspect.Progress{
		receipt, {Name: "saga/loyalty", Slices: 1, Position: 11, Head: 11, UpdatedAt: noon.Add(-time.Hour), Failed: "no", Note: "rewind by bob at 12:00"},
	}, f.error(&f.failing)
}

func (f *fake) decide(what, component string, decision inspect.Decision) (inspect.Progress, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decidedAbout == nil {
		f.decidedAbout = map[string]string{}
	}
	f.decidedAbout[component] = what + " by " + decision.By + ": " + decision.Note
	return inspect.Progress{}, f.error(&f.failing)
}

func (f *fake) Pause(_ context.Context, component string, decision inspect.Decision) (inspect.Progress, error) {
	return f.decide("pause", component, decision)
}

func (f *fake) Resume(_ context.Context, component string, decision inspect.Decision) (inspect.Progress, error) {
	return f.decide("resume", component, decision)
}

func (f *fake) Rewind(_ context.Context, rewind inspect.Rewind, decision inspect.Decision) (inspect.Progress, error) {
	if !rewind.Clear {
		return inspect.Progress{}, errors.New("nothing is cleared away")
	}
	return f.decide("rebuild", rewind.Component, decision)
}

func (f *fake) Effects(ctx context.Context, correlation string) (effects inspect.Effects, err error) {
	effects.Trace, err = f.Trace(ctx, correlation)
	if !f.is(&f.done) {
		effects.Behind = []string{"projector/receipt"}
	}
	return effects, err
}

func (f *fake) DeadLetters(context.Context, inspect.DeadLetterSelection, ...inspect.DeadLetterState) iter.Seq2[inspect.DeadLetter, error] {
	f.mu.Lock()
	letters := append([]inspect.DeadLetter(nil), f.letters...)
	f.mu.Unlock()
	return func(yield func(inspect.DeadLetter, error) bool) {
		for _, letter := range letters {
			if !yield(letter, f.error(&f.failing)) {
				return
			}
		}
	}
}

func (f *fake) DeadLetter(context.Context, string, uint64) (inspect.DeadLetter, error) {
	letter := f.letters[0]
	letter.Events = []inspect.Event{eventOf("order", "order-1", 3)}
	return letter, f.error(&f.failing)
}

func (f *fake) Retry(_ context.Context, selection inspect.DeadLetterSelection, _ inspect.Decision) ([]inspect.DeadLetter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letters = nil
	return nil, f.error(&f.failing)
}

func (f *fake) Skip(_ context.Context, _ inspect.DeadLetterSelection, decision inspect.Decision) ([]inspect.DeadLetter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letters[0].State, f.letters[0].Note = inspect.DeadLetterSkipped, decision.Note
	return nil, nil
}

func (f *fake) Send(_ context.Context, request inspect.SendRequest) (inspect.Sent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, request)
	if err := f.error(&f.refuse); err != nil {
		return inspect.Sent{}, err
	}
	return inspect.Sent{
		Domain: request.Domain, ID: request.ID, CorrelationID: "corr-new", Events: []inspect.Event{eventOf(request.Domain, request.ID, 7)},
		Projections: []inspect.Projection{{Projector: "receipt", Sequence: 7}},
	}, nil
}

var letter = inspect.DeadLetter{
	Component: "projector/receipt", Position: 17, Domain: "order", AggregateID: "order-1", Root: "root of order-1", Sequence: 3, Count: 1, Type: "shop.Step0", CorrelationID: "corr-order-1",
	State: inspect.DeadLetterParked, Reason: "division by zero\nat line 3", Attempts: 6, FirstAt: noon.Add(-time.Hour), LastAt: noon.Add(-time.Minute),
}

// driver runs a model as the library does, with the messages in a test's hands.
type driver struct {
	*testing.T
	system   *fake
	model    *model
	messages chan tea.Msg
}

func drive(t *testing.T, system *fake, width, height int, edit ...func(*Options)) *driver {
	t.Helper()
	options := Options{System: system, Name: "localhost:1316"}
	for _, change := range edit {
		change(&options)
	}
	m, err := newModel(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	m.now = func() time.Time { return noon }
	d := &driver{T: t, system: system, model: m, messages: make(chan tea.Msg, 1000)}
	d.do(m.Init())
	d.take(tea.WindowSizeMsg{Width: width, Height: height})
	d.until("customer")
	return d
}

// do runs a command in the background.
func (d *driver) do(command tea.Cmd) {
	if command == nil {
		return
	}
	go func() {
		select {
		case d.messages <- command():
		case <-d.Context().Done():
		}
	}()
}

func (d *driver) take(message tea.Msg) {
	switch message := message.(type) {
	case nil:
	case tea.BatchMsg:
		for _, command := range message {
			d.do(command)
		}
	default:
		_, command := d.model.Update(message)
		d.do(command)
	}
}

// screen returns what a person sees, without colours.
func (d *driver) screen() string {
	var lines []string
	for _, line := range d.model.draw() {
		lines = append(lines, strings.TrimRight(ansi.Strip(line), " "))
	}
	return strings.Join(lines, "\n")
}

// until takes messages until all words are on the screen.
func (d *driver) until(words ...string) {
	d.Helper()
	d.when(fmt.Sprintf("%q are on the screen", words), func(screen string) bool {
		for _, word := range words {
			if !strings.Contains(screen, word) {
				return false
			}
		}
		return true
	})
}

func (d *driver) when(what string, is func(screen string) bool) {
	d.Helper()
	deadline := time.After(time.Minute)
	for !is(d.screen()) {
		select {
		case message := <-d.messages:
			d.take(message)
		case <-deadline:
			d.Fatalf("it does not come to it that %s:\n%s", what, d.screen())
		}
	}
}

// press presses keys, by their names or their characters.
func (d *driver) press(keys ...string) {
	for _, key := range keys {
		d.take(keyOf(key))
	}
}

func keyOf(name string) tea.KeyPressMsg {
	special := map[string]rune{
		"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab,
		"home": tea.KeyHome, "end": tea.KeyEnd, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace,
	}
	if code, known := special[name]; known {
		return tea.KeyPressMsg{Code: code}
	}
	if letter, isControl := strings.CutPrefix(name, "ctrl+"); isControl {
		return tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// writes types a text, a character at a time.
func (d *driver) writes(text string) {
	for _, r := range text {
		d.press(string(r))
	}
}

// golden compares the screen with the one that is kept.
func (d *driver) golden(name string) {
	d.Helper()
	place := filepath.Join("testdata", name+".txt")
	got := d.screen() + "\n"
	for i, line := range d.model.draw() {
		if width := ansi.StringWidth(line); width > d.model.width {
			d.Errorf("line %d of %s is %d columns wide, the screen has %d", i, name, width, d.model.width)
		}
	}
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(place, []byte(got), 0o644)); err != nil {
			d.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(place)
	if err != nil {
		d.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		d.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestScreens(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{60, 20}, {80, 24}, {120, 40}} {
		name := func(screen string) string { return fmt.Sprintf("%s-%dx%d", screen, size[0], size[1]) }
		t.Run(name("size"), func(t *testing.T) {
			t.Parallel()
			system := newFake()
			system.letters = []inspect.DeadLetter{letter}
			d := drive(t, system, size[0], size[1])
			d.golden(name("domains"))
			d.press("down", "down", "enter")
			d.until("日本")
			d.golden(name("aggregates"))
			d.press("enter")
			d.until("5 events", "changed the state", "Step1")
			d.golden(name("events"))
			d.press("v")
			d.golden(name("state"))
			d.press("v", "[", "[", "m", "]")
			d.until("state since 2")
			d.golden(name("marked"))
			d.press("t")
			d.until("loyalty")
			d.golden(name("trace"))
			d.press("3")
			d.until("carried by channel")
			d.golden(name("services"))
			d.press("4")
			d.until("projector/receipt")
			d.golden(name("projections"))
			d.press("5")
			d.until("parked")
			d.golden(name("letters"))
			d.press("enter")
			d.until("division by zero", "Step0")
			d.golden(name("letter"))
			d.press("?")
			d.golden(name("help"))
		})
	}
}

func TestTooSmall(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 80, 24)
	for _, size := range [][2]int{{59, 20}, {60, 19}, {1, 1}} {
		d.take(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		if got := d.model.draw(); len(got) != 1 || ansi.StringWidth(got[0]) > size[0] {
			t.Errorf("%v: %q", size, got)
		}
	}
	d.take(tea.WindowSizeMsg{Width: 80, Height: 24})
	d.until("domains")
}

func TestEventsArriveLive(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("▸ order order-1", "5 events", "4 Step1")
	d.system.happens("order", "order-1")
	d.until("6 events", "5 Step2", "Step2 5") // at the left and, since it is the newest, at the right
	d.press("up")
	d.until("Step1 4")
	d.system.happens("order", "order-1")
	d.until("7 events", "6 Step0", "Step1 4") // whoever looks at an older one goes on doing so
	d.system.happens("order", "something else")
	d.press("end")
	d.until("Step0 6")
}

func TestAHistoryOfHalfAMillion(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.length["order order-1"] = 500_000
	d := drive(t, system, 100, 30)
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("500000 events", "499999 Step1")
	for range 400 { // pages
		d.press("pgup")
		d.when("more is read", func(string) bool { return !d.model.streams.events.loading })
	}
	if got := len(d.model.streams.events.events); got > mostKept {
		t.Errorf("%d events are kept, at most %d should be", got, mostKept)
	}
	d.press("home")
	d.until("    0 Step0")
	d.press("end")
	d.until("499999 Step1")
	d.press("g")
	d.writes("order order-1 250000")
	d.press("enter")
	d.until("Step1 250000")
	d.press("@")
	d.writes((noon.Add(1234*time.Second + time.Millisecond)).Format("2006-01-02T15:04:05Z"))
	d.press("enter")
	d.until("Step1 1234")
	if system.widest > page {
		t.Errorf("%d events were asked for at once, at most %d should be", system.widest, page)
	}
}

func TestTheConnectionIsLostAndRegained(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.system.feed <- inspect.Followed{Err: status.Error(codes.Unavailable, "gone"), Wait: time.Second}
	d.until("no connection", "gone", "trying again")
	d.system.happens("order", "order-1")
	d.until("connected again")
}

func TestAllOfWhatWentWrongIsTold(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 60, 20, func(o *Options) {
		o.Explain = func(err error) error { return fmt.Errorf("%w\nthe next step", err) }
	})
	why := strings.Repeat("its certificate is not accepted, ", 5) + "renew it"
	d.system.feed <- inspect.Followed{Err: errors.New(why), Wait: time.Second}
	d.until("no connection", "renew it", "the next step · trying again", "? keys")
	d.golden("lost")
	d.system.feed <- inspect.Followed{Err: errors.New(strings.Repeat(why, 20)), Wait: time.Second}
	d.when("half of the screen stays", func(screen string) bool {
		return strings.Contains(screen, "domains") && strings.Contains(screen, "order") && !strings.Contains(screen, "trying again")
	})
	if got := len(d.model.draw()); got != 20 {
		t.Errorf("%d lines are drawn on 20", got)
	}
}

func TestWhatTheSystemCannotAnswer(t *testing.T) {
	t.Parallel()
	system := newFake()
	d := drive(t, system, 100, 30)
	system.set(func() { system.failing = status.Error(codes.PermissionDenied, "bob may not call it") })
	for _, keys := range [][]string{{"down", "enter"}, {"3"}, {"4"}} {
		d.press(keys...)
		d.until("bob may not call it")
		d.press("1")
	}
	system.set(func() { system.failing, system.noReplay = nil, true })
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.when("the reason is told", func(screen string) bool { return strings.Contains(screen, "no state: domain order") })
}

func TestMoreHappensThanCanBeShown(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.press("enter")
	for range 5_000 {
		d.system.happens("order", "order-1")
	}
	d.system.feed <- inspect.Followed{Stored: inspect.Stored{Skipped: 4321, Position: 99_999, Head: 99_999}}
	d.until("4321 events left out", "#100.0k"[:4])
	if got := len(d.model.streams.events.log); got > mostKept {
		t.Errorf("%d events are kept, at most %d should be", got, mostKept)
	}
}

func TestDeadLettersAreDecidedAbout(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.letters = []inspect.DeadLetter{letter}
	d := drive(t, system, 100, 30)
	d.press("5")
	d.until("projector/receipt")
	d.press("k", "enter")
	d.until("skipping needs a reason")
	d.press("k")
	d.writes("a test")
	d.press("enter")
	d.until("is given up", "skipped")
	if system.letters[0].Note != "a test" {
		t.Errorf("the note is %q", system.letters[0].Note)
	}
	d.press("r")
	d.until("is handled again", "no dead letters")
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.letters = []inspect.DeadLetter{letter}
	d := drive(t, system, 100, 30, func(o *Options) { o.ReadOnly = true })
	d.until("read-only")
	d.press("5")
	d.until("projector/receipt")
	for _, key := range []string{"r", "k", "s"} {
		d.press(key)
		d.until("--read-only:", "is not possible here")
	}
	d.press("4")
	d.until("saga/loyalty")
	for key, what := range map[string]string{"p": "pausing", "b": "rebuilding"} {
		d.press(key)
		d.until("--read-only: " + what + " is not possible here")
	}
	if d.model.form != nil || d.model.prompt != nil {
		t.Error("it asks all the same")
	}
}

// known knows one command.
type known struct{ fields []inspect.Field }

func (k known) Commands(_ context.Context, domain string) []string {
	if domain == "order" {
		return []string{"shop.AddItem", "shop.Cancel"}
	}
	return nil
}

func (k known) Fields(_ context.Context, name string) ([]inspect.Field, error) {
	if name == "shop.Cancel" {
		return nil, nil
	}
	return k.fields, nil
}

func TestACommandIsSent(t *testing.T) {
	t.Parallel()
	system := newFake()
	d := drive(t, system, 100, 30, func(o *Options) { o.Forms = known{fieldsOfAddItem(t)} })
	d.press("g")
	d.writes("order order-1")
	d.press("enter")
	d.until("5 events")
	d.press("s")
	d.until("shop.AddItem", "quantity")
	d.golden("form")
	d.press("tab")
	d.writes("tea")
	d.press("tab")
	d.writes("many")
	d.until(`"productId": "tea"`, `found "many"`)
	d.press("ctrl+s")
	d.until("nothing was sent")
	own := &inspect.Step{Stored: inspect.Stored{Events: []inspect.Event{eventOf("order", "order-1", 7)}}}
	system.leadsTo(own)
	d.press("backspace", "backspace", "backspace", "backspace", "2", "ctrl+s")
	d.until("accepted", "7 Step1", "receipt is at 7", "at work: projector/receipt")
	own.Steps = []*inspect.Step{{Stored: inspect.Stored{Events: []inspect.Event{eventOf("inventory", "tea", 3)}, Cause: &inspect.Cause{By: "reservation"}}}}
	system.leadsTo(own)
	d.until("reservation → inventory tea Step0")
	system.set(func() { system.done = true })
	d.until("all is done")
	d.golden("form-sent")
	want := []inspect.SendRequest{{Domain: "order", ID: "order-1", Type: "shop.AddItem", JSON: json.RawMessage(`{"productId":"tea","quantity":2}`), Sync: inspect.SyncSimple}}
	if diff := cmp.Diff(want, system.sent); diff != "" {
		t.Error(diff)
	}

	system.set(func() { system.refuse = status.Error(codes.FailedPrecondition, "Order is closed") })
	d.press("esc", "s")
	d.until("shop.AddItem", "quantity")
	d.press("ctrl+p") // the same once more
	d.until(`"productId": "tea"`)
	d.press("ctrl+s")
	d.until("refused", "Order is closed")
	if len(system.sent) != 2 || string(system.sent[1].JSON) != string(want[0].JSON) {
		t.Errorf("the second one is %+v", system.sent)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.press("down", "enter")
	d.until("bob")
	d.press("/")
	d.writes("ali")
	d.press("enter")
	d.when("bob is gone", func(screen string) bool { return !strings.Contains(screen, "bob") && strings.Contains(screen, "alice") })
	d.press("enter")
	d.until("3 events")
	d.press("/")
	d.writes(`"number":1`)
	d.press("enter")
	d.when("one event is left", func(screen string) bool {
		return strings.Contains(screen, "1 Step1") && !strings.Contains(screen, "2 Step2")
	})
}

func TestExport(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30)
	d.press("g")
	d.writes("customer alice@example.com")
	d.press("enter")
	d.until("3 events")
	file := filepath.Join(t.TempDir(), "alice.jsonl")
	d.press("x")
	d.until("customer-alice@example.com.jsonl")
	for range "customer-alice@example.com.jsonl" {
		d.press("backspace")
	}
	d.writes(file)
	d.press("enter")
	d.until("3 events", "alice.jsonl")
	d.when("it is written", func(string) bool { content, _ := os.ReadFile(file); return strings.Count(string(content), "\n") == 3 })
	d.press("x")
	for range "customer-alice@example.com.jsonl" {
		d.press("backspace")
	}
	d.writes(file)
	d.press("enter")
	d.until("is there already")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys map[string][]string
		says string
	}{
		"an action that is not there": {map[string][]string{"dance": {"d"}}, `found the action "dance", expected one of up`},
		"two for one key":             {map[string][]string{"quit": {"s"}}, `found "s" for both send and quit`},
	} {
		if _, err := newModel(t.Context(), Options{System: newFake(), Keys: c.keys}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := drive(t, newFake(), 80, 24, func(o *Options) { o.Keys = map[string][]string{"down": {"j"}} })
	d.press("j", "enter")
	d.until("alice")
}

func FuzzPretty(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"\u001b[2J"]}`, "\x1b]0;x\a", "{", `"` + strings.Repeat("日", 100) + `"`, "\xff\xfe", "a\r\nb\tc"} {
		f.Add([]byte(seed), 20)
	}
	styles := newStyles()
	f.Fuzz(func(t *testing.T, payload []byte, width int) {
		width = max(1, min(width, 200))
		for _, line := range styles.block(payload, width) {
			if strings.ContainsFunc(ansi.Strip(line), unicode.IsControl) {
				t.Fatalf("a control character is shown: %q", line)
			}
		}
		for _, line := range pretty(payload) {
			if strings.ContainsAny(line, "\x1b\n\r\a\b") {
				t.Fatalf("a control character is shown: %q", line)
			}
			if drawn := fit(styles.colored(line), width); ansi.StringWidth(drawn) != width {
				t.Errorf("%q is %d columns wide, want %d", drawn, ansi.StringWidth(drawn), width)
			}
		}
	})
}

func fieldsOfAddItem(t *testing.T) []inspect.Field {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "shop.proto"), []byte("syntax = \"proto3\";\npackage shop;\nmessage AddItem {\n  string product_id = 1;\n  uint32 quantity = 2;\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := payload.Load(t.Context(), []string{folder}, nil)
	if err != nil {
		t.Fatal(err)
	}
	message, _ := schema.Message("shop.AddItem")
	return inspect.Fields(message)
}

func TestComponentsArePausedAndRebuilt(t *testing.T) {
	t.Parallel()
	d := drive(t, newFake(), 100, 30, func(o *Options) { o.By = "alice" })
	d.press("4")
	d.until("projector/receipt  running", "saga/loyalty", "idle")
	d.press("p")
	d.writes("no paper")
	d.press("enter")
	d.until("projector/receipt is paused", "projector/receipt  paused", "pause by alice: no paper")
	d.press("p")
	d.until("projector/receipt goes on", "projector/receipt  running", "resume by alice")
	d.press("b", "enter")
	d.until("needs a reason")
	d.press("b")
	d.writes("new columns")
	d.press("enter")
	d.until("projector/receipt is made anew", "projector/receipt  rewinding", "rebuild by alice: new columns")
	d.press("down")
	d.until("its events do not come again: no")
}
