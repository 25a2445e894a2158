package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// environmentOf returns the variables that hold something; of two with one name
// the last counts. An empty variable is as good as none, as in container files
// that pass on what may not be set.
func environmentOf(environ []string) map[string]string {
	variables := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" {
			delete(variables, name)
			continue
		}
		variables[name] = value
	}
	return variables
}

// readEnvironment applies the variables that stand for keys, then the seed's own.
func (l *loader) readEnvironment(variables map[string]string) {
	names := slices.Sorted(maps.Keys(variables))
	l.checkSpellings(names, variables)
	l.checkFileVariables(names)
	var lists []listed
	for _, name := range names {
		path, ok := keyPath(name)
		if !ok {
			l.checkName(name, variables[name])
			continue
		}
		if v, ok, isList := l.listedOf(name, path, variables[name]); isList {
			if ok {
				lists = append(lists, v)
			}
			continue
		}
		l.setFrom(fromVariable(name), path, variables[name], name)
	}
	l.setListed(lists)
	l.readShortVariables(variables)
}

// readShortVariables applies the variables that the seed gave names of their own.
func (l *loader) readShortVariables(variables map[string]string) {
	for _, key := range Keys() {
		if len(key.Variables) == 0 {
			continue
		}
		name := key.Variables[0]
		if _, generic := keyPath(name); generic || variables[name] == "" {
			continue
		}
		if list, last, inList := strings.Cut(key.Path, "[]."); inList {
			l.setInAll(list, last, name, variables[name])
			continue
		}
		l.setFrom(fromVariable(name), strings.Split(key.Path, "."), variables[name], "")
	}
}

// keyPath returns the key that ANGZARR_SECTION__KEY or ANGZARR__SECTION__KEY
// stands for.
func keyPath(name string) ([]string, bool) {
	rest, both := strings.CutPrefix(name, "ANGZARR__")
	if !both {
		var ours bool
		rest, ours = strings.CutPrefix(name, "ANGZARR_")
		if !ours || !strings.Contains(rest, "__") {
			return nil, false
		}
	}
	return strings.Split(strings.ToLower(rest), "__"), true
}

// readFlags applies what the command line says about keys.
func (l *loader) readFlags() {
	for _, key := range slices.Sorted(maps.Keys(l.options.Set)) {
		l.setFrom(key+" on the command line", strings.Split(key, "."), l.options.Set[key], "")
	}
}

// setFrom sets a key from a text that is not in the file. variable is the name
// to correct when there is no such key, empty if the key itself was written.
func (l *loader) setFrom(origin string, path []string, text, variableName string) {
	value, f, ok := at(l.root(), path)
	if !ok {
		l.noSuchKey(origin, path, variableName)
		return
	}
	at := place{origin: origin, secret: f.secret()}
	full := strings.Join(path, ".")
	if text == "" && f.typ.Kind() == reflect.String && len(f.options) == 0 {
		value.SetZero()
		l.origins[full] = at
		return
	}
	if wrong := l.set(f, value, text, full, at); wrong != nil {
		l.complain(full+" from "+origin, at, wrong.message())
		return
	}
	l.origins[full] = at
}

// noSuchKey reports a variable or flag that stands for nothing.
func (l *loader) noSuchKey(origin string, path []string, variableName string) {
	full := strings.Join(path, ".")
	message := fmt.Sprintf("there is no key %q", full)
	if f, known := find(fieldsOf(l.root().Type(), ""), path[0]); known && f.typ == servicesType {
		l.complain(origin, place{origin: origin}, path[0]+" is a list of services, which flags cannot change: change the file, or set "+variable(path[0]+".0.name")+" and the like")
		return
	}
	if strings.HasPrefix(full, "gateway.auth.rules") {
		l.complain(origin, place{origin: origin}, "gateway.auth.rules is a list of rules, which only the file can hold: write it there")
		return
	}
	var candidates, inside []string
	spell := func(path string) string { return path }
	if variableName != "" {
		spell = variable
	}
	for _, key := range Keys() {
		if strings.Contains(key.Path, "[]") || len(key.Variables) == 0 {
			continue
		}
		candidates = append(candidates, spell(key.Path))
		if strings.HasPrefix(key.Path, full+".") {
			inside = append(inside, spell(key.Path))
		}
	}
	if len(inside) > 0 {
		message += " but a section of that name: set " + oneOf(inside)
	} else if hint := didYouMean(spell(full), candidates); hint != "" {
		message += "; " + hint
	} else {
		message += ": see docs/configuration.md for the keys"
	}
	l.complain(origin, place{origin: origin}, message)
}

// setInAll sets a key in every service of a list.
func (l *loader) setInAll(list, key, variableName, text string) {
	origin := fromVariable(variableName)
	f, _ := find(fieldsOf(l.root().Type(), ""), list)
	entries := l.root().Field(f.index)
	option, _ := find(fieldsOf(f.typ.Elem(), ""), key)
	if wrong := option.setText(reflect.New(option.typ).Elem(), text); wrong != nil {
		l.complain(origin, place{origin: origin}, wrong.message())
		return
	}
	l.config.everywhere[key] = text
	for i := range entries.Len() {
		option.setText(entries.Index(i).Field(option.index), text)
	}
}
