package emulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// seedEntry is one entry of a seed file as it is written.
type seedEntry struct {
	Domain      string          `json:"domain"`
	ID          string          `json:"id"`
	Command     string          `json:"command"`
	Event       string          `json:"event"`
	Payload     json.RawMessage `json:"payload"`
	At          string          `json:"at"`
	Correlation string          `json:"correlation"`
	Key         string          `json:"key"`
	Sync        string          `json:"sync"`

	place   string // file:line
	payload json.RawMessage
	at      time.Time
	sync    int
}

// seedKeys are the keys of an entry.
var seedKeys = []string{"domain", "id", "command", "event", "payload", "at", "correlation", "key", "sync"}

var seedSyncs = []string{"none", "simple", "cascade"}

// check reads what is written and refuses what is wrong with it.
func (e *seedEntry) check() (err error) {
	switch {
	case e.Domain == "":
		return errors.New("domain: found nothing, expected the name of a domain")
	case e.ID == "":
		return errors.New("id: found nothing, expected what people call the aggregate, or a UUID")
	case e.Command == "" && e.Event == "":
		return errors.New("found neither command nor event, expected the name of a type in one of them")
	case e.Command != "" && e.Event != "":
		return errors.New("found both command and event, expected one of the two")
	case e.Command != "" && e.At != "":
		return errors.New("at: found with a command, which happens when it is sent; expected with events only")
	case e.Event != "" && e.Sync != "":
		return errors.New("sync: found with an event, for which nothing is waited; expected with commands only")
	}
	if e.At != "" {
		if e.at, err = time.Parse(time.RFC3339Nano, e.At); err != nil {
			return fmt.Errorf("at: found %q, expected a time such as 2026-01-31T12:00:00Z", e.At)
		}
	}
	if e.Sync != "" {
		if e.sync = slices.Index(seedSyncs, e.Sync); e.sync < 0 {
			return fmt.Errorf("sync: found %q, expected none, simple or cascade", e.Sync)
		}
	}
	if text := bytes.TrimSpace(e.Payload); len(text) > 0 && text[0] != '{' && !bytes.Equal(text, []byte("null")) {
		return fmt.Errorf("payload: found %s, expected an object with the fields of %s", text[:min(len(text), 40)], e.Command+e.Event)
	} else if !bytes.Equal(text, []byte("null")) {
		e.payload = text
	}
	return nil
}

// readSeedFile reads the entries of a file; its ending says what it is. What is
// right is returned beside the error that tells of all that is wrong.
func readSeedFile(path string) ([]seedEntry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--seed: %w", err)
	}
	defer file.Close()
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".yaml", ".yml":
		return readYAMLSeeds(path, file)
	case ".jsonl", ".ndjson":
		return readJSONSeeds(path, file)
	default:
		return nil, fmt.Errorf("--seed: %s ends with %q, expected .yaml, .yml, .jsonl or .ndjson", path, ending)
	}
}

// readJSONSeeds reads one entry from each line that is not empty.
func readJSONSeeds(path string, from io.Reader) (entries []seedEntry, all error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		entry := seedEntry{place: fmt.Sprintf("%s:%d", path, number)}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&entry)
		if err == nil && decoder.More() {
			err = errors.New("found more after the JSON object, expected one on each line")
		}
		if name, unknown := strings.CutPrefix(fmt.Sprint(err), "json: unknown field "); unknown {
			name, _ = strconv.Unquote(name)
			err = unknownSeedKey(name)
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %s", entry.place, strings.TrimPrefix(err.Error(), "json: ")))
			continue
		}
		entries = append(entries, entry)
	}
	if err := lines.Err(); err != nil {
		all = errors.Join(all, fmt.Errorf("read %s: %w", path, err))
	}
	return entries, all
}

func unknownSeedKey(name string) error {
	if name == "kind" {
		return errors.New(`found the key "kind", as angz export writes it: begin with such a file by angz dev --from`)
	}
	return fmt.Errorf("found the unknown key %q, expected some of %s", name, strings.Join(seedKeys, ", "))
}

// readYAMLSeeds reads a list of entries, or several documents with one or more
// each.
func readYAMLSeeds(path string, from io.Reader) (entries []seedEntry, all error) {
	decoder := yaml.NewDecoder(from)
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return entries, all
		}
		if err != nil {
			return entries, errors.Join(all, fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: ")))
		}
		for _, node := range documentEntries(&document) {
			entry := seedEntry{place: fmt.Sprintf("%s:%d", path, node.Line)}
			if err := entry.readYAML(path, node); err != nil {
				all = errors.Join(all, err)
				continue
			}
			entries = append(entries, entry)
		}
	}
}

