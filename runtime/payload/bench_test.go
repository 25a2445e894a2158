package payload_test

import (
	"testing"

	"github.com/angz-dev/angz/runtime/payload"
)

func BenchmarkLoad(b *testing.B) {
	dir := folder(b, map[string]string{"customer.proto": shopCustomer, "order.proto": shopOrder, "shared.proto": shopShared})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := payload.Load(b.Context(), []string{dir}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	schema := shop(b)
	message, err := schema.Encode("customer", "CustomerCreated", []byte(full))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, known, _ := schema.JSON(message); !known {
			b.Fatal("not decoded")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	schema := shop(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.Encode("customer", "CreateCustomer", []byte(`{"name":"Alice","email":"alice@example.com"}`)); err != nil {
			b.Fatal(err)
		}
	}
}
