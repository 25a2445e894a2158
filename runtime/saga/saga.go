// Package saga is the role that stands before one of the user's sagas: it brings
// the saga events, sends the commands it answers with exactly once in effect, and
// has the aggregate that made the saga act compensate for the rejected ones.
package saga

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Options describe one saga.
type Options struct {
	Name         string
	Service      pb.SagaClient // the user's
	Timeout      time.Duration // for one call of the service or of a target; 30 s
	Commands     pb.AggregateCoordinatorClient
	Compensation Compensation
	// Delivery says where events come from. Name, Handle, Redo, Aside and Forward
	// are set here.
	Delivery delivery.Options[*Outcome]
	// Peers connects to another instance of this saga's coordinator; nil when there
	// are none.
	Peers  func(ctx context.Context, address string) (grpc.ClientConnInterface, error)
	Logger *slog.Logger
}

// Coordinator serves SagaCoordinator for one saga. It is safe for concurrent
// use.
type Coordinator struct {
	pb.UnimplementedSagaCoordinatorServer
	options  Options
	consumer *delivery.Consumer[*Outcome]
	memories *otter.Cache[string, *memory] // of books whose commands were refused
}

// Outcome is what became of the events of one book.
type Outcome struct {
	commands []*pb.CommandBook // as the saga wanted them, filled in
	stored   []*pb.CommandBook // those that caused events, compensation included
	abort    error             // what a synchronous caller is to be told
	settled  bool              // everything that the commands cause has been waited for
}

// New returns a coordinator that has not started.
func New(options Options) *Coordinator {
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{options: options, memories: otter.Must(&otter.Options[string, *memory]{MaximumSize: remembered})}
	options.Delivery.Name = "saga/" + options.Name
	options.Delivery.Handle = c.act
	// The commands of a book that was handled long ago are not remembered, but
	// repeating them is harmless, and a cascading caller has to wait for them.
	options.Delivery.Redo = true
	options.Delivery.Aside = c.aside()
	if options.Peers != nil {
		options.Delivery.Forward = c.forward
	}
	c.consumer = delivery.New(options.Delivery)
	return c
}

// Run delivers events to the saga until the context ends.
func (c *Coordinator) Run(ctx context.Context) error { return c.consumer.Run(ctx) }

// Wants reports whether the saga takes events of the domain.
func (c *Coordinator) Wants(domain string) bool { return c.consumer.Wants(domain) }

// Decided says that somebody has decided about the saga's dead letters, so that it
// is looked at now.
func (c *Coordinator) Decided() { c.consumer.Decided() }

// Handle hands events to the saga ahead of the bus.
func (c *Coordinator) Handle(ctx context.Context, events *pb.EventBook) (*emptypb.Empty, error) {
	if _, err := c.consumer.Deliver(ctx, events); err != nil {
		return nil, rpcerr.Status(err)
	}
	return &emptypb.Empty{}, nil
}

// HandleSync hands events to the saga ahead of the bus and answers with the
// commands that were sent because of them. In mode CASCADE it also waits for
// everything these commands cause.
func (c *Coordinator) HandleSync(ctx context.Context, request *pb.SyncEventBook) (*pb.SagaResponse, error) {
	outcome, err := c.consumer.Deliver(context.WithValue(ctx, modeKey{}, request.GetSyncMode()), request.GetEvents())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	if outcome.abort != nil {
		return nil, outcome.abort
	}
	if request.SyncMode == pb.SyncMode_SYNC_MODE_CASCADE && !outcome.settled {
		if err := c.cascade(ctx, outcome); err != nil {
			return nil, err
		}
	}
	return &pb.SagaResponse{Commands: outcome.commands}, nil
}

// forward hands events to the instance that is responsible for their aggregate.
// Which of the commands stored something only that one knows, so it waits for
// what they cause as well.
func (c *Coordinator) forward(ctx context.Context, address string, events *pb.EventBook) (*Outcome, error) {
	conn, err := c.options.Peers(ctx, address)
	if err != nil {
		return nil, err
	}
	mode := modeOf(ctx)
	response, err := pb.NewSagaCoordinatorClient(conn).HandleSync(ctx, &pb.SyncEventBook{Events: events, SyncMode: mode})
	if err != nil {
		return nil, delivery.FromPeer(err)
	}
	return &Outcome{commands: response.Commands, settled: mode == pb.SyncMode_SYNC_MODE_CASCADE}, nil
}

// modeKey is the context's key for how long a caller wants to wait.
type modeKey struct{}

func modeOf(ctx context.Context) pb.SyncMode {
	mode, _ := ctx.Value(modeKey{}).(pb.SyncMode)
	return mode
}

