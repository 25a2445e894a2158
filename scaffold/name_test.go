package scaffold

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	type spellings struct{ Kebab, Snake, Flat, Pascal, Camel, Title string }
	tests := map[string]spellings{
		"customer":   {"customer", "customer", "customer", "Customer", "customer", "Customer"},
		"order-item": {"order-item", "order_item", "orderitem", "OrderItem", "orderItem", "Order item"},
		"OrderItem":  {"order-item", "order_item", "orderitem", "OrderItem", "orderItem", "Order item"},
		"orderItem":  {"order-item", "order_item", "orderitem", "OrderItem", "orderItem", "Order item"},
		"order_item": {"order-item", "order_item", "orderitem", "OrderItem", "orderItem", "Order item"},
		"HTTPServer": {"http-server", "http_server", "httpserver", "HttpServer", "httpServer", "Http server"},
		"order2":     {"order2", "order2", "order2", "Order2", "order2", "Order2"},
		"order-2":    {"order-2", "order_2", "order2", "Order2", "order2", "Order 2"},
		"--a--b--":   {"a-b", "a_b", "ab", "AB", "aB", "A b"},
	}
	for text, want := range tests {
		name, err := ParseName(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, spellings{name.Kebab(), name.Snake(), name.Flat(), name.Pascal(), name.Camel(), name.Title()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestNamesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                         "the name is empty; expected a word such as customer or order-item",
		"2fast":                    `the name "2fast" begins with a digit, expected a letter first, as in order-2`,
		"order item":               `the name "order item" has ' ' at position 6, expected letters, digits and hyphens, as in order-item`,
		"kundé":                    `the name "kundé" has 'é' at position 5, expected letters, digits and hyphens, as in order-item`,
		"../x":                     `the name "../x" has '.' at position 1, expected letters, digits and hyphens, as in order-item`,
		"--":                       `the name "--" has no letters, expected a word such as customer or order-item`,
		"class":                    `the name "class" cannot be used: "class" is a word of Python itself; take another, such as my-class`,
		"func":                     `the name "func" cannot be used: "func" is a word of Go itself; take another, such as my-func`,
		"match":                    `the name "match" cannot be used: "match" is a word of Rust itself; take another, such as my-match`,
		"Message":                  `the name "Message" cannot be used: "message" is a word of Protocol Buffers itself; take another, such as my-message`,
		"angzarr-x":                `the name "angzarr-x" cannot be used: names that begin with "angzarr" are taken; take another, such as my-angzarr-x`,
		"gen":                      `the name "gen" cannot be used: "gen" is the name of a folder that projects have for something else; take another, such as my-gen`,
		strings.Repeat("long", 15): `the name "longlonglonglonglong"… has 60 characters, expected at most 50`,
	}
	for text, want := range tests {
		if name, err := ParseName(text); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v, %v\nwant %s", text, name, err, want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, text := range []string{"customer", "order-item", "OrderItem", "HTTPServer", "2", "-", "é", "a1b2", "ABC"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseName(text)
		if err != nil {
			return
		}
		again, err := ParseName(name.Kebab())
		if err != nil || again.Kebab() != name.Kebab() {
			t.Errorf("%q is %q, which is %q, %v", text, name.Kebab(), again.Kebab(), err)
		}
	})
}
