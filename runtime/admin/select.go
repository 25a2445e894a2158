package admin

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// selection says which dead letters are meant, once it has been found in order.
type selection struct {
	component string
	position  uint64
	domain    string
	key       book.Key // zero for all aggregates
}

// readSelection finds out which dead letters are meant. The error is a
// *book.Invalid.
func readSelection(selected *pb.DeadLetterSelection) (selection, error) {
	s := selection{component: selected.GetComponent(), position: selected.GetPosition(), domain: selected.GetDomain()}
	if s.position > math.MaxInt64 {
		return selection{}, &book.Invalid{Field: "selection.position", Found: fmt.Sprint(s.position), Want: "a position of the log, which is below 2^63"}
	}
	if len(selected.GetRoot().GetValue()) == 0 && selected.GetAggregateId() == "" {
		return s, nil
	}
	var err error
	s.key, err = book.KeyFrom(s.domain, selected.Root, selected.AggregateId)
	return s, err
}

// everything reports whether all dead letters there are would be meant.
func (s *selection) everything() bool {
	return s.component == "" && s.position == 0 && s.key == book.Key{}
}

func (s *selection) wants(letter *eventstore.Parked) bool {
	return ofComponent(letter.Subscription, s.component) &&
		(s.position == 0 || letter.Position == s.position) &&
		(s.domain == "" || letter.Key.Domain == s.domain)
}

// ofComponent reports whether a subscription is what is meant by a component: its
// name in full, the plain name of a projector or saga, or nothing for all.
func ofComponent(subscription, component string) bool {
	if component == "" || subscription == component {
		return true
	}
	_, rest, _ := strings.Cut(subscription, "/")
	name, _, _ := strings.Cut(rest, "/")
	return name == component
}

// apart reports whether a subscription's dead letters stand each for itself and
// block nothing: "saga/loyalty/compensation" as opposed to "saga/loyalty".
func apart(subscription string) bool { return strings.Count(subscription, "/") > 1 }

// consumer returns the subscription whose consumer acts on decisions about the
// given one.
func consumer(subscription string) string {
	parts := strings.SplitN(subscription, "/", 3)
	return strings.Join(parts[:min(len(parts), 2)], "/")
}

// undecided are the states of dead letters that nobody is done with.
var undecided = []eventstore.State{eventstore.StateParked, eventstore.StateRetry}

var wireStates = map[eventstore.State]pb.DeadLetterState{
	eventstore.StateParked:   pb.DeadLetterState_DEAD_LETTER_STATE_PARKED,
	eventstore.StateRetry:    pb.DeadLetterState_DEAD_LETTER_STATE_RETRY,
	eventstore.StateResolved: pb.DeadLetterState_DEAD_LETTER_STATE_RESOLVED,
	eventstore.StateSkipped:  pb.DeadLetterState_DEAD_LETTER_STATE_SKIPPED,
}

// readStates returns the states that are wanted.
func readStates(wanted []pb.DeadLetterState) (states []eventstore.State, err error) {
	if len(wanted) == 0 {
		return undecided, nil
	}
	stored := map[pb.DeadLetterState]eventstore.State{}
	for state, sent := range wireStates {
		stored[sent] = state
	}
	for i, sent := range wanted {
		state, known := stored[sent]
		if !known {
			return nil, &book.Invalid{Field: fmt.Sprintf("states[%d]", i), Found: sent.String(), Want: "PARKED, RETRY, RESOLVED or SKIPPED"}
		}
		states = append(states, state)
	}
	return states, nil
}

func placeOf(letter eventstore.Parked) *pb.DeadLetterPlace {
	return &pb.DeadLetterPlace{Component: letter.Subscription, Position: letter.Position}
}

// each goes through the dead letters that are meant, in the order of component
// and position, from behind a place on. An error ends it.
func (s *Server) each(ctx context.Context, wish selection, states []eventstore.State, after *pb.DeadLetterPlace) iter.Seq2[eventstore.Parked, error] {
	return func(yield func(eventstore.Parked, error) bool) {
		const page = 500
		query := eventstore.ParkedQuery{
			States: states, Key: wish.key, AfterSubscription: after.GetComponent(), AfterPosition: after.GetPosition(), Limit: page,
		}
		if strings.Contains(wish.component, "/") {
			query.Subscription = wish.component
		}
		for {
			letters, err := s.options.Store.Parked(ctx, query)
			if err != nil {
				yield(eventstore.Parked{}, fmt.Errorf("list the dead letters: %w", err))
				return
			}
			for i := range letters {
				if wish.wants(&letters[i]) && !yield(letters[i], nil) {
					return
				}
			}
			if len(letters) < page {
				return
			}
			last := &letters[page-1]
			query.AfterSubscription, query.AfterPosition = last.Subscription, last.Position
		}
	}
}

// at returns the dead letter at a place.
func (s *Server) at(ctx context.Context, component string, position uint64) (eventstore.Parked, error) {
	found, err := s.options.Store.Parked(ctx, eventstore.ParkedQuery{
		Subscription: component, AfterSubscription: component, AfterPosition: position - 1, Limit: 1,
	})
	if err != nil {
		return eventstore.Parked{}, fmt.Errorf("read the dead letter: %w", err)
	}
	if len(found) == 0 || found[0].Position != position {
		return eventstore.Parked{}, status.Errorf(codes.NotFound, `no dead letter of %s at position %d: see "angz dlq list --all"`, component, position)
	}
	return found[0], nil
}
