package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ours are the variables of angz that stand for no key.
var ours = []string{fileInEnv}

// injected matches variables that Kubernetes makes of the names of services,
// which people may well call angzarr-something.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// checkName warns about a variable that looks as if it were meant for angz, and
// that nothing reads.
func (l *loader) checkName(name, text string) {
	if !strings.HasPrefix(name, "ANGZARR_") && !(strings.HasPrefix(name, "ANGZ_") && strings.Contains(name, "__")) {
		return
	}
	known := slices.Clone(ours)
	for _, key := range Keys() {
		known = append(known, key.Variables...)
	}
	if slices.Contains(known, name) || injected.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://") {
		return
	}
	hint := "variables for keys are called ANGZARR_SECTION__KEY"
	if best, ok := nearest(bare(name), mapped(known, bare)); ok {
		hint = fmt.Sprintf("did you mean %q?", known[slices.IndexFunc(known, func(name string) bool { return bare(name) == best })])
	}
	l.warn("%s means nothing to angz; %s", fromVariable(name), hint)
}

// bare returns a variable without what all of them begin with, which would make
// any two look alike.
func bare(name string) string {
	_, rest, ours := strings.Cut(name, "_")
	if !ours || !strings.HasPrefix(name, "ANGZ") {
		return name
	}
	return strings.TrimPrefix(rest, "_")
}

func mapped(words []string, change func(string) string) []string {
	var changed []string
	for _, word := range words {
		changed = append(changed, change(word))
	}
	return changed
}

// checkSpellings finds two spellings of one variable that say different things:
// there is no telling which of them its writer meant.
func (l *loader) checkSpellings(names []string, variables map[string]string) {
	first := map[string]string{}
	for _, name := range names {
		path, ok := keyPath(name)
		if !ok {
			continue
		}
		key := l.canonical(path)
		other, twice := first[key]
		if !twice {
			first[key] = name
			continue
		}
		if variables[other] != variables[name] {
			origin := fromVariable(name)
			l.complain(key+" twice", place{origin: origin}, fmt.Sprintf("found another value than in %s, which means the same, expected one of them: unset the other", other))
			l.settled[key] = true
		}
	}
}

// checkFileVariables finds secrets that are given twice, themselves and in a
// file: there is no telling which of them is meant.
func (l *loader) checkFileVariables(names []string) {
	plain := map[string]string{}
	for _, name := range names {
		if path, ok := keyPath(name); ok {
			plain[l.canonical(path)] = name
		}
	}
	for _, key := range slices.Sorted(maps.Keys(plain)) {
		secret, named := strings.CutSuffix(key, fileSuffix)
		if _, f, ok := at(l.root(), strings.Split(key, ".")); !named || !ok || f.content == nil || plain[secret] == "" {
			continue
		}
		origin := fromVariable(plain[key])
		l.complain(key+" from "+origin, place{origin: origin}, fmt.Sprintf("found %s as well, which means the same, expected one of them: unset the other", plain[secret]))
	}
}

// canonical returns the one name of a key that may be written in several ways.
func (l *loader) canonical(path []string) string {
	section, kind := l.root().Type(), ""
	var words []string
	for i := 0; i < len(path); i++ {
		f, known := find(fieldsOf(section, kind), path[i])
		if !known {
			return strings.Join(append(words, path[i:]...), ".")
		}
		words = append(words, f.key)
		switch {
		case f.typ == servicesType && i+1 < len(path):
			i++
			index := path[i]
			if number, err := strconv.Atoi(index); err == nil {
				index = strconv.Itoa(number) // 00 is 0
			}
			words = append(words, index)
			section, kind = f.typ.Elem(), f.tag.Get("kind")
		case f.isSection():
			section = f.typ
		default:
			return strings.Join(append(words, path[i+1:]...), ".")
		}
	}
	return strings.Join(words, ".")
}

// fromVariable says that something came from a variable. Its name may be any
// bytes.
func fromVariable(name string) string {
	return "environment variable " + printable(name)
}

// printable replaces what a terminal could not show.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
