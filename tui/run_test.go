package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/angz-dev/angz/inspect"
)

// output is a terminal's memory of everything that was written to it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	wait map[string]chan struct{}
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(text)
	for word, seen := range o.wait {
		if bytes.Contains(o.text.Bytes(), []byte(word)) {
			close(seen)
			delete(o.wait, word)
		}
	}
	return len(text), nil
}

// shows returns a channel that is closed when a word was written.
func (o *output) shows(word string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := make(chan struct{})
	if o.wait == nil {
		o.wait = map[string]chan struct{}{}
	}
	o.wait[word] = seen
	return seen
}

// enter and leave are what a program says to a terminal to have its own screen.
const enter, leave = "\x1b[?1049h", "\x1b[?1049l"

func (o *output) restored(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.text.String()
	if began := strings.LastIndex(text, enter); began >= 0 && strings.LastIndex(text, leave) < began {
		t.Errorf("the terminal is not as before; the end is %q", text[max(0, len(text)-200):])
	}
}

// broken is a system that breaks down when something is asked.
type broken struct {
	*fake
	on chan struct{}
}

func (b broken) Topology(context.Context) (inspect.Topology, error) {
	panic("nobody expected this")
}

func (b broken) Follow(context.Context, inspect.TailRequest) iter.Seq[inspect.Followed] {
	return func(func(inspect.Followed) bool) {
		<-b.on
		panic("nor this")
	}
}

func TestTheTerminalIsRestored(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, ctx context.Context, system System) (*output, io.Writer, <-chan error) {
		keys, person := io.Pipe()
		t.Cleanup(func() { person.Close() })
		out, ended := &output{}, make(chan error, 1)
		began := out.shows(enter)
		go func() {
			ended <- Run(ctx, Options{System: system, Input: keys, Output: out, Environ: []string{"TERM=xterm-256color"}})
		}()
		select {
		case <-began:
		case err := <-ended:
			t.Fatalf("it ended before it began: %v", err)
		}
		return out, person, ended
	}
	t.Run("when the person ends it", func(t *testing.T) {
		t.Parallel()
		out, person, ended := start(t, t.Context(), newFake())
		io.WriteString(person, "q")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		out.restored(t)
	})
	t.Run("when it is told to end", func(t *testing.T) {
		t.Parallel()
		ctx, stop := context.WithCancel(t.Context())
		out, _, ended := start(t, ctx, newFake())
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		out.restored(t)
	})
	t.Run("when a question breaks down", func(t *testing.T) {
		t.Parallel()
		out, person, ended := start(t, t.Context(), broken{newFake(), make(chan struct{})})
		io.WriteString(person, "3")
		if err := <-ended; !errors.Is(err, tea.ErrProgramPanic) {
			t.Errorf("it ended with %v", err)
		}
		out.restored(t)
	})
	t.Run("when the news break down", func(t *testing.T) {
		t.Parallel()
		on := make(chan struct{})
		out, _, ended := start(t, t.Context(), broken{newFake(), on})
		close(on)
		if err := <-ended; !errors.Is(err, tea.ErrProgramPanic) {
			t.Errorf("it ended with %v", err)
		}
		out.restored(t)
	})
}

func TestATerminalWithoutUTF8(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ []string
		want    bool
	}{
		{nil, false}, {[]string{"LANG=de_DE.UTF-8"}, false}, {[]string{"LANG=en_US.utf8", "LC_ALL="}, false}, {[]string{"LANG=C"}, true}, {[]string{"LANG=C.UTF-8", "LC_ALL=POSIX"}, true},
	} {
		if got := onlyASCII(c.environ); got != c.want {
			t.Errorf("%v: %v", c.environ, got)
		}
	}
	d := drive(t, newFake(), 100, 30, func(o *Options) { o.Environ = []string{"LANG=C"} })
	d.press("g")
	d.writes("order 日本-🍵")
	d.press("enter")
	d.until("2 events", "changed the state")
	view := d.model.View().Content
	if strings.ContainsFunc(view, func(r rune) bool { return r >= utf8.RuneSelf }) {
		t.Errorf("it is not all ASCII:\n%s", view)
	}
	if !strings.Contains(ansi.Strip(view), "> order ????-??") {
		t.Errorf("the name is not there:\n%s", ansi.Strip(view))
	}
}

func FuzzInASCII(f *testing.F) {
	for _, seed := range []string{"│ a", "日本🍵", "e\u0301", "\u200d", "\x1b[31mrot\x1b[0m", "👩‍👩‍👧", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := newStyles().bad.Render(clean(text))
		drawn := inASCII(line)
		if strings.ContainsFunc(drawn, func(r rune) bool { return r >= utf8.RuneSelf }) {
			t.Errorf("%q became %q", line, drawn)
		}
		if ansi.StringWidth(drawn) != ansi.StringWidth(line) {
			t.Errorf("%q is %d columns wide, %q is %d", line, ansi.StringWidth(line), drawn, ansi.StringWidth(drawn))
		}
	})
}

// TestAResizedTerminalScrollsAllOfItsLines sees that it is told so before all is
// drawn again.
func TestAResizedTerminalScrollsAllOfItsLines(t *testing.T) {
	t.Parallel()
	m, err := newModel(t.Context(), Options{System: newFake()})
	if err != nil {
		t.Fatal(err)
	}
	keys, person := io.Pipe()
	defer person.Close()
	out, ended := &output{}, make(chan error, 1)
	began, told := out.shows(enter), out.shows("\x1b[r")
	program := tea.NewProgram(m, tea.WithContext(t.Context()), tea.WithInput(keys), tea.WithOutput(out), tea.WithEnvironment([]string{"TERM=xterm-256color"}))
	go func() {
		_, err := program.Run()
		ended <- err
	}()
	<-began
	program.Send(tea.WindowSizeMsg{Width: 120, Height: 40})
	<-told
	redrawn := out.shows("streams")
	program.Send(tea.WindowSizeMsg{Width: 100, Height: 30})
	<-redrawn
	program.Quit()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