// cascade waits for what the stored commands cause, by repeating them in mode
// CASCADE: a repeated command does nothing but wait. It happens outside the
// aggregate's lane, because what is waited for may have to pass that lane.
func (c *Coordinator) cascade(ctx context.Context, outcome *Outcome) error {
	for _, command := range outcome.stored {
		request := &pb.SyncCommandBook{Command: command, SyncMode: pb.SyncMode_SYNC_MODE_CASCADE}
		if _, err := c.options.Commands.HandleSync(ctx, request); err != nil {
			return err
		}
	}
	return nil
}

// act asks the saga what is to be done and does it. An error that may pass makes
// it be called again; commands that were sent are then recognised, and those that
// were refused are not sent again.
func (c *Coordinator) act(ctx context.Context, events *pb.EventBook) (*Outcome, error) {
	response, err := c.ask(ctx, events)
	if err != nil {
		return nil, err
	}
	outcome := &Outcome{}
	if len(response.GetCommands()) == 0 {
		return outcome, nil
	}
	turn, err := c.begin(ctx, events)
	if err != nil {
		return nil, err
	}
	var left []string
	for i, wanted := range response.Commands {
		command := c.fillIn(wanted, events, uint32(i))
		outcome.commands = append(outcome.commands, command)
		letter, err := c.perform(ctx, turn, command, outcome)
		if err != nil {
			return nil, err
		}
		if letter != "" {
			left = append(left, letter)
		}
	}
	if len(left) > 0 {
		// One dead letter for all of them: it stands for the events of this book.
		return outcome, &delivery.Park{Subscription: c.aside(), Reason: strings.Join(left, "\n")}
	}
	return outcome, nil
}

// aside is the name under which dead letters of compensation are kept. They block
// nothing.
func (c *Coordinator) aside() string { return "saga/" + c.options.Name + "/compensation" }

func (c *Coordinator) ask(ctx context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	return c.options.Service.Handle(ctx, events)
}

// fillIn completes a command with where it comes from.
func (c *Coordinator) fillIn(wanted *pb.CommandBook, events *pb.EventBook, index uint32) *pb.CommandBook {
	command := &pb.CommandBook{
		Cover: wanted.GetCover(), Pages: wanted.GetPages(), CorrelationId: wanted.GetCorrelationId(), AutoResequence: wanted.GetAutoResequence(),
		Fact: wanted.GetFact(), IdempotencyKey: wanted.GetIdempotencyKey(),
		SagaOrigin: &pb.SagaCommandOrigin{
			SagaName: c.options.Name, TriggeringAggregate: events.Cover, TriggeringEventSequence: book.Last(events), CommandIndex: index,
		},
	}
	if command.CorrelationId == "" {
		command.CorrelationId = events.CorrelationId
	}
	return command
}

// perform sends one command, unless it was refused before, and has a refusal
// compensated for. It returns what a person is to look at, if anything. The error
// is one that may pass.
func (c *Coordinator) perform(ctx context.Context, turn *turn, command *pb.CommandBook, outcome *Outcome) (letter string, err error) {
	index := command.SagaOrigin.CommandIndex
	refused := turn.refused[index]
	if refused == nil || turn.anew {
		reason, err := c.send(ctx, command, outcome)
		if err != nil {
			return "", err
		}
		if refused, err = c.note(ctx, turn, index, reason); err != nil || refused == nil {
			return "", err
		}
	}
	if err := c.compensate(ctx, &rejection{events: turn.events, command: command, refusal: refused}); err != nil {
		return "", err
	}
	outcome.stored = append(outcome.stored, refused.stored...)
	if outcome.abort == nil {
		outcome.abort = refused.abort
	}
	return refused.letter, nil
}

// send sends one command and returns why it was refused, empty if it was not. The
// error is one that may pass.
func (c *Coordinator) send(ctx context.Context, command *pb.CommandBook, outcome *Outcome) (refused string, err error) {
	answer, err := c.handle(ctx, command)
	switch {
	case err == nil:
		if len(answer.GetEvents().GetPages()) > 0 {
			outcome.stored = append(outcome.stored, command)
		}
		return "", nil
	case rpcerr.IsStored(err):
		// It was accepted; what failed is somebody who follows it at once.
		outcome.stored = append(outcome.stored, command)
		if outcome.abort == nil && rpcerr.IsAbort(err) {
			outcome.abort = err
		}
		return "", nil
	case passing(err):
		return "", err
	}
	c.options.Logger.Info("command rejected, compensating", "component", c.options.Name, "domain", command.Cover.GetDomain(),
		"correlation_id", command.CorrelationId, "error", status.Convert(err).Message())
	if refused = status.Convert(err).Message(); refused == "" {
		refused = status.Code(err).String()
	}
	return refused, nil
}

// passing reports whether an error says nothing about what was asked.
func passing(err error) bool {
	return rpcerr.Retryable(err) || status.Code(err) == codes.Canceled
}

func (c *Coordinator) handle(ctx context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	return c.options.Commands.Handle(ctx, command)
}
