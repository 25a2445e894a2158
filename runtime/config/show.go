package config

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// hidden stands for a secret where a configuration is shown.
const hidden = "(hidden)"

// WriteYAML writes the configuration as a file would hold it, with every key and
// without secrets. With origins, where each value came from stands beside it.
func (c *Config) WriteYAML(w io.Writer, origins bool) error {
	root := c.show(reflect.ValueOf(c).Elem(), "", "", func(key string, value *yaml.Node) {
		if origins {
			value.LineComment = c.Origin(key)
		}
	})
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("show the configuration: %w", err)
	}
	return encoder.Close()
}

// WriteJSON writes what WriteYAML writes as JSON. With origins, it is an object
// with the configuration and, by the full name of each key, where its value came
// from.
func (c *Config) WriteJSON(w io.Writer, origins bool) error {
	from := map[string]string{}
	root := c.show(reflect.ValueOf(c).Elem(), "", "", func(key string, _ *yaml.Node) { from[key] = c.Origin(key) })
	var plain any
	if err := root.Decode(&plain); err != nil {
		return fmt.Errorf("show the configuration: %w", err)
	}
	if origins {
		plain = map[string]any{"config": plain, "origins": from}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(plain)
}

// Origin says where the value of a key came from: a place in the file, a
// variable, the command line, or the defaults.
func (c *Config) Origin(key string) string {
	switch at, said := c.origins[key]; {
	case !said:
		return "default"
	case at.line > 0 && c.read != nil:
		return fmt.Sprintf("%s:%d:%d", c.read.name, at.line, at.column)
	default:
		return at.origin
	}
}

// show returns a section as YAML. each is called with every key that holds a
// value.
func (c *Config) show(section reflect.Value, path, kind string, each func(string, *yaml.Node)) *yaml.Node {
	shown := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(section.Type(), kind) {
		if !f.isFor(kind) || f.content != nil { // a secret from a file is shown as the secret
			continue
		}
		key := f.key
		if f.typ == servicesType && c.written[key] != "" {
			key = c.written[key] // of two names the one that its writer knows
		}
		full, value := join(path, key), section.Field(f.index)
		var node *yaml.Node
		switch {
		case f.isSection():
			node = c.show(value, full, kind, each)
		case f.isList():
			node = &yaml.Node{Kind: yaml.SequenceNode}
			for i := range value.Len() {
				node.Content = append(node.Content, c.show(value.Index(i), fmt.Sprintf("%s[%d]", full, i), f.tag.Get("kind"), each))
			}
		default:
			node = f.shown(value)
			each(full, node)
		}
		if empty := len(node.Content) == 0 && node.Kind != yaml.ScalarNode; empty {
			node.Style = yaml.FlowStyle
		}
		shown.Content = append(shown.Content, text(key), node)
	}
	return shown
}

// shown returns what a key holds as YAML.
func (f field) shown(value reflect.Value) *yaml.Node {
	switch held := value.Interface().(type) {
	case time.Duration:
		return text(held.String())
	case Command:
		if held.Argv == nil {
			return text(maskSecrets(held.Shell))
		}
		return texts(held.Argv)
	case []string:
		return texts(held)
	case map[string]string:
		node := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, name := range slices.Sorted(maps.Keys(held)) {
			node.Content = append(node.Content, text(name), f.public(held[name]))
		}
		return node
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(held)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(held)}
	}
	return f.public(value.String())
}

// public returns a text as it may be shown.
func (f field) public(held string) *yaml.Node {
	if !f.secret() {
		return text(maskSecrets(held))
	}
	return text(withoutSecrets(held))
}

// withoutSecrets returns of a connection string what tells systems apart, and
// nothing of a text that could be anything else.
func withoutSecrets(held string) string {
	if held == "" {
		return ""
	}
	parsed, err := url.Parse(held)
	schemes := []string{"postgres", "postgresql", "amqp", "amqps", "mongodb", "mongodb+srv", "redis", "rediss"}
	if err != nil || !slices.Contains(schemes, parsed.Scheme) || parsed.Opaque != "" ||
		strings.ContainsAny(parsed.Path+parsed.RawQuery+parsed.Fragment, "@") || parsed.Fragment != "" {
		return hidden // a password with characters of its own could be in any part
	}
	public := url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}
	shown := public.String()
	if parsed.User != nil {
		shown = strings.Replace(shown, "://", "://…@", 1)
	}
	if parsed.RawQuery != "" {
		shown += "?…"
	}
	return shown
}

// text returns a text as YAML; an empty one as what loads as nothing.
func text(value string) *yaml.Node {
	if value == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

func texts(values []string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, value := range values {
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: maskSecrets(value)})
	}
	return node
}
