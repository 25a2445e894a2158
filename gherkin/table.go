package gherkin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/cucumber/godog"
	messages "github.com/cucumber/messages/go/v21"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/runtime/book"
)

// argument is what stands below a step: a table, or JSON between quotes.
type argument struct{ step *messages.PickleStepArgument }

// row is what one row of a table says: the cells that are not empty, by column.
// A message in JSON is the one column "".
type row map[string]string

// take removes a cell.
func (r row) take(column string) (text string, given bool) {
	text, given = r[column]
	delete(r, column)
	return text, given
}

// columns returns the names of what is said, sorted.
func (r row) columns() []string {
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// whole is the column of a message that is given as one JSON object.
const whole = ""

// one returns the only row of an argument; none when there is no argument.
func (a argument) one() (row, error) {
	switch {
	case a.step == nil:
		return row{}, nil
	case a.step.DocString != nil:
		text := strings.TrimSpace(a.step.DocString.Content)
		if !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("the text below the step is not JSON: %.60s", text)
		}
		return row{whole: text}, nil
	}
	rows, err := readRows(a.step.DataTable)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("found %d rows below the names of the fields, expected one", len(rows))
	}
	return rows[0], nil
}

// readRows reads a table whose first row names the columns. Some must be there.
func readRows(table *godog.Table, needed ...string) ([]row, error) {
	if table == nil || len(table.Rows) == 0 {
		return nil, fmt.Errorf("found no table, expected one with the names of the fields in its first row")
	}
	var names []string
	for _, cell := range table.Rows[0].Cells {
		name := strings.TrimSpace(cell.Value)
		if name == "" || slices.Contains(names, name) {
			return nil, fmt.Errorf("the first row has the name %q twice or without letters, expected the names of fields", name)
		}
		names = append(names, name)
	}
	for _, name := range needed {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("found the columns %s, expected %s among them", strings.Join(names, ", "), name)
		}
	}
	rows := make([]row, 0, len(table.Rows)-1)
	for _, cells := range table.Rows[1:] {
		made := row{}
		for i, cell := range cells.Cells {
			if cell.Value != "" {
				made[names[i]] = cell.Value
			}
		}
		rows = append(rows, made)
	}
	return rows, nil
}

// role is what a message is wanted for.
type role string

const (
	command role = "command"
	event   role = "event"
)

// message makes a message of a domain from what a row says.
func (w *world) message(domain, name string, wanted role, fields row) (*anypb.Any, error) {
	descriptor, err := w.schema.Find(domain, name)
	if err != nil {
		return nil, fmt.Errorf("%s of domain %q: %w", wanted, domain, err)
	}
	return w.messageOf(string(descriptor.FullName()), fields)
}

// messageOf makes a message of a type, named in full.
func (w *world) messageOf(name string, fields row) (*anypb.Any, error) {
	descriptor, known := w.schema.Message(name)
	if !known {
		return nil, fmt.Errorf("no .proto file describes %s", name)
	}
	encoded, err := encode(descriptor, fields)
	if err != nil {
		return nil, err
	}
	message, err := w.schema.Encode("", name, encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", descriptor.Name(), err)
	}
	return message, nil
}

