package payload_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestJSONSaysWhetherItIsAllThereIs(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	whole, err := schema.Encode("customer", "CustomerCreated", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	const name = "shop.customer.v1.CustomerCreated"
	field := func(number protowire.Number, text string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), text)
	}
	for what, c := range map[string]struct {
		typeURL      string
		value        []byte
		known, exact bool
	}{
		"every kind of field": {whole.TypeUrl, whole.Value, true, true},
		"nothing":             {name, nil, true, true},
		"an unknown field":    {name, append(bytes.Clone(whole.Value), field(4000, "x")...), true, false},
		"a field twice":       {name, append(field(1, "a"), field(1, "b")...), true, false},
		"not UTF-8":           {name, field(1, "\xff"), false, false},
		"an unknown type":     {"x/none.Such", field(1, "a"), false, false},
	} {
		json, known, exact := schema.Exact(&anypb.Any{TypeUrl: c.typeURL, Value: c.value})
		if known != c.known || exact != c.exact {
			t.Errorf("%s: known %v, exact %v, want %v, %v: %s", what, known, exact, c.known, c.exact, json)
		}
		if !exact {
			continue
		}
		if again, err := schema.Bytes(c.typeURL, json); err != nil || !bytes.Equal(again, c.value) {
			t.Errorf("%s: came back as %x, %v", what, again, err)
		}
	}
}
