package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/business"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/transport"
)

const customerProto = `syntax = "proto3";
package shop.customer.v1;
message CreateCustomer { string name = 1; int64 points = 2; }
message CustomerCreated { string name = 1; int64 points = 2; }
message Refuse { string why = 1; }
message Nothing {}
message Wait {}
message Card { string text = 1; }
`

// shop is a running system with one domain. It answers CreateCustomer with
// CustomerCreated, Refuse with a refusal, and Nothing with nothing; it remembers
// one aggregate.
type shop struct {
	pb.UnimplementedAggregateCoordinatorServer
	pb.UnimplementedEventQueryServer
	stored []*pb.EventBook
}

func (s *shop) HandleSync(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	command := request.Command.Pages[0].Command
	switch book.ShortName(command.TypeUrl) {
	case "Refuse":
		return nil, status.Error(codes.FailedPrecondition, "Customer already exists")
	case "Wait":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "Nothing":
		return &pb.CommandResponse{}, nil
	}
	response := &pb.CommandResponse{Events: &pb.EventBook{
		Cover: request.Command.Cover, CorrelationId: "c-1",
		Pages: []*pb.EventPage{
			{Sequence: &pb.EventPage_Num{Num: 0}, Event: &anypb.Any{TypeUrl: "x/shop.customer.v1.CustomerCreated", Value: command.Value}},
			{Sequence: &pb.EventPage_Num{Num: 1}, Event: &anypb.Any{TypeUrl: "x/shop.Added", Value: []byte{1}}},
		},
	}}
	if request.SyncMode == pb.SyncMode_SYNC_MODE_SIMPLE {
		card := &anypb.Any{TypeUrl: "shop.customer.v1.Card", Value: []byte("\x0a\x02hi")}
		response.Projections = []*pb.Projection{{Projector: "cards", Sequence: 1, Projection: card}, {Projector: "quiet", Sequence: 1}}
	}
	return response, nil
}

func (s *shop) GetEvents(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	for _, stored := range s.stored {
		if query.AggregateId == stored.Cover.AggregateId || query.CorrelationId == stored.CorrelationId {
			if err := stream.Send(stored); err != nil {
				return err
			}
		}
	}
	return nil
}

// inMemory calls a coordinator without gRPC between.
type inMemory struct {
	pb.AggregateCoordinatorClient
	server *shop
}

func (m inMemory) HandleSync(ctx context.Context, request *pb.SyncCommandBook, _ ...grpc.CallOption) (*pb.CommandResponse, error) {
	return m.server.HandleSync(ctx, request)
}

