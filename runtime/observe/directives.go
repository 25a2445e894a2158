package observe

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
)

// off is above every level.
const off = slog.Level(math.MaxInt)

// directives says from which level on each target is logged.
type directives struct {
	others  slog.Level // for targets without a rule
	targets []rule
}

// rule is one target with all below it.
type rule struct {
	target string
	least  slog.Level
}

// parseDirectives reads directives with commas between: a level for everything,
// or target=level for a part and all below it. Parts of a target have dots
// between, or two colons, as in Rust. Targets of other programs are accepted
// and change nothing. Of two directives for the same the last counts.
func parseDirectives(text string) (directives, error) {
	rules := directives{others: slog.LevelInfo}
	if strings.TrimSpace(text) == "" {
		return rules, nil
	}
	for directive := range strings.SplitSeq(text, ",") {
		directive = strings.TrimSpace(directive)
		if directive == "" {
			continue
		}
		if err := rules.add(directive); err != nil {
			return directives{}, fmt.Errorf("log directive %q: %w", shortened(directive), err)
		}
	}
	return rules, nil
}

func (d *directives) add(directive string) error {
	name, word, assigned := strings.Cut(directive, "=")
	name = strings.TrimSpace(name)
	if !assigned {
		if level, ok := levelOf(name); ok {
			d.others = level
			return nil
		}
		word = "trace" // a bare target means all of it
	}
	level, ok := levelOf(strings.TrimSpace(word))
	if !ok {
		return fmt.Errorf("found %q, expected a level: off, error, warn, info, debug or trace", shortened(word))
	}
	target, ok := targetOf(name)
	if !ok || !assigned && !isOurs(target) {
		return fmt.Errorf("found %q, expected a level (off, error, warn, info, debug, trace) or target=level, such as angzarr.aggregate=debug", shortened(name))
	}
	if isOurs(target) {
		d.targets = append(d.targets, rule{target, level})
	}
	return nil
}

// least returns the lowest level that is logged of a target: that of the rule
// that says most about it.
func (d directives) least(target string) slog.Level {
	level, longest := d.others, -1
	for _, rule := range d.targets {
		if isWithin(target, rule.target) && len(rule.target) >= longest {
			level, longest = rule.least, len(rule.target)
		}
	}
	return level
}

func isWithin(target, above string) bool {
	rest, ok := strings.CutPrefix(target, above)
	return ok && (rest == "" || rest[0] == '.')
}

// isOurs reports whether a target is of this program and not of a library that
// is not in it.
func isOurs(target string) bool { return isWithin(target, root) }

// targetOf brings a target into the form with dots. The program's own name
// stands for the system's.
func targetOf(name string) (string, bool) {
	name = strings.ToLower(strings.ReplaceAll(name, "::", "."))
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || strings.IndexFunc(part, notInTarget) >= 0 {
			return "", false
		}
	}
	if isWithin(name, "angz") {
		name = root + strings.TrimPrefix(name, "angz")
	}
	return name, true
}

func notInTarget(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

func levelOf(word string) (slog.Level, bool) {
	switch strings.ToLower(word) {
	case "off":
		return off, true
	case "error":
		return slog.LevelError, true
	case "warn":
		return slog.LevelWarn, true
	case "info":
		return slog.LevelInfo, true
	case "debug":
		return slog.LevelDebug, true
	case "trace":
		return LevelTrace, true
	}
	return 0, false
}

func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return "TRACE"
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARN"
	}
	return "ERROR"
}

// shortened cuts what a message repeats of a long text.
func shortened(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return text
}
