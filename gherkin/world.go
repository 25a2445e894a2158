package gherkin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cucumber/godog"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/payload"
)

// world is what one scenario is about. Its steps run one after the other.
type world struct {
	options Options
	schema  *payload.Schema

	prior   []eventstore.Append
	next    map[book.Key]uint32 // of the aggregates with prior events
	homes   map[string]string   // the domain in which an aggregate was last spoken of
	domain  string              // the one last spoken of
	watched *watched
	system  *system

	argument    argument // of the step under way
	correlation string
	answers     []*pb.EventBook // of the commands so far
	answer      *pb.CommandResponse
	refusal     error // of the last command; nil when it was accepted
	unseen      bool  // a refusal that no step has spoken of yet
	commanded   bool
}

func newWorld(options Options, schema *payload.Schema) *world {
	return &world{
		options: options, schema: schema, next: map[book.Key]uint32{}, homes: map[string]string{}, watched: newWatched(uuid.NewString()),
	}
}

// register gives a scenario its vocabulary.
func (w *world) register(scenario *godog.ScenarioContext) {
	for _, sentence := range vocabulary(w) {
		scenario.Step(sentence.pattern, sentence.do)
	}
	scenario.StepContext().Before(func(ctx context.Context, step *godog.Step) (context.Context, error) {
		w.argument = argument{step.Argument}
		return ctx, nil
	})
	scenario.After(func(ctx context.Context, told *godog.Scenario, err error) (context.Context, error) {
		var found error // besides what a step has said
		if err == nil && w.unseen {
			found = fmt.Errorf("the last command was refused, and no step says so: %s", refusalText(w.refusal))
		}
		if w.system != nil {
			found = errors.Join(found, w.system.stop())
		}
		if err != nil || found != nil {
			w.options.failed(told.Name)
		}
		return ctx, found
	})
}

// key returns the aggregate that people mean. Without a domain it is the one in
// which they last spoke of it, or of anything.
func (w *world) key(aggregate, domain string) (book.Key, error) {
	if domain == "" {
		domain = w.homes[aggregate]
	}
	if domain == "" {
		domain = w.domain
	}
	if domain == "" {
		return book.Key{}, fmt.Errorf("found no domain for aggregate %q, expected in domain \"NAME\" here or in a step before", aggregate)
	}
	w.homes[aggregate], w.domain = domain, domain
	return book.Key{Domain: domain, Root: book.Root(domain, aggregate)}, nil
}

// run starts the scenario's angz, unless it runs.
func (w *world) run(ctx context.Context) error {
	if w.system != nil {
		return nil
	}
	for key, count := range w.next {
		w.watched.prior[key] = count
	}
	started, err := startSystem(ctx, w.options.Config, w.prior, w.watched)
	if err != nil {
		return fmt.Errorf("start angz for this scenario: %w", err)
	}
	w.system = started
	return nil
}

// send sends a command and waits for everything that follows from it.
func (w *world) send(ctx context.Context, key book.Key, aggregate string, command *anypb.Any) error {
	if err := w.run(ctx); err != nil {
		return err
	}
	if w.unseen {
		return fmt.Errorf("the command before was refused, and no step says so: %s", refusalText(w.refusal))
	}
	cover := key.Cover(book.Name(aggregate))
	request := &pb.SyncCommandBook{SyncMode: pb.SyncMode_SYNC_MODE_CASCADE, Command: &pb.CommandBook{
		Cover: cover, Pages: []*pb.CommandPage{{Command: command}}, AutoResequence: true, CorrelationId: w.correlation,
	}}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := pb.NewCommandGatewayClient(w.system.node.Gateway()).ExecuteSync(ctx, request)
	w.answer, w.refusal, w.unseen, w.commanded = answer, err, err != nil, true
	if err == nil && answer.GetEvents() != nil {
		w.answers = append(w.answers, answer.Events)
	}
	if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded {
		return fmt.Errorf("the command got no answer: %s", refusalText(err))
	}
	return nil
}

func refusalText(err error) string {
	refused := status.Convert(err)
	return fmt.Sprintf("%s %q", codeName(refused.Code()), refused.Message())
}

// stored returns all events of an aggregate.
func (w *world) stored(ctx context.Context, key book.Key) ([]*pb.EventPage, error) {
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := pb.NewEventQueryClient(w.system.node.Gateway()).GetEventBook(ctx, &pb.Query{Domain: key.Domain, Root: key.Cover("").Root})
	return found.GetPages(), err
}

// priorTime is when prior events happened: a moment ago, and always the same for
// one run of a scenario.
func priorTime(i int) time.Time { return time.Now().Add(time.Duration(i-10_000) * time.Millisecond) }
