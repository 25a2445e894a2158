package scaffold

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// AddTo returns angz.yaml with an entry more. Everything that is in the file
// already, comments included, stays as it is. A file that is written in a way that
// angz cannot add to is refused with what to add.
func (e *Entry) AddTo(file []byte) ([]byte, error) {
	if _, err := e.addGenerate(file); err != nil {
		return nil, err // with the place that it has in the file as it is
	}
	changed := file
	for _, add := range []func([]byte) ([]byte, error){e.addService, e.addGenerate, e.addProject} {
		var err error
		if changed, err = add(changed); err != nil {
			return nil, err
		}
	}
	if !e.isIn(changed, file) {
		return nil, fmt.Errorf("angz.yaml is written in a way that angz cannot add to; add this yourself:\n%s:\n%s\ngenerate:\n  %s: %s", e.List, strings.Join(e.lines("  "), "\n"), e.Folder, e.Language)
	}
	return changed, nil
}

// isIn reports whether a file has the entry, and all the other services that it
// had before.
func (e *Entry) isIn(file, before []byte) bool {
	doc, err := readDocument(file)
	if err != nil {
		return false
	}
	old, err := readDocument(before)
	if err != nil {
		return false
	}
	folders := doc.value("generate")
	names, oldNames := doc.services(e.List), old.services(e.List)
	return folders != nil && valueOf(folders, e.Folder) != nil && slices.Contains(names, e.Name) && len(names) == len(oldNames)+1
}

// services returns the names in a list of services, "" for those without one.
func (d *document) services(list string) []string {
	var names []string
	for _, key := range []string{list, alias(list)} {
		value := d.value(key)
		if value == nil {
			continue
		}
		for _, entry := range value.Content {
			names = append(names, serviceName(entry))
		}
	}
	return names
}

// alias returns the other name of a list of services; the same when it has none.
func alias(list string) string {
	if list == "domains" {
		return "business_logic"
	}
	return ""
}

// addProject keeps the system's name, so that it stays the same when the folder
// is called something else on another machine.
func (e *Entry) addProject(file []byte) ([]byte, error) {
	doc, err := readDocument(file)
	if err != nil || doc.value("name") != nil {
		return file, err
	}
	at := 0
	for at < len(doc.lines) && strings.HasPrefix(doc.lines[at], "#") {
		at++
	}
	return []byte(strings.Join(slices.Insert(doc.lines, at, "name: "+e.Project), "\n") + "\n"), nil
}

func (e *Entry) addService(file []byte) ([]byte, error) {
	doc, err := readDocument(file)
	if err != nil {
		return nil, err
	}
	if slices.Contains(doc.services(e.List), e.Name) {
		return nil, fmt.Errorf("angz.yaml has %s %q already; take another name", strings.TrimSuffix(e.List, "s"), e.Name)
	}
	for _, name := range []string{e.List, alias(e.List)} {
		if list := doc.value(name); list != nil {
			return doc.insert(list, name, e.lines)
		}
	}
	return doc.append(append([]string{"", e.List + ":"}, e.lines("  ")...)), nil
}

func (e *Entry) lines(indent string) []string {
	lines := []string{indent + "- name: " + e.Name}
	for _, line := range e.Lines {
		lines = append(lines, indent+"  "+line)
	}
	return lines
}

// addGenerate says into which folder code is generated, unless it is said.
func (e *Entry) addGenerate(file []byte) ([]byte, error) {
	doc, err := readDocument(file)
	if err != nil {
		return nil, err
	}
	folders := doc.value("generate")
	if folders == nil {
		return doc.append([]string{"", "# Where angz generate writes code for the messages, and in which language.", "generate:", "  " + e.Folder + ": " + e.Language}), nil
	}
	if value := valueOf(folders, e.Folder); value != nil {
		if value.Value != e.Language {
			return nil, fmt.Errorf("angz.yaml:%d: generate has the folder %s for %s, not for %s; change one of them, or keep the new service elsewhere with --folder", value.Line, e.Folder, value.Value, e.Language)
		}
		return file, nil
	}
	return doc.insert(folders, "generate", func(indent string) []string { return []string{indent + e.Folder + ": " + e.Language} })
}

// document is a YAML file as text, with what it means.
type document struct {
	lines []string
	root  *yaml.Node // the mapping at the top; nil for an empty file
}

func readDocument(file []byte) (*document, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(file, &node); err != nil {
		return nil, fmt.Errorf("angz.yaml: %w; see angz config check", err)
	}
	doc := &document{lines: strings.Split(strings.TrimRight(string(file), "\n"), "\n")}
	if len(node.Content) == 0 {
		return doc, nil
	}
	if node.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("angz.yaml:%d: found no keys; see angz config check", node.Content[0].Line)
	}
	doc.root = node.Content[0]
	return doc, nil
}

func (d *document) value(key string) *yaml.Node {
	if d.root == nil {
		return nil
	}
	return valueOf(d.root, key)
}

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	if key == "" || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func serviceName(entry *yaml.Node) string {
	for _, key := range []string{"name", "domain"} {
		if value := valueOf(entry, key); value != nil {
			return value.Value
		}
	}
	return ""
}

// append adds lines at the end of the file.
func (d *document) append(lines []string) []byte {
	all := append(slices.Clone(d.lines), lines...)
	return []byte(strings.TrimLeft(strings.Join(all, "\n"), "\n") + "\n")
}

// insert adds lines behind the last entry of a list or mapping that the key
// name has, written as its entries are.
func (d *document) insert(value *yaml.Node, name string, lines func(indent string) []string) ([]byte, error) {
	empty := value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" || len(value.Content) == 0
	if value.Kind == yaml.AliasNode || !empty && value.Style&yaml.FlowStyle != 0 {
		return nil, fmt.Errorf("angz.yaml:%d: %s is not written as a list of lines, so that angz cannot add to it; add this yourself:\n%s",
			value.Line, name, strings.Join(lines("  "), "\n"))
	}
	if empty {
		return d.replaceEmpty(value, name, lines("  ")), nil
	}
	indent := strings.Repeat(" ", value.Content[0].Column-1)
	if value.Kind == yaml.SequenceNode {
		indent = strings.Repeat(" ", value.Column-1)
	}
	at := d.end(value)
	return []byte(strings.Join(slices.Insert(slices.Clone(d.lines), at, lines(indent)...), "\n") + "\n"), nil
}

// replaceEmpty fills a key that has nothing, or an empty list or mapping.
func (d *document) replaceEmpty(value *yaml.Node, name string, added []string) []byte {
	at := value.Line - 1
	for i, line := range d.lines {
		if strings.HasPrefix(line, name+":") {
			at = i
		}
	}
	all := slices.Clone(d.lines)
	all[at] = name + ":"
	return []byte(strings.Join(slices.Insert(all, at+1, added...), "\n") + "\n")
}

// end returns how many lines there are up to the end of a value: the line of the
// next key at the top without the empty lines and comments before it, which
// belong to that key.
func (d *document) end(value *yaml.Node) int {
	next := len(d.lines)
	for i := 0; i < len(d.root.Content); i += 2 {
		if line := d.root.Content[i].Line - 1; line > value.Line-1 {
			next = min(next, line)
		}
	}
	for next > 0 {
		line := strings.TrimSpace(d.lines[next-1])
		if line != "" && (!strings.HasPrefix(line, "#") || strings.HasPrefix(d.lines[next-1], " ")) && line != "..." {
			break
		}
		next--
	}
	return next
}
