package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// Handle forwards a command to the coordinator of its domain.
func (g *Gateway) Handle(ctx context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
	to, err := g.prepare(command)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	return to.handle(ctx, g)
}

// HandleSync forwards a command to the coordinator of its domain, which waits as
// long as the mode says.
func (g *Gateway) HandleSync(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	if request.GetCommand() == nil {
		return nil, rpcerr.Status(&book.Invalid{Field: "command", Found: "nothing", Want: "a command book"})
	}
	to, err := g.prepare(request.Command)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	if to.command != request.Command {
		request = &pb.SyncCommandBook{Command: to.command, SyncMode: request.SyncMode}
	}
	start := time.Now()
	response, err := to.handleSync(observe.Correlate(ctx, to.command.CorrelationId), g, request)
	g.count(to.key.Domain, err, time.Since(start))
	return response, err
}

// count counts a command that has been forwarded. A domain that has no route of
// its own was named by a client, who can name any number of them.
func (g *Gateway) count(domain string, err error, took time.Duration) {
	if _, ok := g.options.Routes[domain]; !ok {
		domain = ""
	}
	g.options.Metrics.Forwarded(domain, err, took)
}

// ExecuteSync is HandleSync under the name that clients know.
func (g *Gateway) ExecuteSync(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	return g.HandleSync(ctx, request)
}

// errand is a command on its way to its coordinator.
type errand struct {
	key         book.Key
	command     *pb.CommandBook // carries its correlation id
	conn        grpc.ClientConnInterface
	coordinator pb.AggregateCoordinatorClient
}

// prepare finds out where a command goes and what it is called. The given book
// is not changed; it is sent as it is when it brings a correlation id.
func (g *Gateway) prepare(command *pb.CommandBook) (*errand, error) {
	to, err := g.errand(command)
	if err != nil && g.options.Observer != nil {
		g.options.Observer.Decided(observe.Decision{Command: command, Err: rpcerr.Status(err), Began: time.Now()})
	}
	return to, err
}

func (g *Gateway) errand(command *pb.CommandBook) (*errand, error) {
	var conn grpc.ClientConnInterface
	var err error
	if domain := command.GetCover().GetDomain(); domain != "" {
		if conn, err = g.route(domain); err != nil {
			return nil, err
		}
	}
	key, err := book.CheckCommand(command)
	if err != nil {
		return nil, err
	}
	if command.CorrelationId == "" {
		id, err := book.CorrelationID(command)
		if err != nil {
			return nil, err
		}
		command = copyOf(command)
		command.CorrelationId = id
	}
	return &errand{key: key, command: command, conn: conn, coordinator: pb.NewAggregateCoordinatorClient(conn)}, nil
}

func (e *errand) handle(ctx context.Context, g *Gateway) (*pb.CommandResponse, error) {
	start := time.Now()
	ctx = observe.Correlate(ctx, e.command.CorrelationId)
	response, err := limited(ctx, g, e.key.Domain, func(ctx context.Context) (*pb.CommandResponse, error) {
		return e.insist(ctx, func() (*pb.CommandResponse, error) { return e.coordinator.Handle(ctx, e.command) })
	})
	g.count(e.key.Domain, err, time.Since(start))
	return response, err
}

func (e *errand) handleSync(ctx context.Context, g *Gateway, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	return limited(ctx, g, e.key.Domain, func(ctx context.Context) (*pb.CommandResponse, error) {
		return e.insist(ctx, func() (*pb.CommandResponse, error) { return e.coordinator.HandleSync(ctx, request) })
	})
}

// insist makes a call, and once more if the connection broke under it and the
// command has no second effect. A coordinator that stops does not wait for ever
// until everybody has read its last answers.
func (e *errand) insist(ctx context.Context, call func() (*pb.CommandResponse, error)) (*pb.CommandResponse, error) {
	response, err := call()
	if !transport.Broken(err) || ctx.Err() != nil {
		return response, err
	}
	if _, repeatable := book.CommandID(e.key, e.command); !repeatable {
		return response, err
	}
	return call()
}

// makeRepeatable sees to it that the command has no second effect when it is
// sent again.
func (e *errand) makeRepeatable() error {
	if _, repeatable := book.CommandID(e.key, e.command); repeatable {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an idempotency key: %w", err)
	}
	e.command = copyOf(e.command)
	e.command.IdempotencyKey = id.String()
	return nil
}

// copyOf returns a book of its own that shares the parts of the given one.
func copyOf(command *pb.CommandBook) *pb.CommandBook {
	copied := &pb.CommandBook{
		Cover:          command.Cover,
		Pages:          command.Pages,
		CorrelationId:  command.CorrelationId,
		SagaOrigin:     command.SagaOrigin,
		AutoResequence: command.AutoResequence,
		Fact:           command.Fact,
		IdempotencyKey: command.IdempotencyKey,
	}
	copied.ProtoReflect().SetUnknown(command.ProtoReflect().GetUnknown())
	return copied
}
