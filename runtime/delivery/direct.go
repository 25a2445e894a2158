package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// Deliver hands over a book directly, ahead of the bus, and returns what the
// component made of the aggregate's events up to at least this book's last one.
// What came before and has not been handled is fetched and handled first; what
// has been handled is not handled again. Errors: *book.Invalid for a book that
// is not a run of stored events, *Blocked, the component's last error, or the
// context's.
func (c *Consumer[R]) Deliver(ctx context.Context, events *pb.EventBook) (value R, err error) {
	key, err := book.CheckStored(events)
	if err != nil {
		return value, err
	}
	if len(events.Pages) == 0 {
		return value, &book.Invalid{Field: "pages", Found: "no pages", Want: "at least one event"}
	}
	if events.Cover.Root == nil {
		events = &pb.EventBook{
			Cover: key.Cover(events.Cover.AggregateId), Pages: events.Pages, CorrelationId: events.CorrelationId, Position: events.Position,
		}
	}
	select {
	case <-c.started:
	case <-ctx.Done():
		return value, ctx.Err()
	}
	reply := make(chan answer[R], 1)
	c.mu.Lock()
	c.enqueue(key, &job[R]{events: events, ctx: ctx, received: c.received, reply: reply})
	c.mu.Unlock()
	select {
	case answer := <-reply:
		return answer.value, answer.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// deliver does a directly delivered job in its lane.
func (c *Consumer[R]) deliver(key book.Key, job *job[R]) (value R, err error) {
	if c.isBlocked(key) {
		return value, &Blocked{c.options.Name, key}
	}
	ctx, cancel := context.WithCancel(job.ctx)
	defer cancel()
	defer context.AfterFunc(c.working, cancel)()

	known, remembered := c.results.GetIfPresent(key)
	next := known.next
	if !remembered && c.Wants(key.Domain) {
		if next, err = c.options.Store.NextAt(ctx, key, job.received); err != nil {
			return value, err
		}
	}
	events, toCome := job.events, c.Wants(key.Domain) && book.Last(job.events) >= next
	if book.Last(events) < next {
		if remembered || !c.options.Redo {
			return known.value, nil
		}
	} else if events, err = c.fill(ctx, key, next, events); err != nil {
		return value, err
	}
	first := time.Now()
	attempts, err := c.try(ctx, key, events)
	var also *Park
	switch {
	case errors.As(err, &also):
		if toCome {
			c.leave(key, left{
				last: book.Last(events), subscription: also.Subscription,
				parked: &eventstore.Parked{Attempts: attempts, Reason: also.Reason, FirstAt: first},
			})
		}
	case err != nil:
		return value, err
	}
	known, _ = c.results.GetIfPresent(key)
	return known.value, nil
}

// fill returns the events from number next to the book's last one, fetching
// those that the book does not hold.
func (c *Consumer[R]) fill(ctx context.Context, key book.Key, next uint32, events *pb.EventBook) (*pb.EventBook, error) {
	first := book.First(events)
	if first <= next {
		return book.After(events, next), nil
	}
	query := &pb.Query{Domain: key.Domain, Root: &pb.UUID{Value: key.Root[:]}, LowerBound: next, UpperBound: first - 1}
	missing, err := c.options.Query.GetEventBook(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("fetch the events %d to %d of %s: %w", next, first-1, key, err)
	}
	if len(missing.GetPages()) != int(first-next) {
		return nil, &book.Invalid{
			Field: "pages[0].num", Found: fmt.Sprint(first),
			Want: fmt.Sprintf("at most %d: the events between are not in the store", next),
		}
	}
	filled := &pb.EventBook{Cover: events.Cover, CorrelationId: events.CorrelationId, Position: events.Position}
	filled.Pages = append(append(filled.Pages, missing.Pages...), events.Pages...)
	return filled, nil
}

// parkedAt completes a dead letter with the place of the events it stands for.
func parkedAt(parked eventstore.Parked, subscription string, events *pb.EventBook) eventstore.Parked {
	key, _ := book.KeyOf(events.Cover) // taken from the log, where covers are whole
	parked.Subscription, parked.Key = subscription, key
	parked.Position, parked.Sequence = events.Position, book.First(events)
	parked.State = eventstore.StateParked
	return parked
}
