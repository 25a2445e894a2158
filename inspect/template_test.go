package inspect_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tailscale/hujson"

	"github.com/angz-dev/angz/inspect"
)

func TestTemplateShowsEveryField(t *testing.T) {
	t.Parallel()
	message, known := schemaOf(t, "shop.proto", messages).Message("shop.AddItem")
	if !known {
		t.Fatal("the type is not known")
	}
	given := map[string]json.RawMessage{"quantity": json.RawMessage("3"), "productId": json.RawMessage(`"tea"`), "voucher": json.RawMessage(`"v"`), "unknown": json.RawMessage("[1]")}
	got := inspect.Template(message, given, noon)
	want := `{
  "product_id": "tea", // text
  "quantity": 3, // a whole number from 0 to 4294967295
  "price": 0, // a whole number from -9223372036854775808 to 9223372036854775807
  "serial": 0, // a whole number from 0 to 18446744073709551615
  "weight": 0, // a number
  "gift": false, // false, true
  "size": "SIZE_SMALL", // SIZE_SMALL, SIZE_LARGE
  "picture": "", // base64
  // "due": "2026-01-31T12:00:00Z", // a time, to the second or finer; may be left out
  // "wait": "0s", // a duration in seconds, such as "1.5s"; may be left out
  "tags": [], // a list such as ["…"]
  "marks": [], // a list such as [1]
  "notes": {}, // JSON such as {"name": …}
  // "place": {"street": ""}, // JSON such as {"street": …}; may be left out
  // "more": null, // JSON such as {"fields": …}; may be left out
  // "card": "", // text; one of paid_by
  "voucher": "v", // text; one of paid_by
  "unknown": [1],
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := hujson.Standardize([]byte(got)); err != nil {
		t.Error(err)
	}
}
