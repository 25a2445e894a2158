package inspect

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// DeadLetterState is what is to become of a dead letter.
type DeadLetterState string

// The states of dead letters: nobody has decided; to be handled again; handled
// at last; given up.
const (
	DeadLetterParked   DeadLetterState = "parked"
	DeadLetterRetry    DeadLetterState = "retry"
	DeadLetterResolved DeadLetterState = "resolved"
	DeadLetterSkipped  DeadLetterState = "skipped"
)

// DeadLetterStates are all states there are.
var DeadLetterStates = []DeadLetterState{DeadLetterParked, DeadLetterRetry, DeadLetterResolved, DeadLetterSkipped}

// DeadLetter is what one component could not do with the events of one command.
type DeadLetter struct {
	Component     string // such as "projector/receipt"
	Position      uint64 // of the last event, in the log
	Domain        string
	AggregateID   string // human name; empty where angz knows none
	Root          string // UUID text
	Sequence      uint32 // of the first event
	Count         uint32 // events
	Type          string // of the first event, full message name
	CorrelationID string
	State         DeadLetterState
	Reason        string
	Attempts      uint32 // 0 while it waits behind an earlier one of its aggregate
	FirstAt       time.Time
	LastAt        time.Time
	Note          string  // who decided last and why
	Events        []Event // of DeadLetter only
}

// Name returns what people call the aggregate: its human name, or else its root.
func (d DeadLetter) Name() string {
	if d.AggregateID != "" {
		return d.AggregateID
	}
	return d.Root
}

// ShortType returns the type of the first event without its package.
func (d DeadLetter) ShortType() string { return book.ShortName(d.Type) }

// Place names the dead letter as people write it: "projector/receipt 17".
func (d DeadLetter) Place() string { return fmt.Sprintf("%s %d", d.Component, d.Position) }

// apart reports whether the dead letter stands for itself, so that nothing waits
// behind it.
func (d DeadLetter) apart() bool { return strings.Count(d.Component, "/") > 1 }

// DeadLetterSelection says which dead letters are meant: those for which
// everything that is set holds.
type DeadLetterSelection struct {
	Component string // in full, or the plain name of a projector or saga
	Position  uint64 // 0 for any
	Domain    string
	ID        string // human name of the aggregate, or a UUID; needs a domain
}

func (s DeadLetterSelection) wire() *pb.DeadLetterSelection {
	return &pb.DeadLetterSelection{Component: s.Component, Position: s.Position, Domain: s.Domain, AggregateId: s.ID}
}

// DeadLetters lists dead letters in the order of component and position, page
// by page as they are ranged over. No states mean those that are not done with.
// An error, a gRPC status, ends the sequence.
func (c *Client) DeadLetters(ctx context.Context, selection DeadLetterSelection, states ...DeadLetterState) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		query := &pb.DeadLetterQuery{Selection: selection.wire()}
		for _, state := range states {
			query.States = append(query.States, pb.DeadLetterState(pb.DeadLetterState_value[stateName(state)]))
		}
		for {
			page, err := c.admin.ListDeadLetters(ctx, query)
			if err != nil {
				yield(DeadLetter{}, err)
				return
			}
			for _, letter := range page.DeadLetters {
				if !yield(newDeadLetter(letter), nil) {
					return
				}
			}
			if query.After = page.Next; query.After == nil {
				return
			}
		}
	}
}

// stateName returns a state as the wire names it.
func stateName(state DeadLetterState) string {
	return "DEAD_LETTER_STATE_" + strings.ToUpper(string(state))
}

// DeadLetter reads one dead letter with its events.
func (c *Client) DeadLetter(ctx context.Context, component string, position uint64) (DeadLetter, error) {
	found, err := c.admin.GetDeadLetter(ctx, &pb.DeadLetterPlace{Component: component, Position: position})
	if err != nil {
		return DeadLetter{}, err
	}
	letter := newDeadLetter(found)
	letter.Events, err = c.events(found.Events)
	return letter, err
}

// Decision says who decides about dead letters and why.
type Decision struct {
	By, Note string
}

// Retry has the aggregates that are selected handled again, each from its first
// dead letter on, and returns that one of each. What becomes of them happens
// later; see Outcomes.
func (c *Client) Retry(ctx context.Context, selection DeadLetterSelection, decision Decision) ([]DeadLetter, error) {
	return c.decide(selection, decision, func(request *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
		return c.admin.Retry(ctx, request)
	})
}

// Skip gives up the dead letters that are selected and returns them. The decision
// must say why.
func (c *Client) Skip(ctx context.Context, selection DeadLetterSelection, decision Decision) ([]DeadLetter, error) {
	return c.decide(selection, decision, func(request *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
		return c.admin.Skip(ctx, request)
	})
}

