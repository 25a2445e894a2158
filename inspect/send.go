package inspect

import (
	"context"
	"encoding/json"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Sync says how long Send waits for what the command causes.
type Sync int

// The ways to wait.
const (
	SyncNone    Sync = iota // until the events are stored
	SyncSimple              // until the projectors of the domain have handled them
	SyncCascade             // until the sagas and the commands they send are done, too
)

// SendRequest is one command.
type SendRequest struct {
	Domain         string
	ID             string          // human name of the aggregate, or a UUID
	Type           string          // short name, full name or type URL
	JSON           json.RawMessage // fields of the command; none for an empty one
	Sync           Sync
	Sequence       *uint32 // next number of the aggregate as the sender knows it; nil for whatever is next
	CorrelationID  string  // derived by angz when empty
	IdempotencyKey string
}

// Sent is what became of a command.
type Sent struct {
	Domain        string
	ID            string // as it was asked for
	Root          string // UUID text
	CorrelationID string // empty when no event was stored and none was asked for
	Events        []Event
	Projections   []Projection
}

// Send sends a command and returns what it caused on its own aggregate, and the
// projections when it waited for them. Errors are gRPC statuses as they came.
func (c *Client) Send(ctx context.Context, request SendRequest) (Sent, error) {
	response, err := c.commands.Handle(ctx, &pb.BusinessRequest{Command: &pb.BusinessCommand{
		Domain:         request.Domain,
		AggregateId:    request.ID,
		TypeUrl:        request.Type,
		JsonText:       string(request.JSON),
		Sequence:       request.Sequence,
		CorrelationId:  request.CorrelationID,
		SyncMode:       pb.SyncMode(request.Sync),
		IdempotencyKey: request.IdempotencyKey,
	}})
	if err != nil {
		return Sent{}, err
	}
	sent := Sent{
		Domain: request.Domain, ID: request.ID, Root: book.Root(request.Domain, request.ID).String(),
		CorrelationID: request.CorrelationID,
	}
	if response.Events != nil {
		sent.CorrelationID = response.Events.CorrelationId
	}
	if sent.Events, err = c.events(response.Events); err != nil {
		return Sent{}, err
	}
	sent.Projections, err = c.projections(response.Projections)
	return sent, err
}

func (c *Client) projections(answers []*pb.Projection) ([]Projection, error) {
	projections := make([]Projection, 0, len(answers))
	for _, answer := range answers {
		projection := Projection{Projector: answer.Projector, Sequence: answer.Sequence}
		if answer.Projection != nil {
			result, decoded, err := c.decoder.JSON(answer.Projection)
			if err != nil {
				return nil, err
			}
			projection.Type, projection.Result, projection.Decoded = book.TypeName(answer.Projection.TypeUrl), result, decoded
		}
		projections = append(projections, projection)
	}
	return projections, nil
}
