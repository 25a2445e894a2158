package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/angz-dev/angz/inspect"
)

// These are the JSON documents that "--output json" prints. Their names are a
// promise to scripts: fields are added, never renamed.

// eventDocument is one event.
type eventDocument struct {
	Domain        string          `json:"domain" doc:"the domain of the aggregate that the event belongs to"`
	AggregateID   string          `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root          string          `json:"root" doc:"the aggregate's root, a UUID"`
	Sequence      uint32          `json:"sequence" doc:"the number of the event in its aggregate, from 0"`
	Type          string          `json:"type" doc:"the full name of the event's message, such as examples.OrderCreated"`
	CreatedAt     string          `json:"created_at,omitempty" doc:"when the event was stored, RFC 3339 in UTC; absent when it has no time" format:"date-time"`
	CorrelationID string          `json:"correlation_id,omitempty" doc:"what joins everything that one request caused; absent where there is none"`
	Position      uint64          `json:"position,omitempty" doc:"the place in the log of the last event that the same command stored, from 1, such as angz tail --after takes; absent where it is not known"`
	Payload       json.RawMessage `json:"payload" doc:"what the event says, as protobuf's JSON; of a type that is not known an object with @type, its type URL, and @value, its bytes in base64"`
}

func newEventDocument(event inspect.Event) eventDocument {
	document := eventDocument{
		Domain: event.Domain, AggregateID: event.AggregateID, Root: event.Root, Sequence: event.Sequence,
		Type: event.Type, CorrelationID: event.CorrelationID, Position: event.Position, Payload: event.Payload,
	}
	if !event.CreatedAt.IsZero() {
		document.CreatedAt = event.CreatedAt.UTC().Format(time.RFC3339Nano)
	}
	return document
}

// sentResult is what became of a command.
type sentResult struct {
	Domain        string               `json:"domain" doc:"the domain that the command was sent to"`
	AggregateID   string               `json:"aggregate_id" doc:"the aggregate, as it was named in the call"`
	Root          string               `json:"root" doc:"the aggregate's root, a UUID"`
	CorrelationID string               `json:"correlation_id,omitempty" doc:"what joins everything that the command causes"`
	Events        []eventDocument      `json:"events" doc:"what was stored, in order; empty when the command changed nothing"`
	Projections   []projectionDocument `json:"projections" doc:"what projectors made of it, with --sync simple or cascade; else empty"`
	Settled       *bool                `json:"settled,omitempty" doc:"with --wait: whether everything that it leads to is done"`
	Effects       []stepDocument       `json:"effects,omitempty" doc:"with --wait: the commands that its events led to, each with what it led to; absent when there were none"`
	Behind        []string             `json:"behind,omitempty" doc:"with --wait, and not settled: the projectors and sagas that have events still to handle"`
	DeadLetters   []string             `json:"dead_letters,omitempty" doc:"with --wait: the dead letters that its events became, each as component and position of the log"`
}

type projectionDocument struct {
	Projector string          `json:"projector" doc:"the name of the projector"`
	Sequence  uint32          `json:"sequence" doc:"the number of the last event in the projection, from 0"`
	Type      string          `json:"type,omitempty" doc:"the full name of the result's message; absent when there is no result"`
	Result    json.RawMessage `json:"result,omitempty" doc:"what the projector answered, as protobuf's JSON; absent when there is no result"`
}

func sentDocument(sent inspect.Sent) sentResult {
	document := sentResult{
		Domain: sent.Domain, AggregateID: sent.ID, Root: sent.Root, CorrelationID: sent.CorrelationID,
		Events: []eventDocument{}, Projections: []projectionDocument{},
	}
	for _, event := range sent.Events {
		document.Events = append(document.Events, newEventDocument(event))
	}
	for _, p := range sent.Projections {
		document.Projections = append(document.Projections, projectionDocument{p.Projector, p.Sequence, p.Type, p.Result})
	}
	return document
}

// writeJSON prints one document on one line.
func writeJSON(out io.Writer, document any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}
