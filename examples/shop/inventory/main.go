// Command inventory serves the domain "inventory": how much of each product
// there is, and for which orders it is set aside.
package main

import (
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
)

func main() {
	service.Aggregate[Stock]{Handle: Handle, Apply: Apply}.Run()
}

// Stock is the state of one product.
type Stock struct {
	Available uint32            `json:"available"` // what can be reserved
	Reserved  map[string]uint32 `json:"reserved"`  // what is set aside, by order
}

// Handle decides a command on the stock as it is.
func Handle(command proto.Message, stock *Stock) (service.Events, error) {
	switch command := command.(type) {
	case *shoppb.AddStock:
		return addStock(command, stock)
	case *shoppb.ReserveStock:
		return reserveStock(command, stock)
	case *shoppb.ReleaseStock:
		return releaseStock(command, stock)
	}
	return nil, service.Unhandled(command)
}

// Apply changes the stock as an event says.
func Apply(stock *Stock, event proto.Message) {
	switch event := event.(type) {
	case *shoppb.StockAdded:
		stock.Available = event.Available
	case *shoppb.StockReserved:
		stock.Available = event.Available
		if stock.Reserved == nil {
			stock.Reserved = map[string]uint32{}
		}
		stock.Reserved[event.OrderId] += event.Quantity
	case *shoppb.StockReleased:
		stock.Available = event.Available
		delete(stock.Reserved, event.OrderId)
	}
}

func addStock(command *shoppb.AddStock, stock *Stock) (service.Events, error) {
	if command.Quantity == 0 {
		return nil, service.Invalid("Quantity must be at least 1")
	}
	available := stock.Available + command.Quantity
	if available < stock.Available {
		return nil, service.Reject("%d more do not fit on the shelf", command.Quantity)
	}
	return service.Events{&shoppb.StockAdded{Quantity: command.Quantity, Available: available}}, nil
}

func reserveStock(command *shoppb.ReserveStock, stock *Stock) (service.Events, error) {
	if command.OrderId == "" {
		return nil, service.Invalid("Order id is required")
	}
	if command.Quantity == 0 {
		return nil, service.Invalid("Quantity must be at least 1")
	}
	if command.Quantity > stock.Available {
		return nil, service.Reject("Only %d in stock, %d wanted", stock.Available, command.Quantity)
	}
	return service.Events{&shoppb.StockReserved{
		OrderId:   command.OrderId,
		Quantity:  command.Quantity,
		Available: stock.Available - command.Quantity,
	}}, nil
}

func releaseStock(command *shoppb.ReleaseStock, stock *Stock) (service.Events, error) {
	if command.OrderId == "" {
		return nil, service.Invalid("Order id is required")
	}
	quantity := stock.Reserved[command.OrderId]
	if quantity == 0 {
		return nil, nil // nothing is set aside, so nothing happens
	}
	return service.Events{&shoppb.StockReleased{
		OrderId:   command.OrderId,
		Quantity:  quantity,
		Available: stock.Available + quantity,
	}}, nil
}
