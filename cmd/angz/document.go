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
	Domain        string          `json:"domain"`
	AggregateID   string          `json:"aggregate_id,omitempty"`
	Root          string          `json:"root"`
	Sequence      uint32          `json:"sequence"`
	Type          string          `json:"type"`
	CreatedAt     string          `json:"created_at,omitempty"` // RFC 3339, UTC
	CorrelationID string          `json:"correlation_id,omitempty"`
	Payload       json.RawMessage `json:"payload"`
}

func newEventDocument(event inspect.Event) eventDocument {
	document := eventDocument{
		Domain: event.Domain, AggregateID: event.AggregateID, Root: event.Root, Sequence: event.Sequence,
		Type: event.Type, CorrelationID: event.CorrelationID, Payload: event.Payload,
	}
	if !event.CreatedAt.IsZero() {
		document.CreatedAt = event.CreatedAt.UTC().Format(time.RFC3339Nano)
	}
	return document
}

// sentResult is what became of a command.
type sentResult struct {
	Domain        string               `json:"domain"`
	AggregateID   string               `json:"aggregate_id"`
	Root          string               `json:"root"`
	CorrelationID string               `json:"correlation_id,omitempty"`
	Events        []eventDocument      `json:"events"`
	Projections   []projectionDocument `json:"projections"`
}

type projectionDocument struct {
	Projector string          `json:"projector"`
	Sequence  uint32          `json:"sequence"`
	Type      string          `json:"type,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
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
