package tui

import "charm.land/lipgloss/v2"

// styles are all colours of the program. They are the terminal's own sixteen, which
// people have chosen to be readable on their background; where there is no colour,
// what matters is bold, faint or reversed as well.
type styles struct {
	title, tab, chosen, cursor, faint, name, text, number, good, bad, warn, rule lipgloss.Style
}

func newStyles() styles {
	plain := lipgloss.NewStyle
	color := func(code string) lipgloss.Style { return plain().Foreground(lipgloss.Color(code)) }
	return styles{
		title:  plain().Bold(true),
		tab:    plain().Faint(true),
		chosen: plain().Bold(true).Underline(true),
		cursor: plain().Reverse(true),
		faint:  plain().Faint(true),
		name:   color("6"),
		text:   color("2"),
		number: color("5"),
		good:   color("2"),
		bad:    color("1").Bold(true),
		warn:   color("3").Bold(true),
		rule:   plain().Faint(true),
	}
}
