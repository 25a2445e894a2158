package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// most is how many dead letters one request changes.
const most = 1000

// Retry has aggregates handled again, each from its first dead letter on. Only
// that one is marked: the consumer goes on to those behind it while all goes
// well, and when one fails again nothing is left marked that would make it try
// for ever.
func (s *Server) Retry(ctx context.Context, request *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	order := order{to: eventstore.StateRetry, verb: "retry", seen: map[lane]bool{}}
	decided, err := s.decide(ctx, request, order)
	return decided, rpcerr.Status(err)
}

// Skip gives dead letters up.
func (s *Server) Skip(ctx context.Context, request *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
	if oneLine(request.GetNote()) == "" {
		return nil, rpcerr.Status(&book.Invalid{Field: "note", Found: "nothing", Want: "a sentence that says why the events are given up"})
	}
	decided, err := s.decide(ctx, request, order{to: eventstore.StateSkipped, verb: "skip"})
	return decided, rpcerr.Status(err)
}

// order is what is to become of the dead letters that are selected.
type order struct {
	to   eventstore.State
	verb string
	seen map[lane]bool // whose first dead letter has been found; nil when each stands for itself
}

// lane is one aggregate as one component sees it.
type lane struct {
	subscription string
	key          book.Key
}

func (s *Server) decide(ctx context.Context, request *pb.DeadLetterDecision, order order) (*pb.DeadLettersDecided, error) {
	wish, err := readSelection(request.GetSelection())
	if err != nil {
		return nil, err
	}
	if wish.everything() {
		return nil, &book.Invalid{Field: "selection", Found: "neither a component nor a position nor an aggregate", Want: "at least one of them"}
	}
	note := s.note(ctx, order.verb, request.GetBy(), request.GetNote())
	decided, told := &pb.DeadLettersDecided{}, map[string]bool{}
	defer func() {
		for subscription := range told {
			s.options.Decided(subscription)
		}
	}()
	for letter, err := range s.each(ctx, wish, undecided, request.GetAfter()) {
		if err != nil {
			return nil, err
		}
		marked, err := s.mark(ctx, wish, order, letter, note)
		if err != nil {
			return nil, err
		}
		if marked == nil {
			continue
		}
		told[consumer(letter.Subscription)] = true
		if decided.Decided = append(decided.Decided, marked); len(decided.Decided) == most {
			decided.Next = placeOf(letter)
			break
		}
	}
	if len(decided.Decided) == 0 && request.GetAfter() == nil {
		return nil, s.nothingToDecide(ctx, wish)
	}
	s.options.Logger.Info("somebody has decided about dead letters", "decision", order.verb, "count", len(decided.Decided),
		"component", wish.component, "domain", wish.domain, "note", note)
	return decided, nil
}

// mark changes one dead letter, or the one that it waits behind, and returns it
// as it is then; nil when there is nothing to be changed.
func (s *Server) mark(ctx context.Context, wish selection, order order, letter eventstore.Parked, note string) (*pb.DeadLetter, error) {
	if order.seen != nil && !apart(letter.Subscription) {
		in := lane{letter.Subscription, letter.Key}
		if order.seen[in] {
			return nil, nil
		}
		order.seen[in] = true
		first, err := s.first(ctx, in)
		if err != nil || first.Position != letter.Position && wish.position == 0 {
			return nil, err // it was marked with the page before
		}
		letter = first
	}
	err := s.options.Store.Decide(ctx, eventstore.Decision{
		Subscription: letter.Subscription, Position: letter.Position, From: undecided, To: order.to, Note: note,
	})
	if errors.Is(err, eventstore.ErrNotParked) {
		return nil, nil // somebody else, or the consumer, was faster
	}
	if err != nil {
		return nil, fmt.Errorf("%s position %d of %s: %w", order.verb, letter.Position, letter.Subscription, err)
	}
	letter.State, letter.Note = order.to, note
	return s.describe(ctx, letter)
}

// first returns the first dead letter of an aggregate that nobody is done with,
// the zero one when there is none left.
func (s *Server) first(ctx context.Context, in lane) (eventstore.Parked, error) {
	found, err := s.options.Store.Parked(ctx, eventstore.ParkedQuery{Subscription: in.subscription, Key: in.key, States: undecided, Limit: 1})
	if err != nil {
		return eventstore.Parked{}, fmt.Errorf("find the first dead letter of %s: %w", in.key, err)
	}
	if len(found) == 0 {
		return eventstore.Parked{Subscription: in.subscription, Key: in.key}, nil
	}
	return found[0], nil
}

// nothingToDecide says why nothing was changed.
func (s *Server) nothingToDecide(ctx context.Context, wish selection) error {
	if wish.position != 0 && strings.Contains(wish.component, "/") {
		letter, err := s.at(ctx, wish.component, wish.position)
		if err != nil {
			return err
		}
		return status.Errorf(codes.FailedPrecondition, "the dead letter of %s at position %d is %s already", wish.component, wish.position, letter.State)
	}
	return status.Error(codes.NotFound, `no dead letters that wait are selected: see "angz dlq list"`)
}

// note says who decides and why, as one line.
func (s *Server) note(ctx context.Context, verb, saidBy, saidWhy string) string {
	by := s.options.Caller(ctx)
	if by == "" {
		by = oneLine(saidBy)
	}
	if by == "" {
		by = "somebody"
	}
	note := fmt.Sprintf("%s by %s at %s", verb, by, time.Now().UTC().Format(time.RFC3339))
	if why := oneLine(saidWhy); why != "" {
		note += ": " + why
	}
	return note
}

// oneLine returns text without line breaks and of a bounded length: it is kept
// with every dead letter that is decided about.
func oneLine(text string) string {
	const longest = 1000
	line := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " "))
	return string(line[:min(len(line), longest)])
}
