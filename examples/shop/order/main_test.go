package main

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

var (
	created   = &shoppb.OrderCreated{CustomerId: "alice@example.com"}
	completed = &shoppb.OrderCompleted{CustomerId: "alice@example.com", TotalCents: 1250, LoyaltyPointsEarned: 12}
	cancelled = &shoppb.OrderCancelled{Reason: "changed my mind", ProductIds: []string{"prod-1", "prod-2"}}
	two       = &shoppb.ItemAdded{ProductId: "prod-1", Quantity: 2, PriceCents: 500}
	one       = &shoppb.ItemAdded{ProductId: "prod-2", Quantity: 1, PriceCents: 250}
	addTwo    = &shoppb.AddItem{ProductId: "prod-1", Quantity: 2, PriceCents: 500}
)

func TestRules(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		given service.Events // what has happened so far
		when  proto.Message
		then  service.Events
		error string // instead of then
	}{
		"an order is created":                   {when: &shoppb.CreateOrder{CustomerId: "alice@example.com"}, then: service.Events{created}},
		"an order is created only once":         {given: service.Events{created}, when: &shoppb.CreateOrder{CustomerId: "bob@example.com"}, error: "Order already exists"},
		"an order needs a customer":             {when: &shoppb.CreateOrder{}, error: "Customer id is required"},
		"an item is added":                      {given: service.Events{created}, when: addTwo, then: service.Events{two}},
		"an item needs an order":                {when: addTwo, error: "Order does not exist"},
		"an item needs a product":               {given: service.Events{created}, when: &shoppb.AddItem{Quantity: 1}, error: "Product id is required"},
		"an item needs a quantity":              {given: service.Events{created}, when: &shoppb.AddItem{ProductId: "prod-1"}, error: "Quantity must be at least 1"},
		"nothing is added to a completed order": {given: service.Events{created, two, completed}, when: addTwo, error: "Order is already completed"},
		"nothing is added to a cancelled order": {given: service.Events{created, two, cancelled}, when: addTwo, error: "Order is cancelled"},
		"an order has a limit": {
			given: service.Events{created, two},
			when:  &shoppb.AddItem{ProductId: "prod-1", Quantity: 1, PriceCents: math.MaxUint32},
			error: "An order of more than 4294967295 cents is too large",
		},
		"an order is completed": {given: service.Events{created, two, one}, when: &shoppb.CompleteOrder{}, then: service.Events{completed}},
		"removed items do not count": {
			given: service.Events{created, two, one, two, removed("prod-1", 2, 500)},
			when:  &shoppb.CompleteOrder{},
			then:  service.Events{completed},
		},
		"an empty order is not completed":       {given: service.Events{created}, when: &shoppb.CompleteOrder{}, error: "Order has no items"},
		"an order is completed only once":       {given: service.Events{created, two, completed}, when: &shoppb.CompleteOrder{}, error: "Order is already completed"},
		"an order is cancelled":                 {given: service.Events{created, two, one, two}, when: &shoppb.CancelOrder{Reason: "changed my mind"}, then: service.Events{cancelled}},
		"a completed order is not cancelled":    {given: service.Events{created, two, completed}, when: &shoppb.CancelOrder{}, error: "Order is already completed"},
		"an item that is not in stock goes":     {given: service.Events{created, one, two}, when: revoke("prod-1", 2), then: service.Events{removed("prod-1", 2, 500)}},
		"a command without a rule is refused":   {when: &shoppb.AddStock{}, error: "no handler for command examples.AddStock"},
		"the newest of two equal items goes":    {given: service.Events{created, two, &shoppb.ItemAdded{ProductId: "prod-1", Quantity: 2, PriceCents: 7}}, when: revoke("prod-1", 2), then: service.Events{removed("prod-1", 2, 7)}},
		"a cancelled order has nothing to undo": {given: service.Events{created, two, cancelled}, when: revoke("prod-1", 2), error: "Order is cancelled, there is nothing to undo"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			order := after(test.given)
			events, err := Handle(test.when, order)
			if message := status.Convert(err).Message(); message != test.error {
				t.Fatalf("error %q, want %q", message, test.error)
			}
			if diff := cmp.Diff(test.then, events, protocmp.Transform()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPersonMustLookAtWhatCannotBeUndone(t *testing.T) {
	t.Parallel()
	points := &pb.RevokeEventCommand{RejectedCommand: book("customer", "alice@example.com", &shoppb.AddLoyaltyPoints{Points: 12})}
	tests := map[string]struct {
		given service.Events
		when  *pb.RevokeEventCommand
	}{
		"a reservation for a completed order": {service.Events{created, two, completed}, revoke("prod-1", 2)},
		"points for somebody unknown":         {service.Events{created, two, completed}, points},
		"an item that is not in the order":    {service.Events{created, two}, revoke("prod-1", 3)},
	}
	want := &pb.RevocationResponse{EmitSystemRevocation: true, Reason: "Order cannot undo this, somebody has to look at it"}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Handle(test.when, after(test.given))
			var revocation *service.Revocation
			if !errors.As(err, &revocation) {
				t.Fatalf("error %v, want a revocation", err)
			}
			if diff := cmp.Diff(want, revocation.Response, protocmp.Transform()); diff != "" {
				t.Errorf("revocation (-want +got):\n%s", diff)
			}
		})
	}
}

func after(events service.Events) *Order {
	order := &Order{}
	for _, event := range events {
		Apply(order, event)
	}
	return order
}

// revoke is what angz sends when the inventory has refused a reservation.
func revoke(productID string, quantity uint32) *pb.RevokeEventCommand {
	return &pb.RevokeEventCommand{
		SagaName:        "reservation",
		RejectionReason: "Only 1 in stock, 2 wanted",
		RejectedCommand: book("inventory", productID, &shoppb.ReserveStock{OrderId: "o-1", Quantity: quantity}),
	}
}

func removed(productID string, quantity, price uint32) proto.Message {
	return &shoppb.ItemRemoved{ProductId: productID, Quantity: quantity, PriceCents: price, Reason: "Only 1 in stock, 2 wanted"}
}

func book(domain, aggregateID string, command proto.Message) *pb.CommandBook {
	packed, err := anypb.New(command)
	if err != nil {
		panic(err)
	}
	return &pb.CommandBook{
		Cover: &pb.Cover{Domain: domain, AggregateId: aggregateID},
		Pages: []*pb.CommandPage{{Command: packed}},
	}
}
