// Command reservation serves the saga "reservation": what an order contains is
// set aside in the inventory. If the inventory refuses, angz tells the order.
package main

import (
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
)

func main() {
	service.Saga{React: React}.Run()
}

// React says which commands follow from an event of an order.
func React(event proto.Message, orderID string) []service.Command {
	switch event := event.(type) {
	case *shoppb.ItemAdded:
		return []service.Command{{
			Domain:      "inventory",
			AggregateID: event.ProductId,
			Message:     &shoppb.ReserveStock{OrderId: orderID, Quantity: event.Quantity},
		}}
	case *shoppb.OrderCancelled:
		return release(event.ProductIds, orderID)
	}
	return nil
}

func release(productIDs []string, orderID string) []service.Command {
	var commands []service.Command
	for _, productID := range productIDs {
		commands = append(commands, service.Command{
			Domain:      "inventory",
			AggregateID: productID,
			Message:     &shoppb.ReleaseStock{OrderId: orderID},
		})
	}
	return commands
}
