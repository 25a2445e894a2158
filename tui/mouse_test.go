package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// clicks presses the mouse on a word of the screen, the last one.
func (d *driver) clicks(word string) {
	d.Helper()
	x, y := d.place(word)
	d.take(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft})
}

func (d *driver) wheels(word string, button tea.MouseButton) {
	d.Helper()
	x, y := d.place(word)
	d.take(tea.MouseWheelMsg{X: x, Y: y, Button: button})
}

func (d *driver) place(word string) (x, y int) {
	d.Helper()
	x, y = -1, -1
	for i, line := range strings.Split(d.screen(), "\n") {
		if before, _, found := strings.Cut(line, word); found {
			x, y = widthOf(before), i
		}
	}
	if y < 0 {
		d.Fatalf("%q is not on the screen:\n%s", word, d.screen())
	}
	return x, y
}

func TestTheMouseChoosesAndScrolls(t *testing.T) {
	t.Parallel()
	system := newFake()
	system.letters = []inspect.DeadLetter{letter}
	d := drive(t, system, 100, 30, func(o *Options) { o.Mouse = true })
	if got := d.model.View().MouseMode; got != tea.MouseModeCellMotion {
		t.Errorf("the mode of the mouse is %v", got)
	}
	d.clicks("1.2M")
	d.clicks("1.2M") // what is chosen is opened
	d.until("日本")
	d.clicks("order-1")
	if d.model.streams.events.everything { // it was chosen already, as the first one
		d.clicks("order-1")
	}
	d.until("5 events", "Step1 4")
	d.clicks("1 Step1")
	d.until("Step1 1")
	d.wheels("0 Step0", tea.MouseWheelDown)
	d.until("Step1 4")
	d.wheels("0 Step0", tea.MouseWheelUp)
	d.until("Step1 1")
	d.clicks("5 dead letters")
	d.until("parked")
	d.clicks("parked")
	d.until("reason", "division by zero")
	d.clicks("2 trace")
	d.until("no trace")
	d.clicks("3 services")
	d.until("carried by channel")
	d.clicks("loyalty")
	if got := d.model.services.list.cursor; got != 1 {
		t.Errorf("component %d is chosen", got)
	}
	d.clicks("carried by channel") // where nothing is
	d.press("ctrl+p")
	d.writes("alice")
	d.until("customer alice@example.com")
	d.clicks("customer alice@example.com")
	d.until("▸ customer alice@examp")
	d.press("?")
	d.until("Keys of streams")
	d.take(tea.MouseClickMsg{X: 3, Y: 5, Button: tea.MouseLeft})
	d.wheels("Keys of", tea.MouseWheelDown)
	d.press("esc")

	d.press("M")
	d.until("the mouse selects text")
	if got := d.model.View().MouseMode; got != tea.MouseModeNone {
		t.Errorf("the mode of the mouse is %v", got)
	}
}

// TestTheMouseAnywhere clicks and turns the wheel everywhere on every screen: nothing
// breaks down.
func TestTheMouseAnywhere(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{60, 20}, {100, 30}} {
		system := newFake()
		system.letters = []inspect.DeadLetter{letter}
		d := drive(t, system, size[0], size[1], func(o *Options) { o.Forms = known{fieldsOfAddItem(t)} })
		for _, keys := range [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"s"}, {"esc", "ctrl+p"}} {
			d.press(keys...)
			for y := range size[1] {
				for x := 0; x < size[0]; x += 7 {
					d.take(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft})
					d.take(tea.MouseWheelMsg{X: x, Y: y, Button: tea.MouseWheelDown})
					d.take(tea.MouseWheelMsg{X: x, Y: y, Button: tea.MouseWheelUp})
				}
				d.screen()
			}
		}
	}
}
