package service

import (
	"context"
	"encoding/json"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Aggregate is the rules of one domain. A new State is what an aggregate is
// before its first event.
type Aggregate[State any] struct {
	// Handle decides a command on the state as it is, which it does not change.
	Handle func(command proto.Message, state *State) (Events, error)
	// Apply changes the state as an event says.
	Apply func(state *State, event proto.Message)
}

// Events are what a command leads to, in order.
type Events []proto.Message

// Reject refuses a command that the state does not allow.
func Reject(format string, words ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, words...)
}

// Invalid refuses a command that no state would allow.
func Invalid(format string, words ...any) error {
	return status.Errorf(codes.InvalidArgument, format, words...)
}

// Unhandled refuses a command that there is no rule for.
func Unhandled(command proto.Message) error {
	return status.Errorf(codes.Unimplemented, "no handler for command %s", command.ProtoReflect().Descriptor().FullName())
}

// Revocation is the error that refuses a command and tells angz what to do about
// it.
type Revocation struct {
	Response *pb.RevocationResponse
}

func (r *Revocation) Error() string { return r.Response.Reason }

// Run serves the aggregate until the process is told to stop.
func (a Aggregate[State]) Run() {
	run(func(server grpc.ServiceRegistrar) {
		pb.RegisterAggregateServer(server, aggregateServer[State]{rules: a})
	})
}

type aggregateServer[State any] struct {
	pb.UnimplementedAggregateServer
	rules Aggregate[State]
}

// Handle decides the commands of one book, each on what the one before led to.
func (s aggregateServer[State]) Handle(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	state, err := s.rebuild(request.GetEvents())
	if err != nil {
		return nil, err
	}
	book := &pb.EventBook{Cover: request.GetCommand().GetCover()}
	for _, page := range request.GetCommand().GetPages() {
		events, err := s.handlePage(page, state)
		if revocation := (*Revocation)(nil); errors.As(err, &revocation) {
			return &pb.BusinessResponse{Result: &pb.BusinessResponse_Revocation{Revocation: revocation.Response}}, nil
		}
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			packed, err := anypb.New(event)
			if err != nil {
				return nil, err
			}
			// The page carries no number: angz gives it the next one.
			book.Pages = append(book.Pages, &pb.EventPage{Event: packed})
			s.rules.Apply(state, event)
		}
	}
	return &pb.BusinessResponse{Result: &pb.BusinessResponse_Events{Events: book}}, nil
}

// Replay makes the state of a history, so that people can look at it: its JSON, as
// a google.protobuf.Struct.
func (s aggregateServer[State]) Replay(_ context.Context, request *pb.ReplayRequest) (*pb.ReplayResponse, error) {
	state, err := s.rebuild(request.GetEvents())
	if err != nil {
		return nil, err
	}
	shown := new(structpb.Struct)
	text, err := json.Marshal(state)
	if err == nil {
		err = shown.UnmarshalJSON(text)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "the state cannot be shown: %v", err)
	}
	packed, err := anypb.New(shown)
	return &pb.ReplayResponse{State: packed}, err
}

// rebuild returns the state after a book of events. A snapshot in it is what
// Replay has answered before.
func (s aggregateServer[State]) rebuild(history *pb.EventBook) (*State, error) {
	state := new(State)
	if snapshot := history.GetSnapshot().GetState(); snapshot != nil {
		shown := new(structpb.Struct)
		err := snapshot.UnmarshalTo(shown)
		if err == nil {
			var text []byte
			if text, err = shown.MarshalJSON(); err == nil {
				err = json.Unmarshal(text, state)
			}
		}
		if err != nil {
			return nil, status.Errorf(codes.Internal, "the snapshot cannot be read: %v", err)
		}
	}
	for _, page := range history.GetPages() {
		event, err := page.Event.UnmarshalNew()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "event %d cannot be read: %v", page.GetNum(), err)
		}
		s.rules.Apply(state, event)
	}
	return state, nil
}

func (s aggregateServer[State]) handlePage(page *pb.CommandPage, state *State) (Events, error) {
	command, err := page.Command.UnmarshalNew()
	if errors.Is(err, protoregistry.NotFound) {
		return nil, status.Errorf(codes.Unimplemented, "no handler for command %s", page.Command.MessageName())
	}
	if err != nil {
		return nil, Invalid("%s cannot be read: %v", page.Command.MessageName(), err)
	}
	return s.rules.Handle(command, state)
}