// encode writes a row as the JSON of a message.
func encode(descriptor protoreflect.MessageDescriptor, fields row) ([]byte, error) {
	object := map[string]any{}
	if text, given := fields[whole]; given {
		return []byte(text), nil
	}
	for _, column := range fields.columns() {
		if err := put(object, descriptor, strings.Split(column, "."), fields[column]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(object)
}

// put sets the field at a path. JSON finds out whether the value fits.
func put(object map[string]any, descriptor protoreflect.MessageDescriptor, path []string, value string) error {
	field := fieldOf(descriptor, path[0])
	if field == nil {
		return fmt.Errorf("%s has no field %q, expected one of %s", descriptor.Name(), path[0], strings.Join(fieldNames(descriptor), ", "))
	}
	name := field.JSONName()
	if len(path) == 1 {
		object[name] = valueOf(field, value)
		return nil
	}
	if field.Message() == nil || field.IsMap() || field.IsList() {
		return fmt.Errorf("%s.%s has no fields of its own, found %s", descriptor.Name(), path[0], strings.Join(path, "."))
	}
	inner, ok := object[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		object[name] = inner
	}
	return put(inner, field.Message(), path[1:], value)
}

func fieldOf(descriptor protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if field := descriptor.Fields().ByName(protoreflect.Name(name)); field != nil {
		return field
	}
	return descriptor.Fields().ByJSONName(name)
}

func fieldNames(descriptor protoreflect.MessageDescriptor) []string {
	names := make([]string, descriptor.Fields().Len())
	for i := range names {
		names[i] = string(descriptor.Fields().Get(i).Name())
	}
	return names
}

// valueOf reads a cell: text as it is where the field is text, else as JSON, and
// what is not JSON as text once more, such as the name of an enum or a time.
func valueOf(field protoreflect.FieldDescriptor, cell string) any {
	isText := field.Kind() == protoreflect.StringKind && !field.IsList()
	if isText || !json.Valid([]byte(cell)) {
		return cell
	}
	return json.RawMessage(cell)
}

// compareEvents compares events with a table, column by column.
func (w *world) compareEvents(domain string, table *godog.Table, pages []*page) error {
	rows, err := readRows(table, "event_type")
	if err != nil {
		return err
	}
	var differences []string
	for i := range max(len(rows), len(pages)) {
		switch {
		case i >= len(pages):
			differences = append(differences, fmt.Sprintf("row %d: expected %s, found no event more", i+1, rows[i]["event_type"]))
		case i >= len(rows):
			differences = append(differences, fmt.Sprintf("expected no event more, found %s", w.shown(pages[i].GetEvent())))
		default:
			difference, err := w.compareEvent(domain, rows[i], pages[i])
			if err != nil {
				return fmt.Errorf("row %d: %w", i+1, err)
			}
			if difference != "" {
				differences = append(differences, fmt.Sprintf("row %d: %s", i+1, difference))
			}
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("the events differ:\n  %s\nthe events are:\n%s", strings.Join(differences, "\n  "), w.listed(pages))
	}
	return nil
}

func (w *world) compareEvent(domain string, wanted row, found *page) (string, error) {
	if text, given := wanted.take("sequence"); given && text != fmt.Sprint(found.GetNum()) {
		return fmt.Sprintf("sequence: found %d, expected %s", found.GetNum(), text), nil
	}
	name, _ := wanted.take("event_type")
	message, err := w.message(domain, name, event, wanted)
	if err != nil {
		return "", err
	}
	if book.TypeName(message.GetTypeUrl()) != book.TypeName(found.GetEvent().GetTypeUrl()) {
		return fmt.Sprintf("found %s, expected %s", w.shown(found.GetEvent()), name), nil
	}
	return strings.ReplaceAll(w.difference(wanted, message, found.GetEvent()), "\n", "; "), nil
}

// difference compares the fields that a row names; empty when they are the same.
func (w *world) difference(fields row, wanted, found *anypb.Any) string {
	expected, err := w.decoded(wanted)
	if err != nil {
		return err.Error()
	}
	have, err := w.decoded(found)
	if err != nil {
		return err.Error()
	}
	columns := fields.columns()
	if _, given := fields[whole]; given {
		columns = keysOf(expected)
	}
	descriptor, _ := w.schema.Message(book.TypeName(wanted.GetTypeUrl()))
	var lines []string
	for _, column := range columns {
		want, got := at(expected, descriptor, column), at(have, descriptor, column)
		if !bytes.Equal(want, got) {
			lines = append(lines, fmt.Sprintf("%s: found %s, expected %s", column, got, want))
		}
	}
	return strings.Join(lines, "\n")
}

func (w *world) decoded(message *anypb.Any) (map[string]any, error) {
	text, known, err := w.schema.JSON(message)
	if err != nil || !known {
		return nil, fmt.Errorf("%s cannot be read by the project's .proto files: %w", book.ShortName(message.GetTypeUrl()), err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	return object, decoder.Decode(&object)
}

func keysOf(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// at returns the JSON of the value at a path, "nothing" for one that is not set.
func at(object map[string]any, descriptor protoreflect.MessageDescriptor, path string) []byte {
	var value any = object
	for _, name := range strings.Split(path, ".") {
		inner, ok := value.(map[string]any)
		if !ok {
			return []byte("nothing")
		}
		if descriptor != nil {
			if field := fieldOf(descriptor, name); field != nil {
				name, descriptor = field.JSONName(), field.Message()
			}
		}
		if value, ok = inner[name]; !ok {
			return []byte("nothing")
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}
