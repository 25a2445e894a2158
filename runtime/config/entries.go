package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    place
	value *yaml.Node
}

// entries returns the entries of a mapping, those of merged mappings last, and
// reports keys that are not text and keys that are there twice. With fields,
// two names of one key are the same key.
func (l *loader) entries(p part, fields []field) []entry {
	seen := map[string]entry{}
	var list []entry
	for _, found := range l.pairs(p) {
		canonical := found.key
		if f, known := find(fields, found.key); known {
			canonical = f.key
		}
		if first, twice := seen[canonical]; twice {
			l.twice(p, first, found)
			continue
		}
		seen[canonical] = found
		list = append(list, found)
	}
	for _, merged := range l.merged(p, 0) {
		if _, own := seen[merged.key]; !own {
			seen[merged.key] = merged
			list = append(list, merged)
		}
	}
	return list
}

// twice reports the second of two entries for one key.
func (l *loader) twice(p part, first, second entry) {
	message := fmt.Sprintf("found the key %q a second time, expected it once: the first is on line %d", second.key, first.at.line)
	if first.key != second.key {
		message = fmt.Sprintf("found the key %q beside %q on line %d, which means the same, expected one of them", second.key, first.key, first.at.line)
	}
	l.complain(join(p.path, second.key)+" twice", second.at.keyOnly(second.key), message)
}

// keyOnly returns the place of a key whose value is not to be shown.
func (p place) keyOnly(key string) place {
	p.shown = max(1, utf8.RuneCountInString(key))
	return p
}

// pairs returns the entries that are written in a mapping itself.
func (l *loader) pairs(p part) []entry {
	var list []entry
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		key, value := p.node.Content[i], p.node.Content[i+1]
		at := place{line: key.Line, column: key.Column}
		for key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			l.complain(fmt.Sprintf("%s key %d", p.path, i), at.keyOnly("?"), "found a key that is a list or a mapping, expected a word")
		case key.ShortTag() == "!!merge":
		default:
			list = append(list, entry{key: key.Value, at: at, value: value})
		}
	}
	return list
}

// merged returns the entries that a mapping takes over from others with <<.
func (l *loader) merged(p part, depth int) []entry {
	const deepest = 20 // a mapping can be merged into itself
	var list []entry
	for i := 0; i+1 < len(p.node.Content) && depth < deepest; i += 2 {
		if key := p.node.Content[i]; key.Kind != yaml.ScalarNode || key.ShortTag() != "!!merge" {
			continue
		}
		sources := []part{p.child("<<", p.node.Content[i+1]).resolved()}
		if source := sources[0]; source.node.Kind == yaml.SequenceNode {
			sources = nil
			for j := range source.node.Content {
				sources = append(sources, source.item(j).resolved())
			}
		}
		for _, source := range sources {
			if source.node.Kind != yaml.MappingNode {
				l.wrongType(source, field{}, "a mapping to merge")
				continue
			}
			if l.tooMany(source, len(source.node.Content)) {
				return list
			}
			list = append(list, l.pairs(source)...)
			list = append(list, l.merged(source, depth+1)...)
		}
	}
	return list
}

// unknownKey reports a key that a section does not have.
func (l *loader) unknownKey(p part, unknown entry, fields []field) {
	message := fmt.Sprintf("unknown key %q", unknown.key)
	if p.path != "" {
		message += " in " + p.path
	}
	known := names(fields, p.kind)
	if f, elsewhere := find(fields, unknown.key); elsewhere {
		message += fmt.Sprintf(", it is for a %s", oneOf(f.kinds))
	} else if best, ok := nearest(unknown.key, known); ok {
		message += fmt.Sprintf(": did you mean %q?", best)
		if f, found := find(fields, best); found {
			l.settled[join(p.path, f.key)] = true // not missing as well
		}
	} else {
		message += ", expected " + oneOf(known)
		if homes := homesOf(unknown.key); len(homes) > 0 {
			message += fmt.Sprintf("; did you mean %s?", oneOf(homes))
		}
	}
	l.complain(join(p.path, unknown.key)+" unknown", unknown.at.keyOnly(unknown.key), message)
}

// homesOf returns the full names of the keys that end with a word: a person
// knew the key, but not where it belongs.
func homesOf(word string) []string {
	var homes []string
	for _, key := range Keys() {
		if path, isLast := strings.CutSuffix(key.Path, "."+word); isLast && !strings.Contains(path, "[") {
			homes = append(homes, key.Path)
		}
	}
	slices.Sort(homes)
	return homes[:min(len(homes), 3)]
}