// open serves a shop on a socket and returns its path.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "customer.proto"), []byte(customerProto), 0o644); err != nil {
		t.Fatal(err)
	}
	schema, err := payload.Load(t.Context(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := book.Key{Domain: "customer", Root: book.Root("customer", "alice")}
	s := &shop{stored: []*pb.EventBook{{
		Cover: key.Cover("alice"), CorrelationId: "c-1", Position: 1,
		Pages: []*pb.EventPage{{
			Sequence: &pb.EventPage_Num{Num: 0}, CreatedAt: timestamppb.New(time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)),
			Event: &anypb.Any{TypeUrl: "x/shop.customer.v1.CustomerCreated", Value: []byte("\x0a\x06A\xc2\x9b1<&\x10\x81\x80\x80\x80\x80\x80\x80\x10")},
		}},
	}}}
	server := transport.NewServer(transport.ServerOptions{Descriptors: schema.Descriptors()})
	pb.RegisterBusinessCoordinatorServer(server, business.New(inMemory{server: s}, schema))
	pb.RegisterEventQueryServer(server, s)
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := transport.Listen(transport.Address{Network: "unix", Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// seen is what a person sees of one call of angz.
type seen struct {
	Code     int
	Out, Err string
}

func TestTalkingToARunningSystem(t *testing.T) {
	t.Parallel()
	socket := open(t)
	const created = `{"domain":"customer","aggregate_id":"alice","root":"ROOT","sequence":0,"type":"shop.customer.v1.CustomerCreated",`
	for title, c := range map[string]struct {
		args []string
		in   string
		want seen
	}{
		"send": {
			args: []string{"send", "customer", "alice", "CreateCustomer", `{"name":"Alice","points":9007199254740993}`},
			want: seen{Out: "stored customer alice\n" +
				"  0  CustomerCreated  {\"name\":\"Alice\",\"points\":\"9007199254740993\"}\n" +
				"  1  Added            {\"@type\":\"x/shop.Added\",\"@value\":\"AQ==\"}\n" +
				"correlation c-1\n"},
		},
		"send and wait for projections": {
			args: []string{"send", "customer", "alice", "CreateCustomer", "-", "--sync", "simple"}, in: `{"name":"Alice"}`,
			want: seen{Out: "stored customer alice\n" +
				"  0  CustomerCreated  {\"name\":\"Alice\"}\n" +
				"  1  Added            {\"@type\":\"x/shop.Added\",\"@value\":\"AQ==\"}\n" +
				"projection cards at 1  Card  {\"text\":\"hi\"}\n" +
				"projection quiet at 1\n" +
				"correlation c-1\n"},
		},
		"send for a program": {
			args: []string{"send", "customer", "alice", "CreateCustomer", "--sync", "simple", "--output", "json"},
			want: seen{Out: `{"domain":"customer","aggregate_id":"alice","root":"ROOT","correlation_id":"c-1","events":[` +
				created + `"correlation_id":"c-1","payload":{}},` +
				`{"domain":"customer","aggregate_id":"alice","root":"ROOT","sequence":1,"type":"shop.Added","correlation_id":"c-1","payload":{"@type":"x/shop.Added","@value":"AQ=="}}],` +
				`"projections":[{"projector":"cards","sequence":1,"type":"shop.customer.v1.Card","result":{"text":"hi"}},{"projector":"quiet","sequence":1}]}` + "\n"},
		},
		"send what changes nothing": {
			args: []string{"send", "customer", "alice", "Nothing"},
			want: seen{Err: "accepted; nothing was stored, because the command changed nothing\n"},
		},
		"send what is refused": {
			args: []string{"send", "customer", "alice", "Refuse", "{}"},
			want: seen{Code: 1, Err: "refused: Customer already exists (FAILED_PRECONDITION)\n"},
		},
		"send what is misspelt": {
			args: []string{"send", "customer", "alice", "CreateCustomer", `{"nme":"x"}`},
			want: seen{Code: 1, Err: "refused: command.json_text.nme: found the unknown field \"nme\", expected a field of shop.customer.v1.CreateCustomer such as \"name\" (INVALID_ARGUMENT)\n"},
		},
		"send what takes too long": {
			args: []string{"send", "customer", "alice", "Wait", "--timeout", "300ms"},
			want: seen{Code: 1, Err: "error: angz at SOCKET did not answer within TIME (DEADLINE_EXCEEDED)\n" +
				"the events may be stored all the same: see \"angz events\", or give more time with --timeout\n"},
		},
		"events": {
			args: []string{"events", "customer", "alice"},
			want: seen{Out: "   0  2026-01-31T12:00:00.005Z  CustomerCreated  {\"name\":\"A\\u009b1<&\",\"points\":\"9007199254740993\"}\n"},
		},
		"events of a correlation": {
			args: []string{"events", "--correlation", "c-1"},
			want: seen{Out: "customer alice     0  2026-01-31T12:00:00.005Z  CustomerCreated  {\"name\":\"A\\u009b1<&\",\"points\":\"9007199254740993\"}\n"},
		},
		"events for a program": {
			args: []string{"events", "customer", "alice", "-o", "json"},
			want: seen{Out: created + `"created_at":"2026-01-31T12:00:00.005Z","correlation_id":"c-1","position":1,"payload":{"name":"A` + "\u009b" + `1<&","points":"9007199254740993"}}` + "\n"},
		},
		"events of nobody": {
			args: []string{"events", "customer", "bob"},
			want: seen{Err: "no events of customer bob yet\n"},
		},
		"events of an empty range": {
			args: []string{"events", "customer", "bob", "--from", "3"},
			want: seen{Err: "no events of customer bob in that range\n"},
		},
		"events of no correlation": {
			args: []string{"events", "--correlation", "c-2", "--output", "json"},
			want: seen{Err: "no events of correlation c-2\n"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			var out, talk bytes.Buffer
			code := run(t.Context(), append(c.args, "--address", socket), streams{in: strings.NewReader(c.in), out: &out, err: &talk})
			root := book.Root("customer", "alice").String()
			// What is left of --timeout when the call begins differs.
			told := regexp.MustCompile(`within \d+ms`).ReplaceAllString(strings.ReplaceAll(talk.String(), socket, "SOCKET"), "within TIME")
			got := seen{code, strings.ReplaceAll(out.String(), root, "ROOT"), told}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, talk bytes.Buffer
	code := run(ctx, []string{"send", "customer", "alice", "Wait", "--address", open(t)}, streams{in: strings.NewReader(""), out: &out, err: &talk})
	if diff := cmp.Diff(seen{Code: exitFailed, Err: "interrupted\n"}, seen{code, out.String(), talk.String()}); diff != "" {
		t.Error(diff)
	}
}

func TestPointsInTimeAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("east", 3600)
	now := time.Date(2026, 2, 1, 10, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"":                          {},
		"2026-01-31T12:00:00.5Z":    time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC),
		"2026-01-31T12:00:00+05:00": time.Date(2026, 1, 31, 7, 0, 0, 0, time.UTC),
		"2026-01-31 12:00":          time.Date(2026, 1, 31, 12, 0, 0, 0, zone),
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, zone),
		"90m":                       now.Add(-90 * time.Minute),
	} {
		if got, err := pointInTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5m", "12:00", "2026-13-01"} {
		if got, err := pointInTime(text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
