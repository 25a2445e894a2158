package service

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Saga is the rules of one saga: React says which commands follow from an event
// of the aggregate with this id.
type Saga struct {
	React func(event proto.Message, aggregateID string) []Command
}

// Command is a message for an aggregate.
type Command struct {
	Domain      string
	AggregateID string
	Message     proto.Message
}

// Run serves the saga until the process is told to stop.
func (s Saga) Run() {
	run(func(server grpc.ServiceRegistrar) { pb.RegisterSagaServer(server, sagaServer{rules: s}) })
}

type sagaServer struct {
	pb.UnimplementedSagaServer
	rules Saga
}

// Handle collects the commands that follow from the events of one book.
func (s sagaServer) Handle(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	response := &pb.SagaResponse{}
	for _, page := range events.GetPages() {
		event, err := page.Event.UnmarshalNew()
		if errors.Is(err, protoregistry.NotFound) {
			continue // an event that means nothing to this saga
		}
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "event %d cannot be read: %v", page.GetNum(), err)
		}
		for _, command := range s.rules.React(event, aggregateID(events.Cover)) {
			book, err := command.book()
			if err != nil {
				return nil, err
			}
			response.Commands = append(response.Commands, book)
		}
	}
	return response, nil
}

func (c Command) book() (*pb.CommandBook, error) {
	packed, err := anypb.New(c.Message)
	return &pb.CommandBook{
		Cover: &pb.Cover{Domain: c.Domain, AggregateId: c.AggregateID},
		Pages: []*pb.CommandPage{{Command: packed}},
		// A saga does not know which number the aggregate is at.
		AutoResequence: true,
	}, err
}

// aggregateID returns what people call an aggregate or, if it has no such name,
// the text of its root, which addresses it just as well.
func aggregateID(cover *pb.Cover) string {
	if cover.GetAggregateId() != "" {
		return cover.AggregateId
	}
	root, err := uuid.FromBytes(cover.GetRoot().GetValue())
	if err != nil {
		return ""
	}
	return root.String()
}
