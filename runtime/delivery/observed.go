package delivery

import (
	"context"
	"errors"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/observe"
)

// observed is call, of which the observer is told.
func (c *Consumer[R]) observed(ctx context.Context, events *pb.EventBook) (R, error) {
	if c.options.Observer == nil {
		return c.call(ctx, events)
	}
	began := time.Now()
	ctx, waits := observe.CountWaits(ctx)
	value, err := c.call(ctx, events)
	delivery := observe.Delivery{
		Component: c.options.Name, Events: events, Began: began, Took: time.Since(began), Waited: waits.Total(),
	}
	var also *Park
	switch {
	case err == nil:
	case errors.As(err, &also):
		delivery.Reason = also.Reason
	default:
		delivery.Outcome, delivery.Reason = observe.Failed, reasonOf(err)
	}
	c.options.Observer.Delivered(delivery)
	return value, err
}

// tell says to the observer what has become of a book without a call, or after
// the last one.
func (c *Consumer[R]) tell(events *pb.EventBook, outcome observe.DeliveryOutcome, reason string) {
	if c.options.Observer != nil {
		c.options.Observer.Delivered(observe.Delivery{Component: c.options.Name, Events: events, Outcome: outcome, Reason: reason, Began: time.Now()})
	}
}
