// Package aggregate is the role that takes commands: it loads the aggregate,
// lets the user's service decide, stores the events and waits for whatever the
// caller wants to wait for. DESIGN.md beside this file says how one aggregate's
// commands are kept in order and why a cached state is never wrong.
package aggregate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Store is the part of an event store that the role needs.
type Store interface {
	eventstore.Writer
	eventstore.Streams
	ByCommand(ctx context.Context, id uuid.UUID) ([]eventstore.Event, error)
}

// Service decides commands. pb.AggregateClient is one.
type Service interface {
	Handle(ctx context.Context, request *pb.ContextualCommand, options ...grpc.CallOption) (*pb.BusinessResponse, error)
}

// Domain is one domain that this process serves.
type Domain struct {
	Name    string
	Service Service       // the user's business rules
	Label   string        // how errors call the service, such as "domain order's service"
	Timeout time.Duration // for one call of the service; 30 s
	// Unlisted domains are not named when a client asks for a domain that is
	// not there: they are angz's own.
	Unlisted bool
}

// Options describe the role. Zero values mean the defaults given.
type Options struct {
	Domains   []Domain
	Followers []Follower
	Store     Store
	// Shared says that other processes append to these domains, so that a
	// cached state may be behind the store.
	Shared bool
	// ReadSnapshots and WriteSnapshots switch the use of snapshots.
	ReadSnapshots, WriteSnapshots bool
	CacheBytes                    int           // of aggregates in memory; 32 MiB
	Waiting                       int           // commands waiting for one aggregate; 64
	Deadline                      time.Duration // of a call that brings none; 60 s
	Logger                        *slog.Logger
	Metrics                       *observe.Metrics
	Observer                      observe.Observer // is told of every command; nil for nobody
}

// Coordinator serves AggregateCoordinator. It is safe for concurrent use.
type Coordinator struct {
	pb.UnimplementedAggregateCoordinatorServer
	options Options
	domains map[string]Domain
	states  *states
	queues  *queues
	ahead   eventstore.Ahead // the store, if it takes appends in order
	others  atomic.Bool      // others append too, whatever Options.Shared says
}

// New returns a coordinator for the given domains.
func New(options Options) *Coordinator {
	if options.CacheBytes == 0 {
		options.CacheBytes = 32 << 20
	}
	if options.Waiting == 0 {
		options.Waiting = 64
	}
	if options.Deadline == 0 {
		options.Deadline = time.Minute
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{
		options: options,
		domains: map[string]Domain{},
		states:  newStates(options.Store, options.CacheBytes, options.ReadSnapshots, options.Metrics),
		queues:  newQueues(options.Waiting),
	}
	c.ahead, _ = options.Store.(eventstore.Ahead)
	for _, domain := range options.Domains {
		if domain.Timeout == 0 {
			domain.Timeout = 30 * time.Second
		}
		c.domains[domain.Name] = domain
	}
	return c
}

// OthersWrite says that from now on others append to these domains too, as
// Options.Shared does from the start. It must be called before they do.
func (c *Coordinator) OthersWrite() { c.others.Store(true) }

// shared reports whether a cached state may be behind the store.
func (c *Coordinator) shared() bool { return c.options.Shared || c.others.Load() }

// Handle decides a command, stores its events and answers with them.
func (c *Coordinator) Handle(ctx context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
	return c.handle(ctx, command, pb.SyncMode_SYNC_MODE_NONE)
}

// HandleSync does the same and waits as long as the mode says.
func (c *Coordinator) HandleSync(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	if request.GetCommand() == nil {
		return nil, rpcerr.Status(&book.Invalid{Field: "command", Found: "nothing", Want: "a command book"})
	}
	return c.handle(ctx, request.Command, request.SyncMode)
}

func (c *Coordinator) handle(ctx context.Context, command *pb.CommandBook, mode pb.SyncMode) (*pb.CommandResponse, error) {
	start := time.Now()
	response, err := c.answer(ctx, command, mode)
	domain := command.GetCover().GetDomain()
	if _, served := c.domains[domain]; !served {
		domain = "" // anybody can think of names
	}
	c.options.Metrics.Command(domain, err, time.Since(start))
	return response, err
}

func (c *Coordinator) answer(ctx context.Context, command *pb.CommandBook, mode pb.SyncMode) (*pb.CommandResponse, error) {
	request, err := c.check(command)
	if err != nil {
		err = rpcerr.Status(err)
		c.tell(observe.Decision{Command: command, Mode: mode, Err: err, Began: time.Now()})
		return nil, err
	}
	ctx = observe.Correlate(ctx, request.command.CorrelationId)
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.Deadline)
		defer cancel()
	}
	events, err := c.observed(ctx, request, mode)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	if events == nil {
		return &pb.CommandResponse{}, nil
	}
	projections, err := c.await(ctx, events, mode)
	if err != nil {
		return nil, err
	}
	return &pb.CommandResponse{Events: events, Projections: projections}, nil
}

