package business_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/business"
	"github.com/angz-dev/angz/runtime/payload"
)

const customerProto = `syntax = "proto3";
package shop.customer.v1;
message CreateCustomer { string name = 1; int64 points = 2; }
message DeleteCustomer {}
`

const orderProto = `syntax = "proto3";
package shop.order.v1;
message DeleteCustomer {}
`

// alice is the name of the aggregate of these tests, and root her root.
const alice = "alice@example.com"

var (
	root = book.Root("customer", alice)
	// name is CreateCustomer{name: "A"} in bytes.
	name = []byte{10, 1, 'A'}
)

// coordinator is an AggregateCoordinator written as a function.
type coordinator func(*pb.SyncCommandBook) (*pb.CommandResponse, error)

func (c coordinator) Handle(context.Context, *pb.CommandBook, ...grpc.CallOption) (*pb.CommandResponse, error) {
	return nil, errors.New("business calls HandleSync")
}

func (c coordinator) HandleSync(_ context.Context, command *pb.SyncCommandBook, _ ...grpc.CallOption) (*pb.CommandResponse, error) {
	return c(command)
}

func shop(t testing.TB) *payload.Schema {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{"customer.proto": customerProto, "order.proto": orderProto} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := payload.Load(t.Context(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// commandBook returns the book for alice with a command and whatever else with
// sets.
func commandBook(command *anypb.Any, with func(*pb.CommandBook)) *pb.CommandBook {
	expected := &pb.CommandBook{
		Cover:          &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root[:]}, AggregateId: alice},
		Pages:          []*pb.CommandPage{{Command: command}},
		AutoResequence: true,
	}
	if with != nil {
		with(expected)
	}
	return expected
}

func TestFriendlyCommandsBecomeBooks(t *testing.T) {
	t.Parallel()
	create := &anypb.Any{TypeUrl: "type.googleapis.com/shop.customer.v1.CreateCustomer", Value: name}
	with := func(change func(*pb.BusinessCommand)) *pb.BusinessCommand {
		friendly := &pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", JsonText: `{"name":"A"}`}
		change(friendly)
		return friendly
	}
	for title, c := range map[string]struct {
		friendly *pb.BusinessCommand
		want     *pb.CommandBook
	}{
		"JSON text": {with(func(*pb.BusinessCommand) {}), commandBook(create, nil)},
		"a JSON object": {with(func(b *pb.BusinessCommand) {
			b.JsonText, b.Json = "", &structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue("A")}}
		}), commandBook(create, nil)},
		"bytes":       {with(func(b *pb.BusinessCommand) { b.JsonText, b.Payload = "", name }), commandBook(create, nil)},
		"a full name": {with(func(b *pb.BusinessCommand) { b.TypeUrl = "shop.customer.v1.CreateCustomer" }), commandBook(create, nil)},
		"a number beyond a double": {with(func(b *pb.BusinessCommand) { b.JsonText = `{"points":9007199254740993}` }), commandBook(&anypb.Any{
			TypeUrl: create.TypeUrl, Value: []byte{16, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10},
		}, nil)},
		"a URL of its own": {with(func(b *pb.BusinessCommand) { b.TypeUrl = "type.examples/shop.customer.v1.CreateCustomer" }), commandBook(&anypb.Any{
			TypeUrl: "type.examples/shop.customer.v1.CreateCustomer", Value: name,
		}, nil)},
		"a type only the service knows": {with(func(b *pb.BusinessCommand) { b.TypeUrl, b.JsonText, b.Payload = "other.Command", "", []byte{0xff} }), commandBook(&anypb.Any{
			TypeUrl: "type.googleapis.com/other.Command", Value: []byte{0xff},
		}, nil)},
		"no fields": {with(func(b *pb.BusinessCommand) { b.JsonText = "" }), commandBook(&anypb.Any{TypeUrl: create.TypeUrl}, nil)},
		"the domain's own of two types": {with(func(b *pb.BusinessCommand) { b.TypeUrl, b.JsonText = "DeleteCustomer", "" }), commandBook(&anypb.Any{
			TypeUrl: "type.googleapis.com/shop.customer.v1.DeleteCustomer",
		}, nil)},
		"a root": {with(func(b *pb.BusinessCommand) { b.AggregateId, b.Root = "", &pb.UUID{Value: root[:]} }), commandBook(create, func(b *pb.CommandBook) {
			b.Cover.AggregateId = ""
		})},
		"a root as text": {with(func(b *pb.BusinessCommand) { b.AggregateId = root.String() }), commandBook(create, func(b *pb.CommandBook) {
			b.Cover.AggregateId = ""
		})},
		"everything else": {with(func(b *pb.BusinessCommand) { b.Sequence, b.CorrelationId, b.IdempotencyKey = proto.Uint32(0), "c", "k" }), commandBook(create, func(b *pb.CommandBook) {
			b.AutoResequence, b.CorrelationId, b.IdempotencyKey = false, "c", "k"
		})},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			got, err := business.New(nil, shop(t)).Command(c.friendly)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsWrongIsNamedByItsField(t *testing.T) {
	t.Parallel()
	const nearest = "a message of the project's .proto files; the nearest: shop.customer.v1.CreateCustomer"
	schema := shop(t)
	for title, c := range map[string]struct {
		friendly *pb.BusinessCommand
		schema   business.Schema
		want     *book.Invalid
	}{
		"no command": {nil, schema, &book.Invalid{Field: "command", Found: "nothing", Want: "the command: domain, aggregate_id, type_url and its fields as json"}},
		"no domain":  {&pb.BusinessCommand{AggregateId: alice}, schema, &book.Invalid{Field: "command.domain", Found: "nothing", Want: `the name of a domain, such as "customer"`}},
		"no aggregate": {&pb.BusinessCommand{Domain: "customer", TypeUrl: "x.Y"}, schema, &book.Invalid{
			Field: "command.aggregate_id", Found: "nothing", Want: `the name of an aggregate, such as "alice@example.com", or a root instead`,
		}},
		"two aggregates": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, Root: &pb.UUID{Value: root[:]}}, schema, &book.Invalid{
			Field: "command.root", Found: "both root and aggregate_id", Want: "one of the two",
		}},
		"half a root": {&pb.BusinessCommand{Domain: "customer", Root: &pb.UUID{Value: root[:8]}}, schema, &book.Invalid{
			Field: "command.root.value", Found: "8 bytes", Want: "exactly 16 bytes",
		}},
		"no type": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice}, schema, &book.Invalid{
			Field: "command.type_url", Found: "nothing", Want: `the type of the command, such as "CreateCustomer"`,
		}},
		"a mode that is none": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, SyncMode: 9}, schema, &book.Invalid{
			Field: "command.sync_mode", Found: "9", Want: "SYNC_MODE_NONE, SYNC_MODE_SIMPLE or SYNC_MODE_CASCADE",
		}},
		"bytes and JSON": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", Payload: name, JsonText: "{}"}, schema, &book.Invalid{
			Field: "command.json_text", Found: "payload and json_text", Want: "at most one of payload, json and json_text",
		}},
		"a mistyped name": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustmer"}, schema, &book.Invalid{
			Field: "command.type_url", Found: `"CreateCustmer"`, Want: nearest,
		}},
		"a mistyped name with JSON": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustmer", JsonText: "{}"}, schema, &book.Invalid{
			Field: "command.type_url", Found: `"CreateCustmer"`, Want: nearest,
		}},
		"a name of two types": {&pb.BusinessCommand{Domain: "inventory", AggregateId: "x", TypeUrl: "DeleteCustomer"}, schema, &book.Invalid{
			Field: "command.type_url", Found: `"DeleteCustomer"`, Want: "one full name of shop.customer.v1.DeleteCustomer, shop.order.v1.DeleteCustomer",
		}},
		"a short name without schema": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer"}, nil, &book.Invalid{
			Field: "command.type_url", Found: `"CreateCustomer"`,
			Want: `a full message name and a payload in bytes, because no schema is loaded; list your .proto folders under "protos" in angz.yaml to use short names and JSON`,
		}},
		"bytes of something else": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", Payload: []byte{0xff}}, schema, &book.Invalid{
			Field: "command.payload", Found: "1 bytes that cannot be decoded", Want: "an encoded shop.customer.v1.CreateCustomer, or its fields as json",
		}},
		"a mistyped field": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", JsonText: `{"nme":"A"}`}, schema, &book.Invalid{
			Field: "command.json_text.nme", Found: `the unknown field "nme"`, Want: `a field of shop.customer.v1.CreateCustomer such as "name"`,
		}},
		"two wrong values": {&pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", Json: &structpb.Struct{Fields: map[string]*structpb.Value{
			"name": structpb.NewBoolValue(true), "points": structpb.NewStringValue("many"),
		}}}, schema, &book.Invalid{
			Field: "command.json.name", Found: "true", Want: `a string; points: found "many", expected a whole number (int64)`,
		}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			_, err := business.New(nil, c.schema).Command(c.friendly)
			var got *book.Invalid
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHandleAnswersWhatTheCoordinatorAnswers(t *testing.T) {
	t.Parallel()
	want := &pb.CommandResponse{Events: &pb.EventBook{CorrelationId: "c"}}
	server := business.New(coordinator(func(got *pb.SyncCommandBook) (*pb.CommandResponse, error) {
		wanted := &pb.SyncCommandBook{SyncMode: pb.SyncMode_SYNC_MODE_CASCADE, Command: commandBook(&anypb.Any{
			TypeUrl: "type.googleapis.com/shop.customer.v1.CreateCustomer", Value: name,
		}, nil)}
		if diff := cmp.Diff(wanted, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		return want, nil
	}), shop(t))
	got, err := server.Handle(t.Context(), &pb.BusinessRequest{Command: &pb.BusinessCommand{
		Domain: "customer", AggregateId: alice, TypeUrl: "CreateCustomer", Payload: name, SyncMode: pb.SyncMode_SYNC_MODE_CASCADE,
	}})
	if err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestHandlePassesRefusalsOnAndMakesItsOwnInvalidArguments(t *testing.T) {
	t.Parallel()
	refused := status.Error(codes.FailedPrecondition, "Customer already exists")
	server := business.New(coordinator(func(*pb.SyncCommandBook) (*pb.CommandResponse, error) { return nil, refused }), nil)
	_, err := server.Handle(t.Context(), &pb.BusinessRequest{Command: &pb.BusinessCommand{Domain: "customer", AggregateId: alice, TypeUrl: "shop.CreateCustomer"}})
	if !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
	_, err = server.Handle(t.Context(), nil)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, want INVALID_ARGUMENT", err)
	}
}
