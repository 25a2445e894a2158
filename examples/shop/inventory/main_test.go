package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/angz-dev/angz/examples/shop/service"
	"github.com/angz-dev/angz/examples/shop/shoppb"
)

func TestRules(t *testing.T) {
	t.Parallel()
	ten := &shoppb.StockAdded{Quantity: 10, Available: 10}
	threeReserved := &shoppb.StockReserved{OrderId: "o-1", Quantity: 3, Available: 7}
	twoReserved := &shoppb.StockReserved{OrderId: "o-1", Quantity: 2, Available: 5}
	released := &shoppb.StockReleased{OrderId: "o-1", Quantity: 5, Available: 10}
	tests := map[string]struct {
		given service.Events // what has happened so far
		when  proto.Message
		then  service.Events
		error string // instead of then
	}{
		"stock is added":                  {when: &shoppb.AddStock{Quantity: 10}, then: service.Events{ten}},
		"stock adds up":                   {given: service.Events{ten}, when: &shoppb.AddStock{Quantity: 5}, then: service.Events{&shoppb.StockAdded{Quantity: 5, Available: 15}}},
		"stock needs a quantity":          {when: &shoppb.AddStock{}, error: "Quantity must be at least 1"},
		"a shelf has a limit":             {given: service.Events{ten}, when: &shoppb.AddStock{Quantity: math.MaxUint32}, error: "4294967295 more do not fit on the shelf"},
		"stock is reserved":               {given: service.Events{ten}, when: &shoppb.ReserveStock{OrderId: "o-1", Quantity: 3}, then: service.Events{threeReserved}},
		"stock is reserved to the last":   {given: service.Events{ten}, when: &shoppb.ReserveStock{OrderId: "o-1", Quantity: 10}, then: service.Events{&shoppb.StockReserved{OrderId: "o-1", Quantity: 10}}},
		"stock that is short is refused":  {given: service.Events{ten, threeReserved}, when: &shoppb.ReserveStock{OrderId: "o-2", Quantity: 8}, error: "Only 7 in stock, 8 wanted"},
		"unknown goods are short":         {when: &shoppb.ReserveStock{OrderId: "o-1", Quantity: 1}, error: "Only 0 in stock, 1 wanted"},
		"a reservation needs an order":    {given: service.Events{ten}, when: &shoppb.ReserveStock{Quantity: 1}, error: "Order id is required"},
		"a reservation needs a quantity":  {given: service.Events{ten}, when: &shoppb.ReserveStock{OrderId: "o-1"}, error: "Quantity must be at least 1"},
		"all of an order is released":     {given: service.Events{ten, threeReserved, twoReserved}, when: &shoppb.ReleaseStock{OrderId: "o-1"}, then: service.Events{released}},
		"a release needs an order":        {given: service.Events{ten}, when: &shoppb.ReleaseStock{}, error: "Order id is required"},
		"nothing reserved, nothing freed": {given: service.Events{ten, threeReserved}, when: &shoppb.ReleaseStock{OrderId: "o-2"}},
		"stock is released once":          {given: service.Events{ten, threeReserved, twoReserved, released}, when: &shoppb.ReleaseStock{OrderId: "o-1"}},
		"a command without a rule":        {when: &shoppb.CreateOrder{}, error: "no handler for command examples.CreateOrder"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stock := &Stock{}
			for _, event := range test.given {
				Apply(stock, event)
			}
			events, err := Handle(test.when, stock)
			if message := status.Convert(err).Message(); message != test.error {
				t.Fatalf("error %q, want %q", message, test.error)
			}
			if diff := cmp.Diff(test.then, events, protocmp.Transform()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}
