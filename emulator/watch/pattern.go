package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

const separator = string(filepath.Separator)

// pattern is one line of a rule, taken apart so that most files are judged by
// comparing a few bytes.
type pattern struct {
	rule *rule
	text string
	not  bool // takes away
	// place orders all patterns: by rule, and within a rule the last one first.
	place int
	// base is the part without wildcards, as it was written: a folder, or all
	// of it. real is the same with the links of existing folders resolved.
	base, real string
	// rest are the parts after base; without any, base itself and all below it
	// is meant.
	rest   []string
	glob   string // rest in one piece
	name   string // the last part, where no other asks for more than a depth
	suffix string // of such names, where that is all that is asked for
	deep   bool   // rest matches at any depth
	sought bool   // all that it matched was found; what else it matches is new
}

// newPattern reads a pattern as it is seen from a folder.
func newPattern(dir, text string) (*pattern, error) {
	p := &pattern{text: text}
	written := text
	if after, found := strings.CutPrefix(written, "!"); found {
		p.not, written = true, after
	}
	switch {
	case strings.TrimSpace(written) == "":
		return nil, errors.New("is empty: write the name of a file or folder, or a glob such as **/*.py")
	case strings.ContainsRune(written, 0):
		return nil, errors.New("has a zero byte in it")
	case !doublestar.ValidatePattern(written):
		return nil, errors.New("is not a glob: a [ or { has no end, or a \\ has nothing after it")
	}
	fixed, rest := splitPattern(filepath.ToSlash(written))
	p.base = filepath.FromSlash(fixed)
	if !filepath.IsAbs(p.base) {
		p.base = filepath.Join(dir, p.base)
	}
	p.base = filepath.Clean(p.base)
	p.real, p.rest, p.glob = p.base, rest, strings.Join(rest, "/")
	for _, part := range rest {
		if part == ".." {
			return nil, errors.New("has .. after a wildcard: write what lies outside as a pattern of its own")
		}
	}
	p.specialise()
	return p, nil
}

// splitPattern returns the part before the first wildcard and the parts from
// there on.
func splitPattern(text string) (fixed string, rest []string) {
	parts := strings.Split(text, "/")
	n := 0
	for n < len(parts) && !strings.ContainsAny(parts[n], `*?[{\`) {
		n++
	}
	fixed = strings.Join(parts[:n], "/")
	if fixed == "" && n > 0 {
		fixed = "/" // the text began with it
	}
	for _, part := range parts[n:] {
		if part != "" && part != "." {
			rest = append(rest, part)
		}
	}
	return fixed, rest
}

// specialise finds the quick way to match.
func (p *pattern) specialise() {
	if len(p.rest) == 0 {
		return
	}
	p.deep = p.rest[0] == "**"
	last := p.rest[len(p.rest)-1]
	if unclear(last) || len(p.rest) > 2 || len(p.rest) == 2 && !p.deep {
		return
	}
	p.name = last
	if ending, found := strings.CutPrefix(last, "*"); found && !strings.ContainsAny(ending, "*?{}") {
		p.suffix = ending
	}
}

// below returns the part of a path below a folder.
func below(path, folder string) (string, bool) {
	if strings.HasSuffix(folder, separator) { // the root of the file system
		return strings.CutPrefix(path, folder)
	}
	if len(path) > len(folder) && path[len(folder)] == filepath.Separator && path[:len(folder)] == folder {
		return path[len(folder)+1:], true
	}
	return "", false
}

// within reports whether a path is a folder or lies below it.
func within(path, folder string) bool {
	if path == folder {
		return true
	}
	_, ok := below(path, folder)
	return ok
}

// matches reports whether a file in a folder is meant, both by their real paths.
func (p *pattern) matches(folder, name string) bool {
	if p.suffix != "" && !strings.HasSuffix(name, p.suffix) {
		return false
	}
	if len(p.rest) == 0 {
		return within(folder, p.real) || strings.HasSuffix(p.real, name) && filepath.Join(folder, name) == p.real
	}
	inside, ok := below(folder, p.real)
	if !ok && folder != p.real {
		return false
	}
	switch {
	case p.name != "":
		return (p.deep || inside == "") && (p.suffix != "" || p.name == name || doublestar.MatchUnvalidated(p.name, name))
	case inside == "":
		return doublestar.MatchUnvalidated(p.glob, name)
	}
	return doublestar.MatchUnvalidated(p.glob, filepath.ToSlash(inside)+"/"+name)
}

// takesAll reports whether everything in a folder is meant.
func (p *pattern) takesAll(folder string) bool {
	if len(p.rest) == 0 {
		return within(folder, p.real)
	}
	if p.rest[len(p.rest)-1] != "**" {
		return false
	}
	inside, ok := below(folder, p.real)
	if !ok {
		return folder == p.real && len(p.rest) == 1
	}
	return doublestar.MatchUnvalidated(p.glob, filepath.ToSlash(inside))
}

// reaches reports whether something in a folder, at any depth, may be meant, or
// the folder lies on the way there.
func (p *pattern) reaches(folder string) bool {
	inside, ok := below(folder, p.real)
	if !ok {
		return within(p.real, folder)
	}
	if len(p.rest) == 0 || p.deep {
		return true
	}
	for i, part := range strings.Split(inside, separator) {
		switch {
		case unclear(p.rest[i]):
			return true
		case i == len(p.rest)-1 || !doublestar.MatchUnvalidated(p.rest[i], part):
			return false
		}
	}
	return true
}

// unclear reports whether a part of a glob may match at several depths: ** does,
// and alternatives do that have a / in them and so fall into several parts.
func unclear(part string) bool {
	return strings.Contains(part, "**") || strings.ContainsAny(part, `[]\`) || strings.Count(part, "{") != strings.Count(part, "}")
}

// shown returns a real path as it looks from where the pattern was written.
func (p *pattern) shown(path string) (string, bool) {
	if path == p.real {
		return p.base, true
	}
	inside, ok := below(path, p.real)
	return filepath.Join(p.base, inside), ok
}

// takesOver notes which patterns of a rule were there before. What is not taken
// away any more is not new.
func (r *rule) takesOver(old *rule) {
	away := func(text string) bool { return !strings.HasPrefix(text, "!") }
	same := slices.Equal(slices.DeleteFunc(slices.Clone(r.Patterns), away), slices.DeleteFunc(slices.Clone(old.Patterns), away))
	for _, p := range r.patterns {
		p.sought = same && r.Dir == old.Dir && slices.ContainsFunc(old.patterns, func(o *pattern) bool { return o.text == p.text && o.sought })
	}
}

// compile reads the patterns of rules and reports all mistakes at once.
func compile(rules []Rule) ([]*rule, error) {
	var compiled []*rule
	var problems []error
	seen := map[string]bool{}
	for _, each := range rules {
		r := &rule{Rule: each}
		if each.Name == "" || seen[each.Name] {
			problems = append(problems, fmt.Errorf("the name %q is empty or taken twice", each.Name))
		}
		seen[each.Name] = true
		if !filepath.IsAbs(each.Dir) {
			problems = append(problems, fmt.Errorf("%s: the folder %q is not an absolute path", each.Name, each.Dir))
		}
		for i := len(each.Patterns) - 1; i >= 0; i-- {
			p, err := newPattern(each.Dir, each.Patterns[i])
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: the pattern %q %w", each.Name, each.Patterns[i], err))
				continue
			}
			r.patterns = append(r.patterns, p)
		}
		compiled = append(compiled, r)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	return compiled, nil
}
