package archive

import (
	"context"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// A saga's coordinator keeps which of its commands were refused under this name,
// see package saga: "saga/NAME/refused".
const (
	sagaPrefix    = "saga/"
	refusedSuffix = "/refused"
)

func sagaOf(subscription string) (name string, ok bool) {
	name, isSaga := strings.CutPrefix(subscription, sagaPrefix)
	name, isRefused := strings.CutSuffix(name, refusedSuffix)
	return name, isSaga && isRefused
}

// refusals walks along the log beside the events.
type refusals struct {
	store   Store
	cursors []*refusalCursor
}

// refusalCursor walks along the refusals of one saga.
type refusalCursor struct {
	saga, subscription string
	after              uint64
	waiting            []eventstore.Parked
	ended              bool
}

// openRefusals finds out which sagas have any.
func openRefusals(ctx context.Context, store Store) (*refusals, error) {
	r := &refusals{store: store}
	for after := ""; ; {
		found, err := store.Parked(ctx, eventstore.ParkedQuery{AfterSubscription: after, AfterPosition: math.MaxInt64, Limit: 1})
		if err != nil || len(found) == 0 {
			return r, err
		}
		after = found[0].Subscription
		if saga, ok := sagaOf(after); ok {
			r.cursors = append(r.cursors, &refusalCursor{saga: saga, subscription: after})
		}
	}
}

// at returns what was refused because of the book whose last event has this
// position. Positions are asked for in order.
func (r *refusals) at(ctx context.Context, position uint64) (refused []*pb.ArchivedRefusal, err error) {
	for _, c := range r.cursors {
		letter, err := c.at(ctx, r.store, position)
		if err != nil {
			return nil, err
		}
		if letter != nil && letter.Reason != "" {
			refused = append(refused, &pb.ArchivedRefusal{
				Saga: c.saga, Reason: letter.Reason, FirstAt: timestamppb.New(letter.FirstAt), LastAt: timestamppb.New(letter.LastAt),
			})
		}
	}
	return refused, nil
}

func (c *refusalCursor) at(ctx context.Context, store Store, position uint64) (*eventstore.Parked, error) {
	const many = 500
	for {
		for len(c.waiting) > 0 && c.waiting[0].Position < position {
			c.waiting = c.waiting[1:]
		}
		if len(c.waiting) > 0 {
			if c.waiting[0].Position == position {
				return &c.waiting[0], nil
			}
			return nil, nil
		}
		if c.ended {
			return nil, nil
		}
		c.after = max(c.after, position-1)
		found, err := store.Parked(ctx, eventstore.ParkedQuery{Subscription: c.subscription, AfterSubscription: c.subscription, AfterPosition: c.after, Limit: many})
		if err != nil {
			return nil, err
		}
		c.waiting, c.ended = found, len(found) < many
		if len(found) > 0 {
			c.after = found[len(found)-1].Position
		}
	}
}

// letterOf returns how a saga's coordinator keeps a refusal of the book at a
// position.
func letterOf(key book.Key, sequence uint32, position uint64, refused *pb.ArchivedRefusal) eventstore.Parked {
	at := func(stamp *timestamppb.Timestamp) time.Time {
		if !stamp.IsValid() {
			return time.Now()
		}
		return stamp.AsTime()
	}
	return eventstore.Parked{
		Subscription: sagaPrefix + refused.Saga + refusedSuffix, Position: position, Key: key, Sequence: sequence,
		Attempts: 1 + strings.Count(refused.Reason, "\n"), Reason: refused.Reason, State: eventstore.StateResolved,
		FirstAt: at(refused.FirstAt), LastAt: at(refused.LastAt),
	}
}
