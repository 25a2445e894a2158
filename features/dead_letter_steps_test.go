package features_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cucumber/godog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// decision is what became of the newest request to decide about dead letters.
type decision struct {
	letters []*pb.DeadLetter
	err     error
	checked bool // somebody has looked at the error
}

// deadLetterSteps are the sentences of somebody who decides about dead letters,
// at the gateway.
func (w *world) deadLetterSteps(steps *godog.ScenarioContext) {
	steps.Step(`^I retry the dead letters of "([^"]*)"(?: of aggregate "([^"]*)")?$`, w.retryLetters)
	steps.Step(`^I skip the first dead letter of "([^"]*)" because "([^"]*)"$`, w.skipLetter)
	steps.Step(`^the decision is about:$`, w.decisionIsAbout)
	steps.Step(`^the decision is refused with ([A-Z_]+) and says "(.*)"$`, w.decisionRefused)
	steps.Step(`^the dead letters listed of "([^"]*)" come to be:$`, w.lettersComeToBe)
	steps.Step(`^the first dead letter of "([^"]*)" shows the events:$`, w.letterShows)
	steps.Step(`^the slices of "([^"]*)" are each worked on by an instance$`, w.slicesAreHeld)
	steps.Step(`^the (projector|saga) "([^"]*)" takes "([^"]*)" from now on$`, w.takes)
}

func (w *world) admin() (pb.AdminClient, error) {
	conn, err := w.gateway()
	if err != nil {
		return nil, err
	}
	return pb.NewAdminClient(conn), nil
}

func (w *world) retryLetters(component, aggregate string) error {
	admin, err := w.admin()
	if err != nil {
		return err
	}
	selection := &pb.DeadLetterSelection{Component: component}
	if aggregate != "" {
		selection.Domain, selection.AggregateId = w.key(aggregate, "").Domain, aggregate
	}
	decided, err := admin.Retry(w.ctx, &pb.DeadLetterDecision{Selection: selection, By: "a tester"})
	w.decision = &decision{letters: decided.GetDecided(), err: err}
	return nil
}

func (w *world) skipLetter(component, why string) error {
	admin, err := w.admin()
	if err != nil {
		return err
	}
	first, err := w.firstLetter(component)
	if err != nil {
		return err
	}
	selection := &pb.DeadLetterSelection{Component: component, Position: first.Place.Position}
	decided, err := admin.Skip(w.ctx, &pb.DeadLetterDecision{Selection: selection, By: "a tester", Note: why})
	w.decision = &decision{letters: decided.GetDecided(), err: err}
	return nil
}

func (w *world) firstLetter(component string) (*pb.DeadLetter, error) {
	admin, err := w.admin()
	if err != nil {
		return nil, err
	}
	page, err := admin.ListDeadLetters(w.ctx, &pb.DeadLetterQuery{Selection: &pb.DeadLetterSelection{Component: component}, Limit: 1})
	if err == nil && len(page.DeadLetters) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return nil, err
	}
	return page.DeadLetters[0], nil
}

func (w *world) decisionIsAbout(table *godog.Table) error {
	if w.decision.err != nil {
		return w.decision.err
	}
	return w.compareLetters(table, w.decision.letters)
}

func (w *world) decisionRefused(code, message string) error {
	w.decision.checked = true
	want, err := statusOf(code, message)
	if err != nil {
		return err
	}
	if said := status.Convert(w.decision.err); said.Code() != want.Code() || !strings.Contains(said.Message(), message) {
		return fmt.Errorf("the answer was %v", w.decision.err)
	}
	return nil
}

// lettersComeToBe waits until the dead letters, in whatever state, are these.
func (w *world) lettersComeToBe(component string, table *godog.Table) error {
	admin, err := w.admin()
	if err != nil {
		return err
	}
	if w.decision != nil && w.decision.err != nil && !w.decision.checked {
		return w.decision.err
	}
	query := &pb.DeadLetterQuery{Selection: &pb.DeadLetterSelection{Component: component}}
	for state := range pb.DeadLetterState_name {
		if state != 0 {
			query.States = append(query.States, pb.DeadLetterState(state))
		}
	}
	return w.until(func() error {
		page, err := admin.ListDeadLetters(w.ctx, query)
		if err != nil {
			return err
		}
		return w.compareLetters(table, page.DeadLetters)
	})
}

// compareLetters compares in the columns that the table has; texts need only
// contain what it says.
func (w *world) compareLetters(table *godog.Table, letters []*pb.DeadLetter) error {
	rows, err := rowsOf(table, "component", "aggregate", "sequence", "state")
	if err != nil {
		return err
	}
	matches := len(rows) == len(letters)
	for i := 0; matches && i < len(rows); i++ {
		row, letter := rows[i], letters[i]
		key, err := book.KeyOf(letter.Cover)
		if err != nil {
			return err
		}
		attempts, counted := row["attempts"]
		matches = row["component"] == letter.Place.Component && key == w.key(row["aggregate"], "") && row["sequence"] == fmt.Sprint(letter.Sequence) &&
			(!counted || attempts == fmt.Sprint(letter.Attempts)) &&
			"DEAD_LETTER_STATE_"+strings.ToUpper(row["state"]) == letter.State.String() &&
			strings.Contains(letter.Reason, row["reason"]) && strings.Contains(letter.Note, row["note"])
	}
	if !matches {
		return fmt.Errorf("they are %v", letters)
	}
	return nil
}

func (w *world) letterShows(component string, table *godog.Table) error {
	rows, err := rowsOf(table, "sequence", "event_type")
	if err != nil {
		return err
	}
	admin, err := w.admin()
	if err != nil {
		return err
	}
	first, err := w.firstLetter(component)
	if err != nil {
		return err
	}
	letter, err := admin.GetDeadLetter(w.ctx, first.Place)
	if err != nil {
		return err
	}
	matches := len(rows) == len(letter.Events.Pages) && letter.Events.CorrelationId == letter.CorrelationId
	for i := 0; matches && i < len(rows); i++ {
		page := letter.Events.Pages[i]
		matches = rows[i]["sequence"] == fmt.Sprint(page.GetNum()) && rows[i]["event_type"] == book.ShortName(page.Event.TypeUrl)
	}
	if !matches {
		return fmt.Errorf("it shows %v", letter.Events)
	}
	return nil
}

func (w *world) slicesAreHeld(component string) error {
	admin, err := w.admin()
	if err != nil {
		return err
	}
	return w.until(func() error {
		list, err := admin.ListSubscriptions(w.ctx, &pb.SubscriptionQuery{Component: component})
		if err != nil {
			return err
		}
		held := 0
		for _, slice := range list.Slices {
			if slice.Component == component && slice.Holder != "" && slice.Position <= list.Head && slice.Slices == uint32(len(list.Slices)) {
				held++
			}
		}
		if held == 0 || held != len(list.Slices) {
			return fmt.Errorf("they are %v", list)
		}
		return nil
	})
}

// takes lets a component handle events that it refused.
func (w *world) takes(kind, name, event string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	delete(service.refusals, event)
	return nil
}

// uncheckedDecision says that a decision failed and nobody has looked at it.
func (w *world) uncheckedDecision() error {
	if w.decision == nil || w.decision.checked || status.Code(w.decision.err) == codes.OK {
		return nil
	}
	return w.decision.err
}
