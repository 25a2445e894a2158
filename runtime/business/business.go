// Package business serves BusinessCoordinator, the friendly form of
// AggregateCoordinator: a person with grpcurl, or angz itself on a command line,
// names an aggregate as people do, a command by its short name, and gives its
// fields as JSON. This package turns that into the CommandBook everything else
// speaks, and says field by field what is wrong where it cannot.
package business

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Schema knows the project's types. *payload.Schema is one; one that changes
// while angz runs may stand before it.
type Schema interface {
	Find(domain, name string) (protoreflect.MessageDescriptor, error)
	Encode(domain, typeName string, json []byte) (*anypb.Any, error)
}

// Server implements pb.BusinessCoordinatorServer.
type Server struct {
	pb.UnimplementedBusinessCoordinatorServer
	aggregates pb.AggregateCoordinatorClient
	schema     Schema
}

// New returns a Server that hands commands to aggregates. schema may be nil:
// then full type names and bytes are all it understands.
func New(aggregates pb.AggregateCoordinatorClient, schema Schema) *Server {
	if schema == nil {
		schema = new(payload.Schema)
	}
	return &Server{aggregates: aggregates, schema: schema}
}

// Handle decides one friendly command and waits as long as it asks. Errors: the
// coordinator's, as they came, and INVALID_ARGUMENT with the path of the field.
func (s *Server) Handle(ctx context.Context, request *pb.BusinessRequest) (*pb.CommandResponse, error) {
	command, err := s.Command(request.GetCommand())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	return s.aggregates.HandleSync(ctx, &pb.SyncCommandBook{Command: command, SyncMode: request.Command.SyncMode})
}

// Command returns the book that a friendly command stands for. The error is a
// *book.Invalid whose field is a path in BusinessRequest.
func (s *Server) Command(friendly *pb.BusinessCommand) (*pb.CommandBook, error) {
	if friendly == nil {
		return nil, &book.Invalid{Field: "command", Found: "nothing", Want: "the command: domain, aggregate_id, type_url and its fields as json"}
	}
	key, err := aggregate(friendly)
	if err != nil {
		return nil, err
	}
	if _, known := pb.SyncMode_name[int32(friendly.SyncMode)]; !known {
		return nil, &book.Invalid{Field: "command.sync_mode", Found: fmt.Sprint(int32(friendly.SyncMode)), Want: "SYNC_MODE_NONE, SYNC_MODE_SIMPLE or SYNC_MODE_CASCADE"}
	}
	message, err := s.payload(friendly)
	if err != nil {
		return nil, err
	}
	return &pb.CommandBook{
		Cover:          key.Cover(book.Name(friendly.AggregateId)),
		Pages:          []*pb.CommandPage{{Sequence: friendly.GetSequence(), Command: message}},
		CorrelationId:  friendly.CorrelationId,
		IdempotencyKey: friendly.IdempotencyKey,
		AutoResequence: friendly.Sequence == nil,
	}, nil
}

// aggregate returns the aggregate that a command names in one of two ways.
func aggregate(friendly *pb.BusinessCommand) (book.Key, error) {
	hasRoot := len(friendly.Root.GetValue()) > 0
	switch {
	case friendly.Domain != "" && hasRoot && friendly.AggregateId != "":
		return book.Key{}, &book.Invalid{Field: "command.root", Found: "both root and aggregate_id", Want: "one of the two"}
	case friendly.Domain != "" && !hasRoot && friendly.AggregateId == "":
		return book.Key{}, &book.Invalid{Field: "command.aggregate_id", Found: "nothing", Want: `the name of an aggregate, such as "alice@example.com", or a root instead`}
	}
	key, err := book.KeyFrom(friendly.Domain, friendly.Root, friendly.AggregateId)
	return key, within("command.", err)
}

// within puts the path of the enclosing message before the field of an error.
func within(path string, err error) error {
	var invalid *book.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	return &book.Invalid{Field: path + invalid.Field, Found: invalid.Found, Want: invalid.Want}
}

