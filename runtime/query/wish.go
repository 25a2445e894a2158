package query

import (
	"fmt"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// wish is what a query asks for, once it has been found in order.
type wish struct {
	whole       bool       // a correlation, whatever its aggregates; else one aggregate
	key         book.Key   // the aggregate; of a whole correlation its domain, if only that is wanted
	from, to    uint32     // inclusive
	until       *time.Time // nil for no bound
	correlation string     // empty for any
}

// read finds out what a query asks for. The error is a *book.Invalid.
func read(query *pb.Query) (*wish, error) {
	w := &wish{correlation: query.GetCorrelationId()}
	if at := query.GetAsOfTime(); at != nil {
		if err := at.CheckValid(); err != nil {
			return nil, &book.Invalid{
				Field: "as_of_time", Found: fmt.Sprintf("%d seconds and %d nanoseconds", at.Seconds, at.Nanos),
				Want: "a time between the years 1 and 9999, its nanoseconds between 0 and 999999999",
			}
		}
		until := at.AsTime()
		w.until = &until
	}
	w.from, w.to = book.Bounds(query)
	if w.correlation != "" && len(query.Root.GetValue()) == 0 && query.AggregateId == "" {
		w.whole, w.key.Domain = true, query.Domain
		return w, nil
	}
	var err error
	w.key, err = book.KeyFrom(query.GetDomain(), query.GetRoot(), query.GetAggregateId())
	return w, err
}

// leave returns those of the events that fulfil every condition.
func (w *wish) leave(events []eventstore.Event) []eventstore.Event {
	if !w.whole && w.until == nil && w.correlation == "" {
		return events
	}
	var left []eventstore.Event
	for i := range events {
		if w.wants(&events[i]) {
			left = append(left, events[i])
		}
	}
	return left
}

func (w *wish) wants(event *eventstore.Event) bool {
	switch {
	case w.until != nil && event.CreatedAt.After(*w.until),
		w.correlation != "" && event.CorrelationID != w.correlation,
		w.whole && w.key.Domain != "" && event.Key.Domain != w.key.Domain,
		event.Sequence < w.from, event.Sequence > w.to:
		return false
	}
	return true
}
