package runtimetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

func connect(t *testing.T, service *runtimetest.Service) *grpc.ClientConn {
	t.Helper()
	target := "unix:" + service.Address()
	if service.Address()[0] != '/' {
		target = "passthrough:///" + service.Address()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// request is the third command of an aggregate with two events, with two
// commands in one book.
func request() *pb.ContextualCommand {
	command := runtimetest.Command("order", "o1", 2, "AddItem")
	command.Pages = append(command.Pages, &pb.CommandPage{Command: &anypb.Any{TypeUrl: "x/shop.Place"}})
	history := &pb.EventBook{Cover: command.Cover, Pages: []*pb.EventPage{runtimetest.Event("x/A"), runtimetest.Event("x/B")}}
	for i, page := range history.Pages {
		page.Sequence = &pb.EventPage_Num{Num: uint32(i)}
	}
	return &pb.ContextualCommand{Command: command, Events: history}
}

// answer is what most services of the gallery answer to request.
func answer(edit func(*pb.EventBook)) *pb.BusinessResponse {
	answered := runtimetest.Answer(request(), runtimetest.Event("type.googleapis.com/AddItemDone"), runtimetest.Event("type.googleapis.com/shop.PlaceDone"))
	edit(answered.GetEvents())
	return answered
}

func num(events *pb.EventBook, first uint32) {
	for i, page := range events.Pages {
		page.Sequence = &pb.EventPage_Num{Num: first + uint32(i)}
	}
}

func snapshot(n byte) *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.UInt32Value", Value: []byte{8, n}}
}

func TestTheGalleryDoesWhatItSays(t *testing.T) {
	t.Parallel()
	revocation := &pb.RevocationResponse{Escalate: true, Reason: "no"}
	for name, c := range map[string]struct {
		rules runtimetest.Rules
		want  *pb.BusinessResponse
	}{
		"LeavesNumbersOut": {runtimetest.LeavesNumbersOut, answer(func(*pb.EventBook) {})},
		"UsesForce": {runtimetest.UsesForce, answer(func(e *pb.EventBook) {
			e.Pages[0].Sequence, e.Pages[1].Sequence = &pb.EventPage_Force{Force: true}, &pb.EventPage_Force{Force: true}
		})},
		"CountsPages":         {runtimetest.CountsPages, answer(func(e *pb.EventBook) { num(e, 2) })},
		"NumbersFromSnapshot": {runtimetest.NumbersFromSnapshot, answer(func(e *pb.EventBook) { num(e, 2); e.SnapshotState = snapshot(4) })},
		"WithPrefix": {runtimetest.WithPrefix("y/"), answer(func(e *pb.EventBook) {
			e.Pages[0].Event.TypeUrl, e.Pages[1].Event.TypeUrl = "y/AddItemDone", "y/shop.PlaceDone"
		})},
		"WithoutCover":            {runtimetest.WithoutCover, answer(func(e *pb.EventBook) { e.Cover = nil })},
		"AnswersForAnother":       {runtimetest.AnswersForAnother, answer(func(e *pb.EventBook) { e.Cover = book.Key{Domain: "order"}.Cover("") })},
		"AnswersForAnotherDomain": {runtimetest.AnswersForAnotherDomain, answer(func(e *pb.EventBook) { e.Cover = &pb.Cover{Domain: "elsewhere", Root: e.Cover.Root} })},
		"NamesDomainOnly":         {runtimetest.NamesDomainOnly, answer(func(e *pb.EventBook) { e.Cover = &pb.Cover{Domain: "order"} })},
		"StartsOver":              {runtimetest.StartsOver, answer(func(e *pb.EventBook) { num(e, 0) })},
		"LeavesEventOut":          {runtimetest.LeavesEventOut, answer(func(e *pb.EventBook) { e.Pages = []*pb.EventPage{{}} })},
		"SetsTimes": {runtimetest.SetsTimes, answer(func(e *pb.EventBook) {
			e.Pages[0].CreatedAt, e.Pages[1].CreatedAt = &timestamppb.Timestamp{Seconds: 1705312800}, &timestamppb.Timestamp{Seconds: 1705312800}
		})},
		"LeavesAGap":     {runtimetest.LeavesAGap, answer(func(e *pb.EventBook) { num(e, 3) })},
		"AnswersNothing": {runtimetest.AnswersNothing, &pb.BusinessResponse{}},
		"Revokes":        {runtimetest.Revokes(revocation), &pb.BusinessResponse{Result: &pb.BusinessResponse_Revocation{Revocation: revocation}}},
		"AnswersHugely": {runtimetest.AnswersHugely(1 << 10), answer(func(e *pb.EventBook) {
			e.Pages = []*pb.EventPage{runtimetest.Event("type.googleapis.com/Huge")}
			e.Pages[0].Event.Value = bytes.Repeat([]byte{0}, 1<<10)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := pb.NewAggregateClient(connect(t, runtimetest.Aggregate(t, c.rules)))
			got, err := client.Handle(t.Context(), request())
			if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestNumbersFromSnapshotGoesOnWithoutHistory(t *testing.T) {
	t.Parallel()
	shortened := request()
	shortened.Events = &pb.EventBook{Snapshot: &pb.Snapshot{Sequence: 6}}
	got, err := runtimetest.NumbersFromSnapshot(t.Context(), shortened)
	want := answer(func(e *pb.EventBook) { num(e, 7); e.SnapshotState = snapshot(9) })
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestServicesThatFail(t *testing.T) {
	t.Parallel()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for name, c := range map[string]struct {
		service *runtimetest.Service
		ctx     context.Context
		want    codes.Code
	}{
		"Refuses":        {runtimetest.Aggregate(t, runtimetest.Refuses(status.New(codes.FailedPrecondition, "no"))), t.Context(), codes.FailedPrecondition},
		"NeverAnswers":   {runtimetest.Aggregate(t, runtimetest.NeverAnswers), soon, codes.DeadlineExceeded},
		"AnswersGarbage": {runtimetest.Aggregate(t, runtimetest.AnswersNothing, runtimetest.AnswersGarbage), t.Context(), codes.Internal},
	} {
		if _, err := pb.NewAggregateClient(connect(t, c.service)).Handle(c.ctx, request()); status.Code(err) != c.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProjectorsAndSagasAreServed(t *testing.T) {
	t.Parallel()
	projector := runtimetest.Projector(t, func(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
		return &pb.Projection{Cover: events.Cover}, nil
	}, runtimetest.OverTCP)
	saga := runtimetest.Saga(t, func(context.Context, *pb.EventBook) (*pb.SagaResponse, error) {
		return &pb.SagaResponse{Commands: []*pb.CommandBook{runtimetest.AnyNumber(runtimetest.Command("stock", "p1", 0, "y/Reserve"))}}, nil
	})
	events := request().Events
	projection, err := pb.NewProjectorClient(connect(t, projector)).Handle(t.Context(), events)
	if err != nil || !proto.Equal(projection.Cover, events.Cover) {
		t.Errorf("got %v, %v", projection, err)
	}
	response, err := pb.NewSagaClient(connect(t, saga)).Handle(t.Context(), events)
	if err != nil || len(response.Commands) != 1 || response.Commands[0].Pages[0].Command.TypeUrl != "y/Reserve" || !response.Commands[0].AutoResequence {
		t.Errorf("got %v, %v", response, err)
	}
}

func TestAServiceStopsAndComesBackAtItsAddress(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]runtimetest.Option{"unix": nil, "tcp": {runtimetest.OverTCP}} {
		service := runtimetest.Aggregate(t, runtimetest.AnswersNothing, options...)
		client, address := pb.NewAggregateClient(connect(t, service)), service.Address()
		if _, err := client.Handle(t.Context(), request()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		service.Stop()
		if _, err := client.Handle(t.Context(), request()); status.Code(err) != codes.Unavailable {
			t.Errorf("%s, stopped: %v", name, err)
		}
		service.Start()
		if _, err := client.Handle(t.Context(), request(), grpc.WaitForReady(true)); err != nil || service.Address() != address {
			t.Errorf("%s, back at %s: %v", name, service.Address(), err)
		}
	}
}

func TestHealthIsServedUnlessLeftOut(t *testing.T) {
	t.Parallel()
	check := func(options ...runtimetest.Option) error {
		conn := connect(t, runtimetest.Aggregate(t, runtimetest.AnswersNothing, options...))
		answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil && answer.Status != healthpb.HealthCheckResponse_SERVING {
			err = errors.New(answer.Status.String())
		}
		return err
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := check(runtimetest.WithoutHealth); status.Code(err) != codes.Unimplemented {
		t.Errorf("without: %v", err)
	}
}

func TestCallsAreRememberedOverARestart(t *testing.T) {
	t.Parallel()
	service := runtimetest.Aggregate(t, runtimetest.AnswersNothing)
	if calls := service.Calls(); len(calls) != 0 {
		t.Errorf("called by nobody: %v", calls)
	}
	if _, err := healthpb.NewHealthClient(connect(t, service)).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	second := &pb.ContextualCommand{Command: runtimetest.Command("order", "o2", 7, "Place")}
	for _, asked := range []*pb.ContextualCommand{request(), second} {
		if _, err := pb.NewAggregateClient(connect(t, service)).Handle(t.Context(), asked); err != nil {
			t.Error(err)
		}
		service.Restart()
	}
	if diff := cmp.Diff([]proto.Message{request(), second}, service.Calls(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownFieldsAreAddedOnEveryLevel(t *testing.T) {
	t.Parallel()
	client := pb.NewAggregateClient(connect(t, runtimetest.Aggregate(t, runtimetest.AddsUnknownFields)))
	got, err := client.Handle(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []proto.Message{got, got.GetEvents(), got.GetEvents().Pages[0]} {
		if len(message.ProtoReflect().GetUnknown()) == 0 {
			t.Errorf("none in %T", message)
		}
	}
}