// decide returns what has been decided so far when it fails in between.
func (c *Client) decide(selection DeadLetterSelection, decision Decision, ask func(*pb.DeadLetterDecision) (*pb.DeadLettersDecided, error)) (letters []DeadLetter, err error) {
	request := &pb.DeadLetterDecision{Selection: selection.wire(), By: decision.By, Note: decision.Note}
	for {
		decided, err := ask(request)
		if err != nil {
			return letters, err
		}
		for _, letter := range decided.Decided {
			letters = append(letters, newDeadLetter(letter))
		}
		if request.After = decided.Next; request.After == nil {
			return letters, nil
		}
	}
}

// Outcome is what became of a dead letter that was to be retried, and of those
// that waited behind it.
type Outcome struct {
	Retried DeadLetter
	// Failed is the dead letter at which it stopped, nil when all are done with.
	Failed *DeadLetter
}

// lookInterval is how often Outcomes looks at what has not been decided yet.
const lookInterval = 200 * time.Millisecond

// Outcomes follows dead letters that Retry returned until each is done with or
// has failed again, and says what became of each as soon as it is known. An error
// ends the sequence.
func (c *Client) Outcomes(ctx context.Context, retried []DeadLetter) iter.Seq2[Outcome, error] {
	return func(yield func(Outcome, error) bool) {
		ticks := time.NewTicker(lookInterval)
		defer ticks.Stop()
		for pending := retried; ; {
			var still []DeadLetter
			for _, letter := range pending {
				outcome, known, err := c.outcome(ctx, letter)
				if err != nil || known {
					if !yield(outcome, err) || err != nil {
						return
					}
					continue
				}
				still = append(still, letter)
			}
			if pending = still; len(pending) == 0 {
				return
			}
			select {
			case <-ticks.C:
			case <-ctx.Done():
				yield(Outcome{}, status.FromContextError(ctx.Err()).Err())
				return
			}
		}
	}
}

// outcome says what became of a dead letter, if that is known.
func (c *Client) outcome(ctx context.Context, retried DeadLetter) (outcome Outcome, known bool, err error) {
	now, err := c.next(ctx, retried)
	if err != nil {
		return Outcome{Retried: retried}, false, err
	}
	if now == nil {
		return Outcome{Retried: retried}, true, nil
	}
	// One that was never tried is about to be: it waited behind one that is done.
	if now.State == DeadLetterRetry || now.Attempts == 0 {
		return Outcome{}, false, nil
	}
	return Outcome{Retried: retried, Failed: now}, true, nil
}

// next returns the dead letter that is to be handled next for the aggregate of
// another one, nil when none is left.
func (c *Client) next(ctx context.Context, letter DeadLetter) (*DeadLetter, error) {
	if letter.apart() {
		found, err := c.admin.GetDeadLetter(ctx, &pb.DeadLetterPlace{Component: letter.Component, Position: letter.Position})
		now := newDeadLetter(found)
		if err != nil || now.State == DeadLetterResolved || now.State == DeadLetterSkipped {
			return nil, err
		}
		return &now, nil
	}
	page, err := c.admin.ListDeadLetters(ctx, &pb.DeadLetterQuery{
		Selection: &pb.DeadLetterSelection{Component: letter.Component, Domain: letter.Domain, AggregateId: letter.Root}, Limit: 1,
	})
	if err != nil || len(page.DeadLetters) == 0 {
		return nil, err
	}
	now := newDeadLetter(page.DeadLetters[0])
	return &now, nil
}

func newDeadLetter(letter *pb.DeadLetter) DeadLetter {
	name, _ := strings.CutPrefix(letter.GetState().String(), "DEAD_LETTER_STATE_")
	return DeadLetter{
		Component: letter.GetPlace().GetComponent(), Position: letter.GetPlace().GetPosition(),
		Domain: letter.GetCover().GetDomain(), AggregateID: letter.GetCover().GetAggregateId(), Root: rootText(letter.GetCover().GetRoot()),
		Sequence: letter.GetSequence(), Count: letter.GetCount(), Type: book.TypeName(letter.GetTypeUrl()), CorrelationID: letter.GetCorrelationId(),
		State: DeadLetterState(strings.ToLower(name)), Reason: letter.GetReason(), Attempts: letter.GetAttempts(),
		FirstAt: moment(letter.GetFirstAt()), LastAt: moment(letter.GetLastAt()), Note: letter.GetNote(),
	}
}

// moment returns a time, zero when there is none.
func moment(at *timestamppb.Timestamp) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.AsTime()
}
