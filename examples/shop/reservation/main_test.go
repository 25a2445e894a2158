package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
)

func TestReactions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		when proto.Message
		then []service.Command
	}{
		"an item is reserved": {
			&shoppb.ItemAdded{ProductId: "prod-1", Quantity: 2, PriceCents: 500},
			[]service.Command{toInventory("prod-1", &shoppb.ReserveStock{OrderId: "o-1", Quantity: 2})},
		},
		"a cancelled order gives everything back": {
			&shoppb.OrderCancelled{ProductIds: []string{"prod-1", "prod-2"}},
			[]service.Command{
				toInventory("prod-1", &shoppb.ReleaseStock{OrderId: "o-1"}),
				toInventory("prod-2", &shoppb.ReleaseStock{OrderId: "o-1"}),
			},
		},
		"an item that could not be reserved holds nothing": {&shoppb.ItemRemoved{ProductId: "prod-1", Quantity: 2}, nil},
		"other events are of no interest":                  {&shoppb.OrderCompleted{}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.then, React(test.when, "o-1"), protocmp.Transform()); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func toInventory(productID string, message proto.Message) service.Command {
	return service.Command{Domain: "inventory", AggregateID: productID, Message: message}
}