// observed is decide, of which the observer is told.
func (c *Coordinator) observed(ctx context.Context, r *request, mode pb.SyncMode) (*pb.EventBook, error) {
	if c.options.Observer == nil {
		return c.decide(ctx, r)
	}
	began := time.Now()
	ctx, waits := observe.CountWaits(ctx)
	events, err := c.decide(ctx, r)
	decision := observe.Decision{
		Command: r.command, Mode: mode, Events: events, Duplicate: r.duplicate, Began: began, Took: time.Since(began), Waited: waits.Total(),
	}
	if err != nil {
		decision.Err = rpcerr.Status(err)
	}
	c.tell(decision)
	return events, err
}

func (c *Coordinator) tell(decision observe.Decision) {
	if c.options.Observer != nil {
		c.options.Observer.Decided(decision)
	}
}

// request is a command that has been found in order.
type request struct {
	key        book.Key
	domain     Domain
	command    *pb.CommandBook // a copy with whole cover and correlation id
	id         uuid.UUID
	repeatable bool // the id may have been used before
	duplicate  bool // it was, and the command has not been decided again
}

// check finds out what a command is about. The given book is not changed.
func (c *Coordinator) check(command *pb.CommandBook) (*request, error) {
	if name := command.GetCover().GetDomain(); name != "" && c.domains[name].Service == nil {
		return nil, status.Errorf(codes.NotFound, "No service registered for domain: %s (known: %s)", name, c.known())
	}
	key, err := book.CheckCommand(command)
	if err != nil {
		return nil, err
	}
	correlation, err := book.CorrelationID(command)
	if err != nil {
		return nil, err
	}
	checked := &pb.CommandBook{
		Cover: key.Cover(name(key, command.Cover)), Pages: command.Pages, CorrelationId: correlation, SagaOrigin: command.SagaOrigin,
		AutoResequence: command.AutoResequence, Fact: command.Fact, IdempotencyKey: command.IdempotencyKey,
	}
	if unknown := command.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		checked.ProtoReflect().SetUnknown(unknown)
	}
	id, repeatable := book.CommandID(key, checked)
	return &request{key: key, domain: c.domains[key.Domain], command: checked, id: id, repeatable: repeatable}, nil
}

// name returns the human name that a cover gives its aggregate, if it is one
// from which the root follows; another name would not find the aggregate again.
func name(key book.Key, cover *pb.Cover) string {
	if id := cover.AggregateId; id != "" && book.Root(key.Domain, id) == key.Root {
		return book.Name(id)
	}
	return ""
}

func (c *Coordinator) known() string {
	var names []string
	for name, domain := range c.domains {
		if !domain.Unlisted {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// causation says which saga and which event a command comes from, as in
// "loyalty order/ROOT/3"; or that it makes good for a saga's command that was
// refused, as in "loyalty/compensation order/ROOT/3".
func causation(command *pb.CommandBook) string {
	origin, by := command.SagaOrigin, ""
	if origin.GetSagaName() == "" {
		origin, by = compensated(command), "/compensation"
	}
	if origin.GetSagaName() == "" {
		return ""
	}
	by = origin.SagaName + by
	source, err := book.KeyOf(origin.TriggeringAggregate)
	if err != nil {
		return by
	}
	return fmt.Sprintf("%s %s/%d", by, source, origin.TriggeringEventSequence)
}

// compensated returns where the command comes from that this one makes good for;
// nil when it does not. Only angz itself sends such facts.
func compensated(command *pb.CommandBook) *pb.SagaCommandOrigin {
	if !command.GetFact() || len(command.GetPages()) == 0 {
		return nil
	}
	var revoke pb.RevokeEventCommand
	var failed pb.SagaCompensationFailed
	switch message := command.Pages[0].GetCommand(); {
	case message.MessageIs(&revoke) && message.UnmarshalTo(&revoke) == nil:
		return revoke.GetRejectedCommand().GetSagaOrigin()
	case message.MessageIs(&failed) && message.UnmarshalTo(&failed) == nil:
		return failed.GetRejectedCommand().GetSagaOrigin()
	}
	return nil
}

// size estimates what pages take in memory.
func size(pages []*pb.EventPage) (bytes int) {
	const overhead = 200 // of the page, its timestamp and its Any
	for _, page := range pages {
		bytes += overhead + proto.Size(page.Event)
	}
	return bytes
}
