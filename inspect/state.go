package inspect

import (
	"context"
	"encoding/json"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// State is what an aggregate's events add up to.
type State struct {
	Domain      string
	AggregateID string // human name; empty where angz knows none
	Root        string // UUID text
	Sequence    uint32 // number of the last event in it
	Type        string // full message name; empty for an aggregate without events
	JSON        json.RawMessage
	Decoded     bool // false when JSON only wraps the raw bytes
	Snapshot    bool // it is a snapshot, because the service cannot replay
}

// State returns the state of an aggregate after the event with a number, nil for
// the newest. Errors are gRPC statuses; FAILED_PRECONDITION says that neither the
// service nor a snapshot knows it.
func (c *Client) State(ctx context.Context, domain, id string, sequence *uint32) (State, error) {
	answer, err := c.explorer.GetState(ctx, &pb.StateQuery{Cover: &pb.Cover{Domain: domain, AggregateId: id}, Sequence: sequence})
	if err != nil {
		return State{}, err
	}
	cover := answer.GetCover()
	state := State{Domain: cover.GetDomain(), AggregateID: cover.GetAggregateId(), Root: rootText(cover.GetRoot()), Sequence: answer.Sequence, Snapshot: answer.Snapshot}
	if answer.State == nil {
		return state, nil
	}
	state.Type = book.TypeName(answer.State.TypeUrl)
	state.JSON, state.Decoded, err = c.decoder.JSON(answer.State)
	return state, err
}
