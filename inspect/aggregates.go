package inspect

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/protobuf/types/known/emptypb"
)

// Aggregate is one of those that have events.
type Aggregate struct {
	Domain string
	ID     string // human name; empty where angz knows none
	Root   string // UUID text
}

// Name returns what people call the aggregate: its human name, or else its root.
func (a Aggregate) Name() string {
	if a.ID != "" {
		return a.ID
	}
	return a.Root
}

// Aggregates lists every aggregate there is, in the order in which the store has
// them, until the caller has enough. After an error nothing more comes.
func (c *Client) Aggregates(ctx context.Context) iter.Seq2[Aggregate, error] {
	return func(yield func(Aggregate, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.query.GetAggregateRoots(ctx, &emptypb.Empty{})
		for err == nil {
			root, received := stream.Recv()
			if errors.Is(received, io.EOF) {
				return
			}
			if err = received; err == nil && !yield(Aggregate{root.GetDomain(), root.GetAggregateId(), rootText(root.GetRoot())}, nil) {
				return
			}
		}
		yield(Aggregate{}, err)
	}
}
