package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// answer is a row of docs/errors.md.
type answer struct {
	code string // as gRPC writes it, "any", or empty where there is none
	text *regexp.Regexp
}

// documentedAnswers reads docs/errors.md. In its texts capitals stand for names,
// numbers for numbers, and an ellipsis for anything.
func documentedAnswers(t *testing.T) (found []answer) {
	t.Helper()
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted, placeholder, number := regexp.MustCompile("`[^`]+`"), regexp.MustCompile(`\b[A-Z]+\b`), regexp.MustCompile(`\d+`)
	last := ""
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			last = ""
			continue
		}
		texts := cells[2]
		if name := strings.TrimSpace(cells[1]); strings.Contains(name, "`") {
			texts = name
		} else if name != "" {
			last = name
		}
		for _, text := range quoted.FindAllString(texts, -1) {
			pattern := regexp.QuoteMeta(strings.Trim(text, "`"))
			pattern = placeholder.ReplaceAllString(number.ReplaceAllString(pattern, `\d+`), `.+`)
			found = append(found, answer{last, regexp.MustCompile("^(?s:" + strings.ReplaceAll(pattern, "…", ".*") + ")$")})
		}
	}
	return found
}

// checkDocumented finds an answer in docs/errors.md.
func checkDocumented(t *testing.T, code, text string) {
	t.Helper()
	for _, row := range documentedAnswers(t) {
		if (row.code == code || row.code == "any") && row.text.MatchString(text) {
			return
		}
	}
	t.Errorf("docs/errors.md does not have %s %q", code, text)
}

// TestWrongRequestsGetTheDocumentedAnswers sends what nobody should send, to
// services that do what none should do.
func TestWrongRequestsGetTheDocumentedAnswers(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	project := t.TempDir()
	writeProject(t, project, fmt.Sprintf("domains:\n%s    timeout: 1s\n%s%s"+
		"  - {name: down, address: 'localhost:1', timeout: 100ms}\n  - {name: mute, address: '%s', timeout: 100ms}\n"+
		"projectors:\n%s    domains: [watched]\n",
		played(t, "order", "aggregate"), played(t, "watched", "aggregate"), played(t, "fragile", "aggregate"), mute.Addr(), played(t, "receipt", "refuser")))
	d := launchDev(t, project, freePorts(t))
	t.Cleanup(d.stop)
	// Two of the services never become healthy.
	d.awaitCommand("order")
	d.awaitCommand("watched")
	d.awaitCommand("fragile")
	gateway := d.dial(d.ports.gateway)

	book := func(domain, does string) *pb.CommandBook {
		return &pb.CommandBook{
			Cover: &pb.Cover{Domain: domain, AggregateId: does},
			Pages: []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "e2e.Do", Value: []byte(does)}}},
		}
	}
	changed := func(change func(*pb.CommandBook)) *pb.CommandBook {
		b := book("order", "nothing")
		change(b)
		return b
	}
	for name, c := range map[string]struct {
		book *pb.CommandBook
		code code.Code
	}{
		"no cover":          {changed(func(b *pb.CommandBook) { b.Cover = nil }), code.Code_INVALID_ARGUMENT},
		"no domain":         {changed(func(b *pb.CommandBook) { b.Cover.Domain = "" }), code.Code_INVALID_ARGUMENT},
		"no root":           {changed(func(b *pb.CommandBook) { b.Cover.AggregateId = "" }), code.Code_INVALID_ARGUMENT},
		"15 bytes":          {changed(func(b *pb.CommandBook) { b.Cover.Root = &pb.UUID{Value: make([]byte, 15)} }), code.Code_INVALID_ARGUMENT},
		"no pages":          {changed(func(b *pb.CommandBook) { b.Pages = nil }), code.Code_INVALID_ARGUMENT},
		"no command":        {changed(func(b *pb.CommandBook) { b.Pages[0].Command = nil }), code.Code_INVALID_ARGUMENT},
		"unknown domain":    {book("odrer", "nothing"), code.Code_NOT_FOUND},
		"stale sequence":    {changed(func(b *pb.CommandBook) { b.Pages[0].Sequence = 3 }), code.Code_FAILED_PRECONDITION},
		"a revocation":      {book("order", "revoke"), code.Code_FAILED_PRECONDITION},
		"a gap":             {book("order", "gap"), code.Code_INTERNAL},
		"another aggregate": {book("order", "other"), code.Code_INTERNAL},
		"a large answer":    {book("order", "large"), code.Code_INTERNAL},
		"a large command":   {book("order", strings.Repeat("x", 20<<20)), code.Code_RESOURCE_EXHAUSTED},
		"no answer":         {book("order", "wait"), code.Code_DEADLINE_EXCEEDED},
		"death":             {book("fragile", "die"), code.Code_UNAVAILABLE},
		"nobody":            {book("down", "nothing"), code.Code_UNAVAILABLE},
		"no gRPC":           {book("mute", "nothing"), code.Code_UNAVAILABLE},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered(t, gateway, c.code, func(ctx context.Context, conn grpc.ClientConnInterface) error {
				_, err := pb.NewAggregateCoordinatorClient(conn).Handle(ctx, c.book)
				return err
			})
		})
	}
	for name, c := range map[string]struct {
		code code.Code
		call func(context.Context, grpc.ClientConnInterface) error
	}{
		"a projector that refuses": {code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{Command: book("watched", "nothing"), SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
			return err
		}},
		"an unknown type": {code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewBusinessCoordinatorClient(conn).Handle(ctx, &pb.BusinessRequest{Command: &pb.BusinessCommand{Domain: "order", AggregateId: "x", TypeUrl: "CreateOrder"}})
			return err
		}},
		"a query without a domain": {code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{AggregateId: "x"})
			return err
		}},
		"a query without a root": {code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{Domain: "order"})
			return err
		}},
		"a query for 17 bytes": {code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{Domain: "order", Root: &pb.UUID{Value: make([]byte, 17)}})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered(t, gateway, c.code, c.call)
		})
	}
	t.Run("a subscription to nothing", func(t *testing.T) {
		t.Parallel()
		answered(t, d.dial(d.ports.stream), code.Code_INVALID_ARGUMENT, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			stream, err := pb.NewEventStreamClient(conn).Subscribe(ctx, &pb.EventStreamFilter{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		})
	})
}

// answered calls something and checks that it fails with a code and with a text
// that is documented.
func answered(t *testing.T, conn grpc.ClientConnInterface, want code.Code, call func(context.Context, grpc.ClientConnInterface) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := status.Convert(call(ctx, conn))
	got := code.Code(said.Code())
	if got != want {
		t.Errorf("it ended with %s, expected %s", got, want)
	}
	checkDocumented(t, got.String(), said.Message())
	t.Logf("%s %q", got, said.Message())
}
