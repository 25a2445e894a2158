// Package inspect is what a person asks of a running system: send a command, read
// events, decide about dead letters. It speaks gRPC only, so that it works on a laptop's emulator and on
// production alike, names aggregates as people do, shows payloads as JSON, and
// returns plain values: the command line, the terminal screens and the console
// print the same things each in its own way.
package inspect

import (
	"encoding/json"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Decoder turns payloads into JSON. *payload.Schema and *payload.Remote are ones.
type Decoder interface {
	JSON(message *anypb.Any) (json []byte, known bool, err error)
}

// Client asks one running system. It may be shared between goroutines.
type Client struct {
	commands pb.BusinessCoordinatorClient
	query    pb.EventQueryClient
	admin    pb.AdminClient
	explorer pb.ExplorerClient
	decoder  Decoder
}

// New returns a Client that talks over conn, to a gateway or to any other role
// that serves what is asked, and shows payloads by decoder.
func New(conn grpc.ClientConnInterface, decoder Decoder) *Client {
	return &Client{
		commands: pb.NewBusinessCoordinatorClient(conn), query: pb.NewEventQueryClient(conn), admin: pb.NewAdminClient(conn), explorer: pb.NewExplorerClient(conn), decoder: decoder,
	}
}

// Event is one stored event.
type Event struct {
	Domain        string
	AggregateID   string // human name; empty where angz knows none
	Root          string // UUID text
	Sequence      uint32
	Type          string // full message name
	TypeURL       string
	CreatedAt     time.Time // zero when the page carried no time
	CorrelationID string
	Position      uint64          // of the last event stored by the same command, 0 if unknown
	Payload       json.RawMessage // always valid JSON
	Decoded       bool            // false when Payload only wraps the raw bytes
}

// Name returns what people call the event's aggregate: its human name, or else
// its root.
func (e Event) Name() string {
	if e.AggregateID != "" {
		return e.AggregateID
	}
	return e.Root
}

// ShortType returns the event's type without its package.
func (e Event) ShortType() string { return book.ShortName(e.Type) }

// Projection is what a projector made of events.
type Projection struct {
	Projector string
	Sequence  uint32          // number of the last event it contains
	Type      string          // full message name; empty when there is no result
	Result    json.RawMessage // nil when there is no result
	Decoded   bool
}

// events returns the pages of a book as Events.
func (c *Client) events(stored *pb.EventBook) ([]Event, error) {
	events := make([]Event, 0, len(stored.GetPages()))
	for _, page := range stored.GetPages() {
		payload, decoded, err := c.decoder.JSON(page.Event)
		if err != nil {
			return nil, err
		}
		event := Event{
			Domain:        stored.GetCover().GetDomain(),
			AggregateID:   stored.GetCover().GetAggregateId(),
			Root:          rootText(stored.GetCover().GetRoot()),
			Sequence:      page.GetNum(),
			Type:          book.TypeName(page.GetEvent().GetTypeUrl()),
			TypeURL:       page.GetEvent().GetTypeUrl(),
			CorrelationID: stored.CorrelationId,
			Position:      stored.Position,
			Payload:       payload,
			Decoded:       decoded,
		}
		if page.CreatedAt != nil {
			event.CreatedAt = page.CreatedAt.AsTime()
		}
		events = append(events, event)
	}
	return events, nil
}

// rootText returns a root as UUID text, or nothing if it is not one.
func rootText(root *pb.UUID) string {
	id, err := uuid.FromBytes(root.GetValue())
	if err != nil {
		return ""
	}
	return id.String()
}
