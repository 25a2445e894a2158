package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// mostListed bounds the entries of a list that variables may make.
const mostListed = 1000

// listed is a variable that stands for a key of one entry of a list of services,
// such as ANGZARR_PROJECTORS__0__NAME.
type listed struct {
	name  string   // the variable
	list  field    // the list's own key
	word  string   // the name that the variable has for the list
	index int      // the entry, from 0
	path  []string // the key within the entry
	text  string
}

// listedOf reads a variable as one of a list. It complains about those that
// begin with a list and say nothing about an entry; isList tells that.
func (l *loader) listedOf(name string, path []string, text string) (made listed, ok, isList bool) {
	f, known := find(fieldsOf(l.root().Type(), ""), path[0])
	if !known || f.typ != servicesType {
		return listed{}, false, false
	}
	origin := fromVariable(name)
	if len(path) >= 3 {
		index, err := strconv.ParseUint(path[1], 10, 16)
		if err == nil && index < mostListed {
			return listed{name: name, list: f, word: path[0], index: int(index), path: path[2:], text: text}, true, true
		}
	}
	l.complain(origin, place{origin: origin}, fmt.Sprintf("%s is a list of services, expected the number of an entry, from 0, and its key: set %s and the like",
		path[0], variable(path[0]+".0.name")))
	return listed{}, false, true
}

// setListed applies the variables of lists: entries that the file has are
// changed, others are added at its end.
func (l *loader) setListed(variables []listed) {
	slices.SortStableFunc(variables, func(a, b listed) int { return a.index - b.index })
	for _, v := range variables {
		origin := place{origin: fromVariable(v.name)}
		list := l.root().Field(v.list.index)
		if l.config.written[v.list.key] == "" {
			l.config.written[v.list.key] = v.word
		}
		item := fmt.Sprintf("%s[%d]", l.config.written[v.list.key], v.index)
		switch {
		case v.index > list.Len():
			l.complain(origin.origin, origin, fmt.Sprintf("found entry %d of %s, which has %d without it, expected entry %d first: entries are numbered from 0 without gaps",
				v.index, v.word, list.Len(), list.Len()))
			continue
		case v.index == list.Len():
			added := reflect.New(servicesType.Elem()).Elem()
			setDefaults(added, l.options.Dev)
			list.Set(reflect.Append(list, added))
			l.origins[item] = origin
		}
		l.setInEntry(v, item, list.Index(v.index), origin)
	}
}

// setInEntry sets one key of one service.
func (l *loader) setInEntry(v listed, item string, entry reflect.Value, origin place) {
	kind := v.list.tag.Get("kind")
	section, path := entry, item
	for i, step := range v.path {
		fields := fieldsOf(section.Type(), kind)
		f, known := find(fields, step)
		if !known || !f.isFor(kind) || f.isSection() == (i == len(v.path)-1) {
			l.noSuchListedKey(v, origin, kind)
			return
		}
		section, path = section.Field(f.index), join(path, f.key)
		if !f.isSection() {
			origin.secret = f.secret()
			if wrong := f.setText(section, v.text); wrong != nil {
				l.complain(path, origin, wrong.message())
				return
			}
			l.origins[path] = origin
		}
	}
}

// noSuchListedKey reports a variable for a key that services do not have.
func (l *loader) noSuchListedKey(v listed, origin place, kind string) {
	l.settled[fmt.Sprintf("%s[%d]", l.config.written[v.list.key], v.index)] = true // what is missing is what was misspelt
	var known []string
	for _, key := range keysOf(servicesType.Elem(), "", kind) {
		known = append(known, key.Path)
	}
	prefix := variable(fmt.Sprintf("%s.%d.", v.word, v.index))
	written := strings.Join(v.path, ".")
	hint := ", expected " + oneOf(known)
	if best, ok := nearest(written, known); ok {
		hint = fmt.Sprintf("; did you mean %q?", prefix+strings.ToUpper(strings.ReplaceAll(best, ".", "__")))
	}
	l.complain(origin.origin, origin, fmt.Sprintf("there is no key %q in a %s%s", written, kind, hint))
}
