package runtimetest

import (
	"context"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Event returns a new event without a number, as a careless service answers it.
func Event(typeURL string) *pb.EventPage {
	return &pb.EventPage{Event: &anypb.Any{TypeUrl: typeURL, Value: []byte{}}}
}

// Answer returns events as a service's decision for the commanded aggregate.
func Answer(request *pb.ContextualCommand, pages ...*pb.EventPage) *pb.BusinessResponse {
	return &pb.BusinessResponse{Result: &pb.BusinessResponse_Events{Events: &pb.EventBook{Cover: request.Command.Cover, Pages: pages}}}
}

// done names the event that a command leads to: "AddItem" becomes "AddItemDone".
func done(request *pb.ContextualCommand, prefix string) []*pb.EventPage {
	var pages []*pb.EventPage
	for _, command := range request.Command.Pages {
		pages = append(pages, Event(prefix+book.TypeName(command.Command.TypeUrl)+"Done"))
	}
	return pages
}

// LeavesNumbersOut answers every command with one event and never numbers it.
func LeavesNumbersOut(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return Answer(request, done(request, "type.googleapis.com/")...), nil
}

// UsesForce asks for whatever number is next.
func UsesForce(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	pages := done(request, "type.googleapis.com/")
	for _, page := range pages {
		page.Sequence = &pb.EventPage_Force{Force: true}
	}
	return Answer(request, pages...), nil
}

func numbered(pages []*pb.EventPage, next uint32) []*pb.EventPage {
	for i, page := range pages {
		page.Sequence = &pb.EventPage_Num{Num: next + uint32(i)}
	}
	return pages
}

// CountsPages numbers its events by how many pages it was given, and so needs
// the whole history each time.
func CountsPages(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return Answer(request, numbered(done(request, "type.googleapis.com/"), uint32(len(request.Events.GetPages())))...), nil
}

// NumbersFromSnapshot keeps a snapshot after every command, holding how many
// events there were, and numbers from the last page, else from the snapshot.
func NumbersFromSnapshot(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	next, history := uint32(0), request.Events
	if history.GetSnapshot() != nil {
		next = history.Snapshot.Sequence + 1
	}
	if pages := history.GetPages(); len(pages) > 0 {
		next = pages[len(pages)-1].GetNum() + 1
	}
	answer := Answer(request, numbered(done(request, "type.googleapis.com/"), next)...)
	state, err := anypb.New(wrapperspb.UInt32(next + uint32(len(request.Command.Pages))))
	answer.GetEvents().SnapshotState = state
	return answer, err
}

// WithPrefix answers with events whose type URLs begin with the prefix.
func WithPrefix(prefix string) Rules {
	return func(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		return Answer(request, done(request, prefix)...), nil
	}
}

// WithoutCover answers without saying for which aggregate.
func WithoutCover(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	answer := Answer(request, done(request, "type.googleapis.com/")...)
	answer.GetEvents().Cover = nil
	return answer, nil
}

// AnswersForAnother answers for an aggregate that nobody asked about.
func AnswersForAnother(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	answer := Answer(request, done(request, "type.googleapis.com/")...)
	answer.GetEvents().Cover = book.Key{Domain: request.Command.Cover.Domain}.Cover("")
	return answer, nil
}

// LeavesAGap numbers its first event one too high.
func LeavesAGap(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return Answer(request, numbered(done(request, "type.googleapis.com/"), uint32(len(request.Events.GetPages()))+1)...), nil
}

// AnswersForAnotherDomain answers as if another domain had been asked.
func AnswersForAnotherDomain(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	answer := Answer(request, done(request, "type.googleapis.com/")...)
	answer.GetEvents().Cover = &pb.Cover{Domain: "elsewhere", Root: request.Command.Cover.Root}
	return answer, nil
}

// NamesDomainOnly answers with a cover that holds the domain and no root.
func NamesDomainOnly(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	answer := Answer(request, done(request, "type.googleapis.com/")...)
	answer.GetEvents().Cover = &pb.Cover{Domain: request.Command.Cover.Domain}
	return answer, nil
}

// StartsOver numbers its events from 0 whatever the history.
func StartsOver(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return Answer(request, numbered(done(request, "type.googleapis.com/"), 0)...), nil
}

// LeavesEventOut answers with a page that carries no event.
func LeavesEventOut(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return Answer(request, &pb.EventPage{}), nil
}

// SetsTimes says itself when its events happened.
func SetsTimes(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	pages := done(request, "type.googleapis.com/")
	for _, page := range pages {
		page.CreatedAt = &timestamppb.Timestamp{Seconds: 1705312800}
	}
	return Answer(request, pages...), nil
}

// AddsUnknownFields speaks a newer version of the contract.
func AddsUnknownFields(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7)
	answer := Answer(request, done(request, "type.googleapis.com/")...)
	answer.ProtoReflect().SetUnknown(unknown)
	answer.GetEvents().ProtoReflect().SetUnknown(unknown)
	for _, page := range answer.GetEvents().Pages {
		page.ProtoReflect().SetUnknown(unknown)
	}
	return answer, nil
}

// AnswersHugely answers with one event of the given size.
func AnswersHugely(bytes int) Rules {
	return func(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		page := Event("type.googleapis.com/Huge")
		page.Event.Value = make([]byte, bytes)
		return Answer(request, page), nil
	}
}

// NeverAnswers waits until the caller gives up.
func NeverAnswers(ctx context.Context, _ *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Refuses answers with a status.
func Refuses(with *status.Status) Rules {
	return func(context.Context, *pb.ContextualCommand) (*pb.BusinessResponse, error) { return nil, with.Err() }
}

// Revokes answers with a revocation.
func Revokes(with *pb.RevocationResponse) Rules {
	return func(context.Context, *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		return &pb.BusinessResponse{Result: &pb.BusinessResponse_Revocation{Revocation: with}}, nil
	}
}

// AnswersNothing finds nothing to do.
func AnswersNothing(context.Context, *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return &pb.BusinessResponse{}, nil
}

// Command returns a command of one page for the aggregate that people call id.
func Command(domain, id string, sequence uint32, typeName string) *pb.CommandBook {
	if !strings.Contains(typeName, "/") {
		typeName = "type.googleapis.com/" + typeName
	}
	key := book.Key{Domain: domain, Root: book.Root(domain, id)}
	return &pb.CommandBook{
		Cover: key.Cover(book.Name(id)),
		Pages: []*pb.CommandPage{{Sequence: sequence, Command: &anypb.Any{TypeUrl: typeName, Value: []byte{}}}},
	}
}

// AnyNumber returns the command with auto_resequence set.
func AnyNumber(command *pb.CommandBook) *pb.CommandBook {
	command.AutoResequence = true
	return command
}
