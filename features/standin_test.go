package features_test

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// standIn is one of the user's services: it remembers what it was asked and can
// be held up.
type standIn struct {
	kind    string // "business logic of", "projector", "saga"
	name    string
	service *runtimetest.Service
	happen  *signal

	mu        sync.Mutex
	rules     map[string]runtimetest.Rules // by the command's name; "" for all others
	reactions []reaction                   // of a saga
	refusals  map[string]error             // of a projector and a saga, by the event's name
	received  []proto.Message              // in the order of arrival
	handled   []*pb.EventBook              // of a projector or saga, without an error
	atWork    int
	cancelled int           // calls that the caller gave up while they were held
	held      chan struct{} // nil when calls pass; closed to let them go
}

// reaction is what a saga does about one kind of event.
type reaction struct {
	event   string
	command *pb.CommandBook
}

func newStandIn(kind, name string, happen *signal) *standIn {
	return &standIn{kind: kind, name: name, happen: happen, rules: map[string]runtimetest.Rules{}, refusals: map[string]error{}}
}

// subscription returns the name under which a projector's or saga's place in the
// log is kept.
func (s *standIn) subscription() string { return s.kind + "/" + s.name }

// newestKey returns the aggregate of the newest book that a projector or saga was
// given.
func (s *standIn) newestKey() (book.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return book.KeyOf(s.received[len(s.received)-1].(*pb.EventBook).Cover)
}

// enter notes a call and waits while calls are held.
func (s *standIn) enter(ctx context.Context, request proto.Message) error {
	s.mu.Lock()
	s.received = append(s.received, proto.Clone(request))
	s.atWork++
	held := s.held
	s.mu.Unlock()
	s.happen.fire()
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		s.cancelled++
		s.mu.Unlock()
		return ctx.Err()
	}
}

func (s *standIn) leave(handled *pb.EventBook) {
	s.mu.Lock()
	s.atWork--
	if handled != nil {
		s.handled = append(s.handled, handled)
	}
	s.mu.Unlock()
	s.happen.fire()
}

func (s *standIn) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

func (s *standIn) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// requests returns what a domain's service was asked, only the commands of a
// name unless that is empty.
func (s *standIn) requests(name string) []*pb.ContextualCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	var requests []*pb.ContextualCommand
	for _, message := range s.received {
		request := message.(*pb.ContextualCommand)
		if name == "" || commandName(request.Command) == name {
			requests = append(requests, request)
		}
	}
	return requests
}

// books returns the events that a projector or saga has handled.
func (s *standIn) books() []*pb.EventBook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*pb.EventBook(nil), s.handled...)
}

func commandName(command *pb.CommandBook) string {
	if len(command.GetPages()) == 0 {
		return ""
	}
	return book.ShortName(command.Pages[0].Command.TypeUrl)
}

// decide is the business logic of a domain.
func (s *standIn) decide(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	defer s.leave(nil)
	if err := s.enter(ctx, request); err != nil {
		return nil, err
	}
	s.mu.Lock()
	rules, ok := s.rules[commandName(request.Command)]
	if !ok {
		rules = s.rules[""]
	}
	s.mu.Unlock()
	return rules(ctx, request)
}

// project is a projector: a receipt for each book.
func (s *standIn) project(ctx context.Context, events *pb.EventBook) (*pb.Projection, error) {
	if err := s.take(ctx, events); err != nil {
		return nil, err
	}
	return &pb.Projection{Projection: &anypb.Any{TypeUrl: "type.googleapis.com/Receipt", Value: []byte{}}}, nil
}

// take does what projectors and sagas have in common.
func (s *standIn) take(ctx context.Context, events *pb.EventBook) (err error) {
	var handled *pb.EventBook
	defer func() { s.leave(handled) }()
	if err := s.enter(ctx, events); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, page := range events.Pages {
		if refusal := s.refusals[book.ShortName(page.Event.TypeUrl)]; refusal != nil {
			return refusal
		}
	}
	handled = events
	return nil
}

// react is a saga: the commands that its reactions name for these events.
func (s *standIn) react(ctx context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	if err := s.take(ctx, events); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &pb.SagaResponse{}
	for _, page := range events.Pages {
		for _, reaction := range s.reactions {
			if reaction.event == book.ShortName(page.Event.TypeUrl) {
				response.Commands = append(response.Commands, proto.CloneOf(reaction.command))
			}
		}
	}
	return response, nil
}
