package inspect

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// EventsRequest says which events are wanted: those of one aggregate, those of
// one correlation, or both.
type EventsRequest struct {
	Domain        string
	ID            string // human name of the aggregate, or a UUID
	From          uint32 // number of the first event
	To            *uint32
	At            time.Time // only what had happened by then; zero for everything
	CorrelationID string
}

// Events reads stored events in order, as they arrive. An error, a gRPC status,
// ends the sequence; an unknown aggregate has no events. The call to the server
// ends when the caller stops ranging.
func (c *Client) Events(ctx context.Context, request EventsRequest) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.query.GetEvents(ctx, query(request))
		if err != nil {
			yield(Event{}, err)
			return
		}
		for {
			events, err := c.receive(stream)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, event := range events {
				if !yield(event, nil) {
					return
				}
			}
		}
	}
}

// receive returns the events of the next book of a stream, or io.EOF.
func (c *Client) receive(stream grpc.ServerStreamingClient[pb.EventBook]) ([]Event, error) {
	stored, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	return c.events(stored)
}

func query(request EventsRequest) *pb.Query {
	query := &pb.Query{
		Domain:        request.Domain,
		AggregateId:   request.ID,
		LowerBound:    request.From,
		CorrelationId: request.CorrelationID,
	}
	// upper_bound cannot say "up to the first event": 0 means no bound there.
	if request.To != nil && *request.To != math.MaxUint32 {
		query.AsOfSequence = request.To
	}
	if !request.At.IsZero() {
		query.AsOfTime = timestamppb.New(request.At)
	}
	return query
}
