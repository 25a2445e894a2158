package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Summary is what chaos has done so far.
type Summary struct {
	Seed     uint64    `json:"seed"`
	Faults   int       `json:"faults"` // the sum of the counts
	Counts   []Count   `json:"counts"` // by component, then in the order of Kinds
	Kills    []Kills   `json:"kills"`
	Suspects []Suspect `json:"suspects"`
}

// Count is how often something of one kind was done to a component.
type Count struct {
	Component string `json:"component"`
	Kind      Kind   `json:"kind"`
	Times     int    `json:"times"`
}

// Kills is how often the process of a component's service was killed. That is at
// most as often as it crashed: one that has just been killed is left in peace.
type Kills struct {
	Component string `json:"component"`
	Times     int    `json:"times"`
}

// Kinds are all kinds of faults, in the order in which people are told of them.
var Kinds = []Kind{Dropped, Doubled, Delayed, Reordered, Repeated, Overtaken, Slowed, CrashedBefore, CrashedAfter, AnswerLost}

// Summary returns what has been done so far.
func (c *Chaos) Summary() Summary {
	if c == nil {
		return Summary{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Summary{Seed: c.options.Seed, Counts: []Count{}, Kills: []Kills{}, Suspects: []Suspect{}}
	for count, times := range c.counts {
		count.Times = times
		s.Faults += times
		s.Counts = append(s.Counts, count)
	}
	slices.SortFunc(s.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)))
	})
	for name, times := range c.kills {
		s.Kills = append(s.Kills, Kills{name, times})
	}
	for _, suspect := range c.suspects {
		s.Suspects = append(s.Suspects, *suspect)
	}
	slices.SortFunc(s.Kills, func(a, b Kills) int { return cmp.Compare(a.Component, b.Component) })
	slices.SortFunc(s.Suspects, func(a, b Suspect) int { return cmp.Compare(a.Component, b.Component) })
	return s
}

// String returns the summary for people: a line for the whole, one for each
// component, one for each suspect, and how to have the same again.
func (s Summary) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "chaos with seed %d: %s\n", s.Seed, plural(s.Faults, "fault"))
	width := 0
	for _, count := range s.Counts {
		width = max(width, len(count.Component))
	}
	for i, count := range s.Counts {
		if i == 0 || s.Counts[i-1].Component != count.Component {
			fmt.Fprintf(&text, "  %-*s  %s\n", width, count.Component, s.line(count.Component))
		}
	}
	for _, suspect := range s.Suspects {
		fmt.Fprintf(&text, "  look at %s\n", suspect)
	}
	fmt.Fprintf(&text, "the same again: angz dev --chaos --chaos-seed %d\n", s.Seed)
	return text.String()
}

// line returns what was done to a component.
func (s Summary) line(component string) string {
	var parts []string
	for _, count := range s.Counts {
		if count.Component == component {
			parts = append(parts, fmt.Sprintf("%d %s", count.Times, count.Kind))
		}
	}
	line := strings.Join(parts, ", ")
	for _, kills := range s.Kills {
		if kills.Component == component {
			line += fmt.Sprintf("; its process killed %s", plural(kills.Times, "time"))
		}
	}
	return line
}

// String returns the suspicion for people.
func (s Suspect) String() string {
	answered := "answered differently the second time"
	if s.Problem != "" {
		answered = "failed the second time: " + s.Problem
	}
	text := fmt.Sprintf("%s: it was given the events of %s/%s up to %d twice in a row and %s", s.Component, s.Domain, s.Root, s.Sequence, answered)
	if s.Times > 1 {
		text += fmt.Sprintf(" (%d times in all)", s.Times)
	}
	return text
}

func plural(count int, what string) string {
	if count == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", count, what)
}
