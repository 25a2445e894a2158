package payload_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/payload"
)

func TestTypesAreFoundByWhatPeopleCallThem(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	for _, c := range []struct{ domain, name, want string }{
		{"customer", "CreateCustomer", "shop.customer.v1.CreateCustomer"},
		{"anything", "CreateCustomer", "shop.customer.v1.CreateCustomer"},
		{"customer", "v1.CreateCustomer", "shop.customer.v1.CreateCustomer"},
		{"customer", "type.examples/shop.customer.v1.CreateCustomer", "shop.customer.v1.CreateCustomer"},
		{"customer", "CustomerCreated.Line", "shop.customer.v1.CustomerCreated.Line"},
		{"customer", "Line", "shop.customer.v1.CustomerCreated.Line"},
		{"order", "Placed", "shop.order.v1.Placed"},
		{"shared", "Placed", "shop.shared.Placed"},
		{"order", "angzarr.RevokeEventCommand", "angzarr.RevokeEventCommand"},
	} {
		message, err := schema.Find(c.domain, c.name)
		if err != nil || string(message.FullName()) != c.want {
			t.Errorf("Find(%q, %q) = %v, %v, want %s", c.domain, c.name, message, err, c.want)
		}
	}
}

func TestAnAmbiguousNameListsItsCandidates(t *testing.T) {
	t.Parallel()
	_, err := shop(t).Find("inventory", "Placed")
	want := &payload.Ambiguous{
		Domain: "inventory", Name: "Placed",
		Candidates: []string{"shop.customer.v1.Placed", "shop.order.v1.Placed", "shop.shared.Placed"},
	}
	var got *payload.Ambiguous
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want %v", err, want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMistypedNameListsTheNearest(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	for name, want := range map[string][]string{
		"CreateCustmer":   {"shop.customer.v1.CreateCustomer"},
		"createcustomer":  {"shop.customer.v1.CreateCustomer"},
		"Customer":        {"shop.customer.v1.CreateCustomer", "shop.customer.v1.CustomerCreated"},
		"CreateInventory": nil,
		"Plced":           {"shop.order.v1.Placed", "shop.customer.v1.Placed", "shop.shared.Placed"},
	} {
		_, err := schema.Find("order", name)
		var missing *payload.NotFound
		if !errors.As(err, &missing) {
			t.Errorf("%s: got %v, want *payload.NotFound", name, err)
			continue
		}
		if diff := cmp.Diff(&payload.NotFound{Domain: "order", Name: name, Nearest: want}, missing); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWithoutASchemaShortNamesSaySo(t *testing.T) {
	t.Parallel()
	for _, schema := range []*payload.Schema{nil, {}} {
		_, err := schema.Find("customer", "CreateCustomer")
		var missing *payload.NotFound
		if !errors.As(err, &missing) || !missing.NoSchema {
			t.Errorf("got %v, want a *payload.NotFound without schema", err)
		}
	}
}
