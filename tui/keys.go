package tui

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// action is something that a key does.
type action string

// binding is an action with its usual keys and what help says of it.
type binding struct {
	action action
	keys   []string
	about  string
}

// bindings are all actions there are, in the order of help.
var bindings = []binding{
	{"up", []string{"up"}, "the line above"},
	{"down", []string{"down"}, "the line below"},
	{"page-up", []string{"pgup"}, "a page up"},
	{"page-down", []string{"pgdown"}, "a page down"},
	{"first", []string{"home"}, "the first one"},
	{"last", []string{"end"}, "the newest one, and stay there"},
	{"open", []string{"enter", "right"}, "open what is chosen"},
	{"back", []string{"esc", "left", "backspace"}, "back"},
	{"pane", []string{"tab"}, "the next part of the screen"},
	{"previous", []string{"["}, "the event before"},
	{"next", []string{"]"}, "the event after"},
	{"filter", []string{"/"}, "aggregates by the beginning of their names; events by a text"},
	{"search", []string{"ctrl+p"}, "find anything: screens, domains, aggregates, events, correlations"},
	{"go", []string{"g"}, "go to an aggregate: ID, or DOMAIN ID [NUMBER of an event]"},
	{"time", []string{"@"}, "go to a time, such as 15m (ago) or 2026-01-31T12:00:00Z"},
	{"order", []string{"o"}, "order aggregates by name or by activity"},
	{"state", []string{"v"}, "the whole state, or what changed in it"},
	{"mark", []string{"m"}, "compare with this event from now on"},
	{"trace", []string{"t"}, "everything that the event's request led to"},
	{"send", []string{"s"}, "send a command"},
	{"retry", []string{"r"}, "have a dead letter handled again"},
	{"skip", []string{"k"}, "give a dead letter up"},
	{"pause", []string{"p"}, "let a projector or saga rest, or go on"},
	{"rebuild", []string{"b"}, "have a projector make its read model anew"},
	{"copy", []string{"y"}, "copy the command line that shows the same"},
	{"export", []string{"x"}, "write the aggregate's events to a file"},
	{"refresh", []string{"ctrl+r"}, "ask for everything again"},
	{"streams", []string{"1"}, "aggregates and their events"},
	{"traces", []string{"2"}, "what led to what"},
	{"services", []string{"3"}, "what the system is made of"},
	{"projections", []string{"4"}, "how far projectors and sagas are"},
	{"letters", []string{"5"}, "dead letters"},
	{"mouse", []string{"M"}, "the mouse chooses and scrolls, or selects text as without angz"},
	{"help", []string{"?"}, "these keys"},
	{"quit", []string{"q", "ctrl+c"}, "end"},
}

// Actions lists the names of all actions.
func Actions() (names []string) {
	for _, b := range bindings {
		names = append(names, string(b.action))
	}
	return names
}

// keymap finds actions by keys.
type keymap struct {
	actions map[string]action
	keys    map[action][]string
}

// newKeymap puts a person's keys in the place of the usual ones.
func newKeymap(own map[string][]string) (keymap, error) {
	k := keymap{map[string]action{}, map[action][]string{}}
	known := Actions()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if !slices.Contains(known, name) {
			return k, fmt.Errorf("keys: found the action %q, expected one of %s", name, strings.Join(known, ", "))
		}
	}
	for _, b := range bindings {
		keys := b.keys
		if chosen, changed := own[string(b.action)]; changed {
			keys = chosen
		}
		for _, key := range keys {
			if other, taken := k.actions[key]; taken {
				return k, fmt.Errorf("keys: found %q for both %s and %s, expected one of them", key, other, b.action)
			}
			k.actions[key] = b.action
		}
		k.keys[b.action] = keys
	}
	return k, nil
}

func (k keymap) of(press tea.KeyPressMsg) action { return k.actions[press.String()] }

// hint writes what some actions do, for the last line of the screen.
func (k keymap) hint(words ...string) string {
	var hints []string
	for i := 0; i+1 < len(words); i += 2 {
		if keys := k.keys[action(words[i])]; len(keys) > 0 {
			hints = append(hints, keys[0]+" "+words[i+1])
		}
	}
	return strings.Join(hints, " · ")
}
