package payload_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/runtime/payload"
)

// full is a message that uses every kind of field.
const full = `{"name":"Ål <b> \" \u0007","pointsBalance":"9007199254740993","at":"2026-01-31T12:00:00.500Z",` +
	`"lines":[{"sku":"a","quantity":2},{}],"counts":{"a":"18446744073709551615","b":"0"},"byNumber":{"-1":{"sku":"m"},"10":{}},` +
	`"extra":{"@type":"type.examples/shop.order.v1.CreateOrder","customer":"c"},"tier":"TIER_GOLD","token":"AP8=","rate":0.1,` +
	`"ratio":1.5,"active":true,"post":"box","notes":{"a":[1,null,{"b":"c"}]},"limit":"-5","about":{"root":{"value":"AAE="},"domain":"order"},` +
	`"age":0,"anything":null,"previous":{"name":"before"}}`

func TestJSONSurvivesTheWayThereAndBack(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	message, err := schema.Encode("customer", "CustomerCreated", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	got, known, err := schema.JSON(message)
	if err != nil || !known {
		t.Fatalf("known %v, err %v", known, err)
	}
	if diff := cmp.Diff(full, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestATypeURLKeepsItsPrefix(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	for asked, want := range map[string]string{
		"CreateOrder":                             "type.googleapis.com/shop.order.v1.CreateOrder",
		"shop.order.v1.CreateOrder":               "type.googleapis.com/shop.order.v1.CreateOrder",
		"type.examples/shop.order.v1.CreateOrder": "type.examples/shop.order.v1.CreateOrder",
	} {
		message, err := schema.Encode("order", asked, nil)
		if err != nil || message.TypeUrl != want || len(message.Value) != 0 {
			t.Errorf("Encode(%q) = %v, %v, want an empty %s", asked, message, err, want)
		}
	}
}

func TestWhatCannotBeDecodedIsShownAsBase64(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	nested, err := proto.Marshal(&anypb.Any{TypeUrl: "x/unknown.Thing", Value: []byte{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		message *anypb.Any
		want    string
		known   bool
	}{
		"unknown type":  {&anypb.Any{TypeUrl: "x/unknown.Thing", Value: []byte{0xff, 1}}, `{"@type":"x/unknown.Thing","@value":"/wE="}`, false},
		"nothing":       {nil, `{"@type":"","@value":""}`, false},
		"garbage bytes": {&anypb.Any{TypeUrl: "shop.order.v1.CreateOrder", Value: []byte{0xff}}, `{"@type":"shop.order.v1.CreateOrder","@value":"/w=="}`, false},
		"nested unknown": {
			&anypb.Any{TypeUrl: "shop.customer.v1.CustomerCreated", Value: append(protowire.AppendTag(nil, 7, protowire.BytesType), append([]byte{byte(len(nested))}, nested...)...)},
			`{"extra":{"@type":"x/unknown.Thing","@value":"AQI="}}`, true,
		},
		"a time out of range": {
			&anypb.Any{TypeUrl: "google.protobuf.Timestamp", Value: protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1<<60)},
			`{"seconds":"1152921504606846976"}`, true,
		},
	} {
		got, known, err := schema.JSON(c.message)
		if string(got) != c.want || known != c.known || err != nil {
			t.Errorf("%s: got %s, %v, %v, want %s, %v", name, got, known, err, c.want, c.known)
		}
	}
}

func TestAnyInAnyEndsSomewhere(t *testing.T) {
	t.Parallel()
	message := &anypb.Any{TypeUrl: "x/unknown"}
	for range 1000 {
		value, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		message = &anypb.Any{TypeUrl: "google.protobuf.Any", Value: value}
	}
	got, _, _ := new(payload.Schema).JSON(message)
	if !json.Valid(got) {
		t.Errorf("not JSON: %.200s", got)
	}
}

func TestRefusedJSONNamesTheFieldAndWhatBelongsThere(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	for text, want := range map[string][]payload.FieldProblem{
		`{"nme":"x"}`: {{"nme", `the unknown field "nme"`, `a field of shop.customer.v1.CustomerCreated such as "name"`}},
		`{"lines":[{"sku":"a"},{"quantity":-1}]}`:   {{"lines[1].quantity", "-1", "a whole number (uint32)"}},
		`{"points_balance":1.5}`:                    {{"points_balance", "1.5", "a whole number (int64)"}},
		`{"name":5,"active":"yes"}`:                 {{"active", `"yes"`, "true or false"}, {"name", "5", "a string"}},
		`{"at":"yesterday"}`:                        {{"at", `"yesterday"`, `a time such as "2026-01-31T12:00:00Z"`}},
		`{"tier":"GOLD"}`:                           {{"tier", `"GOLD"`, "one of TIER_NONE, TIER_GOLD"}},
		`{"lines":{}}`:                              {{"lines", "{}", "an array: of a JSON object: shop.customer.v1.CustomerCreated.Line"}},
		`{"counts":{"a":"x"}}`:                      {{`counts["a"]`, `"x"`, "a whole number (uint64)"}},
		`{"byNumber":{"x":{}}}`:                     {{`byNumber["x"]`, `"x"`, "as key a whole number (int32)"}},
		`{"phone":"1","post":"2"}`:                  {{"post", `both "phone" and "post"`, "only one of the two"}},
		`{"extra":{"@type":"no/such.Type"}}`:        {{"extra.@type", `"no/such.Type"`, "a type of the schema"}},
		`{"extra":{"customer":"x"}}`:                {{"extra.@type", "nothing", "the type URL of the message in this Any"}},
		`{"previous":{"previous":{"token":"***"}}}`: {{"previous.previous.token", `"***"`, "bytes as a base64 string"}},
		`[]`:                  {{"", "[]", "a JSON object: shop.customer.v1.CustomerCreated"}},
		`{"a":1} x`:           {{"", "more text after the end of the JSON value", ""}},
		"{\n \"name\": oops}": {{"", "text that is no JSON at line 2, column 10 (invalid character 'o' looking for beginning of value)", ""}},
		`{"name":`:            {{"", "JSON that ends too early", "a JSON object"}},
	} {
		_, err := schema.Encode("customer", "CustomerCreated", []byte(text))
		var bad *payload.BadJSON
		if !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want *payload.BadJSON", text, err)
			continue
		}
		if diff := cmp.Diff(want, bad.Problems); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func FuzzJSON(f *testing.F) {
	schema := shop(f)
	message, err := schema.Encode("customer", "CustomerCreated", []byte(full))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message.TypeUrl, message.Value)
	f.Add("google.protobuf.Struct", []byte{10, 4, 10, 0, 18, 0})
	f.Add("x/angzarr.EventPage", []byte{34, 0})
	f.Add("", []byte(nil))
	f.Fuzz(func(t *testing.T, url string, value []byte) {
		got, known, err := schema.JSON(&anypb.Any{TypeUrl: url, Value: value})
		if err != nil || !json.Valid(got) {
			t.Fatalf("%s, %v", got, err)
		}
		// What was decoded is the JSON form of the same message, unless it holds
		// something that has none.
		if descriptor, _ := schema.Message(url); known && !strings.Contains(string(got), "@") {
			again := dynamicpb.NewMessage(descriptor)
			if err := (protojson.UnmarshalOptions{AllowPartial: true}).Unmarshal(got, again); err != nil {
				t.Skip()
			}
			was := dynamicpb.NewMessage(descriptor)
			if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(value, was); err != nil {
				t.Fatal(err)
			}
			wasJSON, err := protojson.MarshalOptions{AllowPartial: true}.Marshal(was)
			if err == nil && !sameJSON(t, wasJSON, got) {
				t.Fatalf("got  %s\nwant %s", got, wasJSON)
			}
		}
	})
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		t.Fatalf("not JSON: %s or %s", a, b)
	}
	return cmp.Equal(x, y)
}

func FuzzEncode(f *testing.F) {
	schema := shop(f)
	f.Add("CustomerCreated", []byte(full))
	f.Add("google.protobuf.Value", []byte(`{"a":[1e400]}`))
	f.Add("CreateCustomer", []byte(`{"name":null,"nope":1}`))
	f.Fuzz(func(t *testing.T, typeName string, text []byte) {
		message, err := schema.Encode("customer", typeName, text)
		if err != nil {
			if err.Error() == "" || message != nil {
				t.Fatalf("error %q with %v", err, message)
			}
			return
		}
		if _, known, _ := schema.JSON(message); !known {
			t.Fatalf("%s encodes to what cannot be decoded: %x", text, message.Value)
		}
	})
}
