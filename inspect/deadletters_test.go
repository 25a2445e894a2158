package inspect_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/payload"
)

// ward serves Admin as a test wants.
type ward struct {
	pb.UnimplementedAdminServer
	list   func(*pb.DeadLetterQuery) (*pb.DeadLetterPage, error)
	get    func(*pb.DeadLetterPlace) (*pb.DeadLetter, error)
	decide func(*pb.DeadLetterDecision) (*pb.DeadLettersDecided, error)
}

func (w *ward) ListDeadLetters(_ context.Context, query *pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
	return w.list(query)
}

func (w *ward) GetDeadLetter(_ context.Context, place *pb.DeadLetterPlace) (*pb.DeadLetter, error) {
	return w.get(place)
}

func (w *ward) Retry(_ context.Context, decision *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	return w.decide(decision)
}

func (w *ward) Skip(_ context.Context, decision *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	return w.decide(decision)
}

// visit serves a ward over memory and returns a Client of it.
func visit(t *testing.T, w *ward) *inspect.Client {
	t.Helper()
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	pb.RegisterAdminServer(server, w)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return inspect.New(conn, new(payload.Schema))
}

func wireLetter(position uint64, state pb.DeadLetterState, attempts uint32) *pb.DeadLetter {
	return &pb.DeadLetter{
		Place: &pb.DeadLetterPlace{Component: "projector/receipt", Position: position}, Cover: alice.Cover("alice@example.com"), Sequence: 3, Count: 2,
		TypeUrl: "x/shop.Created", CorrelationId: "c-1", State: state, Reason: "no", Attempts: attempts, FirstAt: timestamppb.New(noon),
		LastAt: timestamppb.New(noon.Add(time.Hour)), Note: "by hand",
	}
}

func wantLetter(position uint64, state inspect.DeadLetterState, attempts uint32) inspect.DeadLetter {
	return inspect.DeadLetter{
		Component: "projector/receipt", Position: position, Domain: "customer", AggregateID: "alice@example.com", Root: alice.Root.String(), Sequence: 3,
		Count: 2, Type: "shop.Created", CorrelationID: "c-1", State: state, Reason: "no", Attempts: attempts, FirstAt: noon, LastAt: noon.Add(time.Hour), Note: "by hand",
	}
}

