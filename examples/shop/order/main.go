// Command order serves the domain "order": what a customer puts together, pays
// for or gives up.
package main

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

func main() {
	service.Aggregate[Order]{Handle: Handle, Apply: Apply}.Run()
}

// Order is the state of one order.
type Order struct {
	CustomerID string `json:"customerId"`
	Items      []Item `json:"items"`
	Completed  bool   `json:"completed"`
	Cancelled  bool   `json:"cancelled"`
}

// Item is a number of goods at a price.
type Item struct {
	ProductID  string `json:"productId"`
	Quantity   uint32 `json:"quantity"`
	PriceCents uint32 `json:"priceCents"`
}

// Handle decides a command on the order as it is.
func Handle(command proto.Message, order *Order) (service.Events, error) {
	switch command := command.(type) {
	case *shoppb.CreateOrder:
		return createOrder(command, order)
	case *shoppb.AddItem:
		return addItem(command, order)
	case *shoppb.CompleteOrder:
		return completeOrder(order)
	case *shoppb.CancelOrder:
		return cancelOrder(command, order)
	case *pb.RevokeEventCommand:
		return revokeEvent(command, order)
	}
	return nil, service.Unhandled(command)
}

// Apply changes the order as an event says.
func Apply(order *Order, event proto.Message) {
	switch event := event.(type) {
	case *shoppb.OrderCreated:
		order.CustomerID = event.CustomerId
	case *shoppb.ItemAdded:
		order.Items = append(order.Items, Item{event.ProductId, event.Quantity, event.PriceCents})
	case *shoppb.ItemRemoved:
		if i := order.newest(event.ProductId, event.Quantity); i >= 0 {
			order.Items = slices.Delete(order.Items, i, i+1)
		}
	case *shoppb.OrderCompleted:
		order.Completed = true
	case *shoppb.OrderCancelled:
		order.Cancelled = true
	}
}

func createOrder(command *shoppb.CreateOrder, order *Order) (service.Events, error) {
	if order.CustomerID != "" {
		return nil, service.Reject("Order already exists")
	}
	if command.CustomerId == "" {
		return nil, service.Invalid("Customer id is required")
	}
	return service.Events{&shoppb.OrderCreated{CustomerId: command.CustomerId}}, nil
}

func addItem(command *shoppb.AddItem, order *Order) (service.Events, error) {
	if err := order.mustBeOpen(); err != nil {
		return nil, err
	}
	if command.ProductId == "" {
		return nil, service.Invalid("Product id is required")
	}
	if command.Quantity == 0 {
		return nil, service.Invalid("Quantity must be at least 1")
	}
	item := Item{command.ProductId, command.Quantity, command.PriceCents}
	if order.total()+item.total() > math.MaxUint32 {
		return nil, service.Reject("An order of more than %d cents is too large", uint32(math.MaxUint32))
	}
	return service.Events{&shoppb.ItemAdded{
		ProductId:  command.ProductId,
		Quantity:   command.Quantity,
		PriceCents: command.PriceCents,
	}}, nil
}

func completeOrder(order *Order) (service.Events, error) {
	if err := order.mustBeOpen(); err != nil {
		return nil, err
	}
	if len(order.Items) == 0 {
		return nil, service.Reject("Order has no items")
	}
	total := uint32(order.total())
	return service.Events{&shoppb.OrderCompleted{
		CustomerId:          order.CustomerID,
		TotalCents:          total,
		LoyaltyPointsEarned: total / 100,
	}}, nil
}

func cancelOrder(command *shoppb.CancelOrder, order *Order) (service.Events, error) {
	if err := order.mustBeOpen(); err != nil {
		return nil, err
	}
	var products []string
	for _, item := range order.Items {
		if !slices.Contains(products, item.ProductID) {
			products = append(products, item.ProductID)
		}
	}
	return service.Events{&shoppb.OrderCancelled{Reason: command.Reason, ProductIds: products}}, nil
}

// revokeEvent takes back what it can of an event whose consequences another
// domain has refused: an item that is not in stock leaves the order.
func revokeEvent(command *pb.RevokeEventCommand, order *Order) (service.Events, error) {
	if order.Cancelled {
		return nil, refuse(&pb.RevocationResponse{Reason: "Order is cancelled, there is nothing to undo"})
	}
	productID, quantity := reservation(command.RejectedCommand)
	i := order.newest(productID, quantity)
	if order.Completed || i < 0 {
		return nil, refuse(&pb.RevocationResponse{
			EmitSystemRevocation: true,
			Reason:               "Order cannot undo this, somebody has to look at it",
		})
	}
	return service.Events{&shoppb.ItemRemoved{
		ProductId:  productID,
		Quantity:   quantity,
		PriceCents: order.Items[i].PriceCents,
		Reason:     command.RejectionReason,
	}}, nil
}

func refuse(response *pb.RevocationResponse) error {
	return &service.Revocation{Response: response}
}

// reservation reads what the rejected command wanted to reserve, nothing if it
// was about something else.
func reservation(rejected *pb.CommandBook) (productID string, quantity uint32) {
	var command shoppb.ReserveStock
	for _, page := range rejected.GetPages() {
		if page.Command.UnmarshalTo(&command) == nil {
			return rejected.Cover.GetAggregateId(), command.Quantity
		}
	}
	return "", 0
}

func (order *Order) mustBeOpen() error {
	switch {
	case order.CustomerID == "":
		return service.Reject("Order does not exist")
	case order.Completed:
		return service.Reject("Order is already completed")
	case order.Cancelled:
		return service.Reject("Order is cancelled")
	}
	return nil
}

// newest returns the place of the item that was added last among those with this
// product and quantity, -1 if there is none.
func (order *Order) newest(productID string, quantity uint32) int {
	for i, item := range slices.Backward(order.Items) {
		if item.ProductID == productID && item.Quantity == quantity {
			return i
		}
	}
	return -1
}

func (order *Order) total() (cents uint64) {
	for _, item := range order.Items {
		cents += item.total()
	}
	return cents
}

func (item Item) total() (cents uint64) {
	return uint64(item.Quantity) * uint64(item.PriceCents)
}