func documentEntries(document *yaml.Node) []*yaml.Node {
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		document = document.Content[0]
	}
	if document.Kind == yaml.SequenceNode {
		return document.Content
	}
	if document.Tag == "!!null" {
		return nil
	}
	return []*yaml.Node{document}
}

// readYAML reads one entry. Mistakes in its keys are told with their own lines.
func (e *seedEntry) readYAML(path string, node *yaml.Node) (all error) {
	budget := mostYAMLNodes
	node, err := resolved(node, &budget)
	if err != nil || node.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: found %s, expected an entry such as {domain: todo, id: monday, command: AddTask, payload: {title: tea}}", e.place, shownYAML(node))
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		at := func(err error) { all = errors.Join(all, fmt.Errorf("%s:%d: %w", path, key.Line, err)) }
		value, err := resolved(node.Content[i+1], &budget)
		if err != nil {
			at(err)
			continue
		}
		if key.Value == "payload" {
			if e.Payload, err = jsonOf(nil, value, &budget); err != nil {
				at(fmt.Errorf("payload: %w", err))
			}
			continue
		}
		field := e.text(key.Value)
		switch {
		case field == nil:
			at(unknownSeedKey(key.Value))
		case value.Kind != yaml.ScalarNode:
			at(fmt.Errorf("%s: found %s, expected text", key.Value, shownYAML(value)))
		default:
			*field = value.Value
		}
	}
	return all
}

// text returns the member that a key is for, nil for an unknown one.
func (e *seedEntry) text(key string) *string {
	return map[string]*string{
		"domain": &e.Domain, "id": &e.ID, "command": &e.Command, "event": &e.Event, "at": &e.At, "correlation": &e.Correlation, "key": &e.Key, "sync": &e.Sync,
	}[key]
}

func shownYAML(node *yaml.Node) string {
	switch {
	case node == nil:
		return "nothing"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	}
	return strconv.Quote(node.Value)
}

// mostYAMLNodes bounds what one entry may hold when its aliases are written out:
// a few lines can stand for millions of values.
const mostYAMLNodes = 100_000

var errLargeYAML = fmt.Errorf("it holds more than %d values", mostYAMLNodes)

// resolved follows an alias.
func resolved(node *yaml.Node, budget *int) (*yaml.Node, error) {
	for node != nil && node.Kind == yaml.AliasNode {
		if *budget--; *budget < 0 {
			return node, errLargeYAML
		}
		node = node.Alias
	}
	return node, nil
}

// jsonOf appends a YAML value as JSON. Numbers keep all their digits.
func jsonOf(out []byte, node *yaml.Node, budget *int) (_ []byte, err error) {
	if *budget--; *budget < 0 {
		return nil, errLargeYAML
	}
	if node, err = resolved(node, budget); err != nil {
		return nil, err
	}
	switch node.Kind {
	case yaml.SequenceNode:
		out = append(out, '[')
		for i, element := range node.Content {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = jsonOf(out, element, budget); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case yaml.MappingNode:
		out = append(out, '{')
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, err := resolved(node.Content[i], budget)
			if err != nil {
				return nil, err
			}
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				return nil, fmt.Errorf("line %d: found %s as a key, expected the name of a field", key.Line, shownYAML(key))
			}
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendText(out, key.Value), ':')
			if out, err = jsonOf(out, node.Content[i+1], budget); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	}
	return appendScalar(out, node)
}

// jsonNumber is a number that JSON writes as YAML does.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func appendScalar(out []byte, node *yaml.Node) ([]byte, error) {
	switch node.ShortTag() {
	case "!!null":
		return append(out, "null"...), nil
	case "!!bool":
		var value bool
		if err := node.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: found %q, expected true or false", node.Line, node.Value)
		}
		return strconv.AppendBool(out, value), nil
	case "!!int":
		if jsonNumber.MatchString(node.Value) {
			return append(out, node.Value...), nil
		}
		var value int64
		if err := node.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: found %q, expected a number", node.Line, node.Value)
		}
		return strconv.AppendInt(out, value, 10), nil
	case "!!float":
		if jsonNumber.MatchString(node.Value) {
			return append(out, node.Value...), nil
		}
		var value float64
		if err := node.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: found %q, expected a number", node.Line, node.Value)
		}
		// As protobuf's JSON writes what JSON has no number for.
		text := strconv.FormatFloat(value, 'g', -1, 64)
		switch text {
		case "+Inf":
			return append(out, `"Infinity"`...), nil
		case "-Inf":
			return append(out, `"-Infinity"`...), nil
		case "NaN":
			return append(out, `"NaN"`...), nil
		}
		return append(out, text...), nil
	case "!!binary":
		return appendText(out, strings.Join(strings.Fields(node.Value), "")), nil
	}
	return appendText(out, node.Value), nil // text and times
}

func appendText(out []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // strings always have a JSON form
	return append(out, quoted...)
}
