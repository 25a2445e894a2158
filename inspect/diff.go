package inspect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Change is one difference between two JSON values.
type Change struct {
	Path   string          // such as items[2].price; empty for the values as a whole
	Before json.RawMessage // nil when there was nothing
	After  json.RawMessage // nil when there is nothing any more
}

// Diff lists the differences between two JSON values, in the order of their
// paths. Numbers are equal when their texts are. nil stands for no value.
func Diff(before, after json.RawMessage) ([]Change, error) {
	was, err := decoded(before)
	if err != nil {
		return nil, err
	}
	is, err := decoded(after)
	if err != nil {
		return nil, err
	}
	var changes []Change
	compare("", was, is, func(change Change) { changes = append(changes, change) })
	return changes, nil
}

// nothing is the absence of a value, which is not null.
type nothing struct{}

func decoded(text json.RawMessage) (value any, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nothing{}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("compare JSON: %w", err)
	}
	return value, nil
}

func compare(path string, was, is any, found func(Change)) {
	switch before := was.(type) {
	case map[string]any:
		if after, both := is.(map[string]any); both {
			compareObjects(path, before, after, found)
			return
		}
	case []any:
		if after, both := is.([]any); both {
			compareLists(path, before, after, found)
			return
		}
	default:
		if _, object := is.(map[string]any); object {
			break
		}
		if _, list := is.([]any); !list && before == is {
			return
		}
	}
	found(Change{path, encoded(was), encoded(is)})
}

func compareObjects(path string, before, after map[string]any, found func(Change)) {
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.SortedFunc(maps.Keys(all), cmp.Compare[string]) {
		inner := name
		if path != "" {
			inner = path + "." + name
		}
		compare(inner, valueOf(before, name), valueOf(after, name), found)
	}
}

func valueOf(object map[string]any, name string) any {
	if value, has := object[name]; has {
		return value
	}
	return nothing{}
}

func compareLists(path string, before, after []any, found func(Change)) {
	for i := range max(len(before), len(after)) {
		var was, is any = nothing{}, nothing{}
		if i < len(before) {
			was = before[i]
		}
		if i < len(after) {
			is = after[i]
		}
		compare(path+"["+strconv.Itoa(i)+"]", was, is, found)
	}
}

func encoded(value any) json.RawMessage {
	if value == (nothing{}) {
		return nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil // it was decoded from JSON, so it is JSON
	}
	return bytes.TrimSpace(text.Bytes())
}