// payload returns the command itself, from whichever form it was given in.
func (s *Server) payload(friendly *pb.BusinessCommand) (*anypb.Any, error) {
	if friendly.TypeUrl == "" {
		return nil, &book.Invalid{Field: "command.type_url", Found: "nothing", Want: `the type of the command, such as "CreateCustomer"`}
	}
	given := forms(friendly)
	if len(given) > 1 {
		return nil, &book.Invalid{Field: "command." + given[1], Found: strings.Join(given, " and "), Want: "at most one of payload, json and json_text"}
	}
	switch {
	case friendly.Json != nil:
		text, err := protojson.Marshal(friendly.Json)
		if err != nil {
			return nil, &book.Invalid{Field: "command.json", Found: err.Error(), Want: "a JSON object"}
		}
		return s.encoded(friendly, "command.json", text)
	case friendly.JsonText != "":
		return s.encoded(friendly, "command.json_text", []byte(friendly.JsonText))
	}
	return s.verbatim(friendly)
}

// forms returns the names of the fields in which a command's content was given.
func forms(friendly *pb.BusinessCommand) []string {
	var given []string
	if len(friendly.Payload) > 0 {
		given = append(given, "payload")
	}
	if friendly.Json != nil {
		given = append(given, "json")
	}
	if friendly.JsonText != "" {
		given = append(given, "json_text")
	}
	return given
}

func (s *Server) encoded(friendly *pb.BusinessCommand, field string, text []byte) (*anypb.Any, error) {
	message, err := s.schema.Encode(friendly.Domain, friendly.TypeUrl, text)
	var bad *payload.BadJSON
	if errors.As(err, &bad) {
		return nil, badJSON(field, bad)
	}
	if err != nil {
		return nil, badType(friendly.TypeUrl, err)
	}
	return message, nil
}

func badJSON(field string, bad *payload.BadJSON) error {
	first := bad.Problems[0]
	if first.Path != "" {
		field += "." + first.Path
	}
	invalid := &book.Invalid{Field: field, Found: first.Found, Want: first.Want}
	if first.Want == "" {
		invalid.Want = "the JSON form of " + bad.Type
	}
	for _, problem := range bad.Problems[1:] {
		invalid.Want += "; " + problem.String()
	}
	return invalid
}

// badType explains why a type's name stands for no type.
func badType(name string, err error) error {
	invalid := &book.Invalid{Field: "command.type_url", Found: fmt.Sprintf("%q", name), Want: err.Error()}
	var missing *payload.NotFound
	var ambiguous *payload.Ambiguous
	switch {
	case errors.As(err, &ambiguous):
		invalid.Want = "one full name of " + strings.Join(ambiguous.Candidates, ", ")
	case !errors.As(err, &missing):
	case missing.NoSchema:
		invalid.Want = "a full message name and a payload in bytes, because no schema is loaded; list your .proto folders under \"protos\" in angz.yaml to use short names and JSON"
	case len(missing.Nearest) == 0:
		invalid.Want = "a message of the project's .proto files"
	default:
		invalid.Want = "a message of the project's .proto files; the nearest: " + strings.Join(missing.Nearest, ", ")
	}
	return invalid
}

// verbatim returns a command that was given as bytes. No bytes are a message
// without content, which is valid for every type. A full name that the schema does
// not know is the service's to judge.
func (s *Server) verbatim(friendly *pb.BusinessCommand) (*anypb.Any, error) {
	asked := book.TypeName(friendly.TypeUrl)
	descriptor, err := s.schema.Find(friendly.Domain, friendly.TypeUrl)
	switch {
	case asked == "" || err != nil && !strings.ContainsAny(friendly.TypeUrl, "./"):
		return nil, badType(friendly.TypeUrl, err)
	case err != nil:
		return &anypb.Any{TypeUrl: prefixed(friendly.TypeUrl), Value: friendly.Payload}, nil
	}
	if payload.Check(descriptor, friendly.Payload) != nil {
		return nil, &book.Invalid{
			Field: "command.payload", Found: fmt.Sprintf("%d bytes that cannot be decoded", len(friendly.Payload)),
			Want: fmt.Sprintf("an encoded %s, or its fields as json", descriptor.FullName()),
		}
	}
	if asked == string(descriptor.FullName()) {
		return &anypb.Any{TypeUrl: prefixed(friendly.TypeUrl), Value: friendly.Payload}, nil
	}
	return &anypb.Any{TypeUrl: prefixed(string(descriptor.FullName())), Value: friendly.Payload}, nil
}

// prefixed returns the type URL for a full name, or the URL it already is.
func prefixed(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return "type.googleapis.com/" + name
}
