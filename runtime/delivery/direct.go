package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// Deliver hands over a book directly, ahead of the bus, and returns what the
// component made of the aggregate's events up to at least this book's last one.
// What came before and has not been handled is fetched and handled first; what
// has been handled is not handled again. Errors: *book.Invalid for a book that
// is not a run of stored events, *Blocked, *Paused, the component's last error, or
// the context's.
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
			Cover: key.Cover(events.Cover.AggregateId), Pages: events.Pages, CorrelationId: events.CorrelationId,
			Position: events.Position, TraceContext: events.TraceContext,
		}
	}
	select {
	case <-c.started:
	case <-ctx.Done():
		return value, ctx.Err()
	}
	delays := patience()
	for {
		changed := c.change()
		value, err := c.hand(ctx, key, events)
		if !errors.Is(err, ErrElsewhere) || forwarded(ctx) {
			return value, err
		}
		// The slice is changing hands.
		c.nudge()
		timer := time.NewTimer(delays.NextBackOff())
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return value, ctx.Err()
		}
		timer.Stop()
	}
}

func (c *Consumer[R]) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// hand gives a book to whoever holds the aggregate's slice: to the lane here, or
// to the instance that has it. ErrElsewhere means that neither took it, *Paused
// that nobody will.
func (c *Consumer[R]) hand(ctx context.Context, key book.Key, events *pb.EventBook) (value R, err error) {
	reply := make(chan answer[R], 1)
	number := c.sliceOf(key)
	c.mu.Lock()
	s := c.held[number]
	if s == nil || s.leaving {
		address, paused := c.addressOf(number), c.pausedError()
		c.mu.Unlock()
		if paused != nil {
			return value, paused
		}
		if address == "" || c.options.Forward == nil || forwarded(ctx) {
			return value, ErrElsewhere
		}
		value, err = c.options.Forward(ToPeer(ctx), address, events)
		if c.options.Absent(err) {
			err = ErrElsewhere // it has gone, and its slices go to another one
		}
		return value, err
	}
	c.enqueue(key, &job[R]{slice: s, events: events, ctx: ctx, received: s.taken(c.seen), reply: reply})
	c.mu.Unlock()
	select {
	case answer := <-reply:
		return answer.value, answer.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// addressOf returns where the holder of a slice is reached, as far as is known;
// empty for nobody and for this instance. The caller holds the lock.
func (c *Consumer[R]) addressOf(number int) string {
	for _, known := range c.share {
		if known.Number == number && known.Member != c.member {
			return known.Address
		}
	}
	return ""
}

// forwardedKey is the metadata of a call that another instance has passed on, so
// that no call goes round in circles.
const forwardedKey = "angzarr-forwarded"

// ToPeer marks the calls made with a context as passed on.
func ToPeer(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, forwardedKey, "1")
}

func forwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, forwardedKey)) > 0
}

// FromPeer turns the answer of another instance, to which a book was forwarded,
// into what Deliver understands: that instance may not have the slice any more.
func FromPeer(err error) error {
	if said := status.Convert(err); said.Code() == codes.Unavailable && said.Message() == ErrElsewhere.Error() {
		return ErrElsewhere
	}
	return err
}

// ErrElsewhere says that another instance holds the aggregate's slice.
var ErrElsewhere error = elsewhere{}

type elsewhere struct{}

func (elsewhere) Error() string {
	return "another instance of the component is responsible for this aggregate now"
}

// GRPCStatus says that it is worth asking again, perhaps somewhere else.
func (e elsewhere) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// deliver does a directly delivered job in its lane.
func (c *Consumer[R]) deliver(key book.Key, job *job[R]) (value R, err error) {
	if err := c.refusal(key, job.events); err != nil {
		return value, err
	}
	ctx, cancel := context.WithCancel(job.ctx)
	defer cancel()
	defer context.AfterFunc(job.slice.working, cancel)()

	known, remembered := c.results.GetIfPresent(key)
	next := known.next
	if !remembered && c.Wants(key.Domain) {
		if next, err = c.options.Store.NextAt(ctx, key, job.received); err != nil {
			return value, err
		}
	}
	if book.Last(job.events) < next {
		if remembered || !c.options.Redo {
			return known.value, nil
		}
		next = book.First(job.events)
	}
	books, err := c.fill(ctx, key, next, job.events)
	if err != nil {
		return value, err
	}
	for _, events := range books {
		if err := c.handOver(ctx, job.slice, key, events, next); err != nil {
			return value, err
		}
	}
	known, _ = c.results.GetIfPresent(key)
	return known.value, nil
}

// handOver handles one book ahead of the log. A dead letter that it leaves is
// recorded when the book comes from the log, together with the position.
func (c *Consumer[R]) handOver(ctx context.Context, s *slice, key book.Key, events *pb.EventBook, next uint32) error {
	first := time.Now()
	attempts, err := c.try(ctx, s, key, events)
	var also *Park
	if !errors.As(err, &also) {
		return err
	}
	if c.Wants(key.Domain) && book.Last(events) >= next {
		c.leave(key, left{
			last: book.Last(events), subscription: also.Subscription,
			parked: &eventstore.Parked{Attempts: attempts, Reason: also.Reason, FirstAt: first},
		})
	}
	return nil
}

// fill returns the events from number next to the book's last one: the given
// book, and before it the books that it does not hold, as they were stored. They
// are not joined: what a saga sends is recognised by the book it comes from, and
// each book has a correlation of its own.
func (c *Consumer[R]) fill(ctx context.Context, key book.Key, next uint32, events *pb.EventBook) ([]*pb.EventBook, error) {
	first := book.First(events)
	if first <= next {
		return []*pb.EventBook{book.After(events, next)}, nil
	}
	missing, err := c.fetch(ctx, key, next, first-1)
	if err != nil {
		return nil, fmt.Errorf("fetch the events %d to %d of %s: %w", next, first-1, key, err)
	}
	if found := end(missing, next); found != first {
		return nil, &book.Invalid{
			Field: "pages[0].num", Found: fmt.Sprint(first),
			Want: fmt.Sprintf("at most %d: the events between are not in the store", found),
		}
	}
	return append(missing, events), nil
}

// fetch returns the stored books of an aggregate with numbers in the range.
func (c *Consumer[R]) fetch(ctx context.Context, key book.Key, from, to uint32) (books []*pb.EventBook, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.options.Query.GetEvents(ctx, &pb.Query{
		Domain: key.Domain, Root: &pb.UUID{Value: key.Root[:]}, LowerBound: from, AsOfSequence: &to,
	})
	if err != nil {
		return nil, err
	}
	for {
		events, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return books, nil
		}
		if err != nil {
			return nil, err
		}
		books = append(books, events)
	}
}

// end returns the number after the last one that the books hold without a hole
// from number next on.
func end(books []*pb.EventBook, next uint32) uint32 {
	for _, events := range books {
		if len(events.Pages) == 0 || book.First(events) != next {
			break
		}
		next = book.Last(events) + 1
	}
	return next
}

// parkedAt completes a dead letter with the place of the events it stands for.
func parkedAt(parked eventstore.Parked, subscription string, events *pb.EventBook) *eventstore.Parked {
	key, _ := book.KeyOf(events.Cover) // taken from the log, where covers are whole
	parked.Subscription, parked.Key = subscription, key
	parked.Position, parked.Sequence = events.Position, book.First(events)
	parked.State = eventstore.StateParked
	return &parked
}