func TestDeadLettersAreListedPageByPage(t *testing.T) {
	t.Parallel()
	var asked []*pb.DeadLetterQuery
	parked, skipped := pb.DeadLetterState_DEAD_LETTER_STATE_PARKED, pb.DeadLetterState_DEAD_LETTER_STATE_SKIPPED
	c := visit(t, &ward{list: func(query *pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
		asked = append(asked, query)
		switch len(asked) {
		case 1:
			return &pb.DeadLetterPage{DeadLetters: []*pb.DeadLetter{wireLetter(1, parked, 6)}, Next: &pb.DeadLetterPlace{Component: "x", Position: 1}}, nil
		case 2:
			return &pb.DeadLetterPage{DeadLetters: []*pb.DeadLetter{wireLetter(2, skipped, 0)}, Next: &pb.DeadLetterPlace{Component: "x", Position: 2}}, nil
		}
		return nil, status.Error(codes.Unavailable, "gone")
	}})
	var letters []inspect.DeadLetter
	var last error
	selection := inspect.DeadLetterSelection{Component: "receipt", Position: 9, Domain: "customer", ID: "alice"}
	for letter, err := range c.DeadLetters(t.Context(), selection, inspect.DeadLetterParked, inspect.DeadLetterSkipped) {
		if last = err; err == nil {
			letters = append(letters, letter)
		}
	}
	if diff := cmp.Diff([]inspect.DeadLetter{wantLetter(1, "parked", 6), wantLetter(2, "skipped", 0)}, letters); diff != "" || status.Code(last) != codes.Unavailable {
		t.Error(diff, last)
	}
	want := &pb.DeadLetterQuery{
		Selection: &pb.DeadLetterSelection{Component: "receipt", Position: 9, Domain: "customer", AggregateId: "alice"}, States: []pb.DeadLetterState{parked, skipped},
	}
	if diff := cmp.Diff(want, asked[0], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	want.After = &pb.DeadLetterPlace{Component: "x", Position: 2}
	if diff := cmp.Diff(want, asked[2], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestADeadLetterComesWithItsEvents(t *testing.T) {
	t.Parallel()
	c := visit(t, &ward{get: func(place *pb.DeadLetterPlace) (*pb.DeadLetter, error) {
		letter := wireLetter(place.Position, pb.DeadLetterState_DEAD_LETTER_STATE_RETRY, 1)
		letter.Events = created
		return letter, nil
	}})
	got, err := c.DeadLetter(t.Context(), "projector/receipt", 8)
	if err != nil {
		t.Fatal(err)
	}
	want := wantLetter(8, "retry", 1)
	want.Events = createdEvents
	if diff := cmp.Diff(want, got); diff != "" || got.Name() != "alice@example.com" || got.ShortType() != "Created" || got.Place() != "projector/receipt 8" {
		t.Error(diff)
	}
}

func TestDecisionsGoOnUntilAllAreMade(t *testing.T) {
	t.Parallel()
	var asked []*pb.DeadLetterDecision
	c := visit(t, &ward{decide: func(decision *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
		asked = append(asked, decision)
		switch len(asked) {
		case 1:
			return &pb.DeadLettersDecided{Decided: []*pb.DeadLetter{wireLetter(1, pb.DeadLetterState_DEAD_LETTER_STATE_RETRY, 1)}, Next: &pb.DeadLetterPlace{Position: 1}}, nil
		case 2:
			return &pb.DeadLettersDecided{Decided: []*pb.DeadLetter{wireLetter(2, pb.DeadLetterState_DEAD_LETTER_STATE_RETRY, 1)}}, nil
		}
		return nil, status.Error(codes.FailedPrecondition, "no")
	}})
	selection, decision := inspect.DeadLetterSelection{Component: "receipt"}, inspect.Decision{By: "bob", Note: "why"}
	letters, err := c.Retry(t.Context(), selection, decision)
	if diff := cmp.Diff([]inspect.DeadLetter{wantLetter(1, "retry", 1), wantLetter(2, "retry", 1)}, letters); diff != "" || err != nil {
		t.Error(diff, err)
	}
	want := &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "receipt"}, By: "bob", Note: "why", After: &pb.DeadLetterPlace{Position: 1}}
	if diff := cmp.Diff(want, asked[1], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if letters, err := c.Skip(t.Context(), selection, decision); len(letters) != 0 || status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%v, %v", letters, err)
	}
}

func TestWhatBecomesOfRetriedDeadLetters(t *testing.T) {
	t.Parallel()
	// What is first in the aggregate, each time somebody looks.
	retry, parked := pb.DeadLetterState_DEAD_LETTER_STATE_RETRY, pb.DeadLetterState_DEAD_LETTER_STATE_PARKED
	for name, c := range map[string]struct {
		looks []*pb.DeadLetter
		want  []inspect.Outcome
		code  codes.Code
	}{
		"handled": {[]*pb.DeadLetter{wireLetter(1, retry, 1), wireLetter(2, parked, 0), nil}, []inspect.Outcome{{Retried: wantLetter(1, "retry", 1)}}, codes.OK},
		"failed": {[]*pb.DeadLetter{wireLetter(1, retry, 1), wireLetter(2, parked, 1)},
			[]inspect.Outcome{{Retried: wantLetter(1, "retry", 1), Failed: new(wantLetter(2, "parked", 1))}}, codes.OK},
		"nobody knows": {nil, nil, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := visit(t, &ward{list: func(*pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
				if len(c.looks) == 0 {
					return nil, status.Error(codes.Unavailable, "gone")
				}
				first := c.looks[0]
				c.looks = c.looks[1:]
				if first == nil {
					return &pb.DeadLetterPage{}, nil
				}
				return &pb.DeadLetterPage{DeadLetters: []*pb.DeadLetter{first}}, nil
			}})
			var outcomes []inspect.Outcome
			code := codes.OK
			for outcome, err := range client.Outcomes(t.Context(), []inspect.DeadLetter{wantLetter(1, "retry", 1)}) {
				if code = status.Code(err); err == nil {
					outcomes = append(outcomes, outcome)
				}
			}
			if diff := cmp.Diff(c.want, outcomes); diff != "" || code != c.code {
				t.Error(diff, code)
			}
		})
	}
}
