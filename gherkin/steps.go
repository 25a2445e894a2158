package gherkin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cucumber/godog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// sentence is a step that people can write.
type sentence struct {
	pattern string
	example string // as in the documentation
	do      any    // the function of a world
}

const (
	theAggregate = `aggregate "([^"]*)"(?: in domain "([^"]*)")?`
	article      = `an? `
)

// vocabulary is all that can be said.
func vocabulary(w *world) []sentence {
	return []sentence{
		{`^(?:a |the )?prior events? for ` + theAggregate + `:$`, `Given prior events for aggregate "order-456" in domain "orders":`, w.givenPrior},
		{`^no prior events for ` + theAggregate + `$`, `Given no prior events for aggregate "order-456" in domain "orders"`, w.givenNone},
		{`^the correlation id "([^"]*)"$`, `Given the correlation id "checkout-7"`, w.givenCorrelation},
		{`^I send ` + article + `"([^"]*)" command for ` + theAggregate + `$`, `When I send an "AddItem" command for aggregate "order-456"`, w.send1},
		{`^I send ` + article + `"([^"]*)" command for ` + theAggregate + `(?: with)?:$`, `When I send an "AddItem" command for aggregate "order-456":`, w.sendWith},
		{`^the business logic receives the command with (\d+) prior events?$`, `Then the business logic receives the command with 2 prior events`, w.receivesPrior},
		{`^(\d+) events? total exists? for ` + theAggregate + `$`, `And 3 events total exist for aggregate "order-456"`, w.total},
		{`^the events? (?:is|are):$`, `Then the events are:`, w.eventsAre},
		{`^` + article + `"([^"]*)" event is emitted$`, `Then an "ItemAdded" event is emitted`, w.emitted},
		{`^` + article + `"([^"]*)" event is emitted(?: with)?:$`, `Then an "ItemAdded" event is emitted with:`, w.emittedWith},
		{`^no events are emitted$`, `Then no events are emitted`, w.noEvents},
		{`^the command is accepted$`, `Then the command is accepted`, w.accepted},
		{`^the command is rejected$`, `Then the command is rejected`, w.rejected},
		{`^the command is rejected with "(.*)"$`, `Then the command is rejected with "Order is closed"`, w.rejectedWith},
		{`^the command is rejected with ([A-Z_]+)$`, `Then the command is rejected with INVALID_ARGUMENT`, w.rejectedCode},
		{`^the command is rejected with ([A-Z_]+) "(.*)"$`, `Then the command is rejected with FAILED_PRECONDITION "Order is closed"`, w.rejectedCodeWith},
		{`^` + theAggregate + ` has the events:$`, `Then aggregate "prod-1" in domain "inventory" has the events:`, w.hasEvents},
		{`^the projector "([^"]*)" answers:$`, `Then the projector "receipt" answers:`, w.projects},
		{`^the projector "([^"]*)" answers for ` + theAggregate + `:$`, `Then the projector "receipt" answers for aggregate "order-456" in domain "orders":`, w.projectsFor},
		{`^the saga "([^"]*)" sends ` + article + `"([^"]*)" command to ` + theAggregate + `$`, `Then the saga "loyalty" sends an "AddLoyaltyPoints" command to aggregate "alice" in domain "customer"`, w.sagaSends},
		{`^the saga "([^"]*)" sends ` + article + `"([^"]*)" command to ` + theAggregate + `(?: with)?:$`, `Then the saga "loyalty" sends an "AddLoyaltyPoints" command to aggregate "alice" in domain "customer":`, w.sagaSendsWith},
		{`^the saga "([^"]*)" sends no commands$`, `Then the saga "loyalty" sends no commands`, w.sagaSendsNothing},
	}
}

func (w *world) givenNone(aggregate, domain string) error {
	_, err := w.key(aggregate, domain)
	return err
}

func (w *world) givenCorrelation(id string) { w.correlation = id }

func (w *world) givenPrior(aggregate, domain string, table *godog.Table) error {
	if w.system != nil {
		return errors.New("prior events are given after a command was sent; expected every Given before the first When")
	}
	key, err := w.key(aggregate, domain)
	if err != nil {
		return err
	}
	rows, err := readRows(table, "event_type")
	if err != nil {
		return err
	}
	for _, row := range rows {
		number := w.next[key]
		if text, given := row.take("sequence"); given {
			if found, err := strconv.ParseUint(text, 10, 32); err != nil || uint32(found) != number {
				return fmt.Errorf("sequence: found %q, expected %d: events are numbered from 0 without gaps", text, number)
			}
		}
		name, _ := row.take("event_type")
		message, err := w.message(key.Domain, name, event, row)
		if err != nil {
			return err
		}
		stored := eventstore.NewEvent{TypeURL: message.TypeUrl, Payload: message.Value, CreatedAt: priorTime(len(w.prior))}
		w.prior = append(w.prior, priorEvents(key, aggregate, number, []eventstore.NewEvent{stored})...)
		w.next[key] = number + 1
	}
	return nil
}

func (w *world) send1(ctx context.Context, name, aggregate, domain string) error {
	return w.sendRow(ctx, name, aggregate, domain, row{})
}

func (w *world) sendWith(ctx context.Context, name, aggregate, domain string) error {
	fields, err := w.argument.one()
	if err != nil {
		return err
	}
	return w.sendRow(ctx, name, aggregate, domain, fields)
}

func (w *world) sendRow(ctx context.Context, name, aggregate, domain string, fields row) error {
	key, err := w.key(aggregate, domain)
	if err != nil {
		return err
	}
	message, err := w.message(key.Domain, name, command, fields)
	if err != nil {
		return err
	}
	return w.send(ctx, key, aggregate, message)
}

func (w *world) receivesPrior(want int) error {
	w.watched.mu.Lock()
	defer w.watched.mu.Unlock()
	if len(w.watched.received) == 0 {
		return errors.New("the business logic was not called")
	}
	last := w.watched.received[len(w.watched.received)-1]
	if w.commanded && w.answer == nil && w.refusal == nil {
		return errors.New("no command was sent")
	}
	found := len(last.GetEvents().GetPages())
	if snapshot := last.GetEvents().GetSnapshot(); snapshot != nil {
		found += int(snapshot.GetSequence()) + 1
	}
	if found != want {
		return fmt.Errorf("found %d prior events, expected %d", found, want)
	}
	return nil
}

func (w *world) total(ctx context.Context, want int, aggregate, domain string) error {
	key, err := w.key(aggregate, domain)
	if err != nil {
		return err
	}
	pages, err := w.stored(ctx, key)
	if err != nil {
		return err
	}
	if len(pages) != want {
		return fmt.Errorf("found %d events, expected %d:\n%s", len(pages), want, w.listed(pages))
	}
	return nil
}

// acceptedEvents returns the events of the last command, which must have been
// accepted.
func (w *world) acceptedEvents() ([]*page, error) {
	if err := w.accepted(); err != nil {
		return nil, err
	}
	return w.answer.GetEvents().GetPages(), nil
}

func (w *world) eventsAre(table *godog.Table) error {
	pages, err := w.acceptedEvents()
	if err != nil {
		return err
	}
	return w.compareEvents(w.domain, table, pages)
}

func (w *world) emitted(name string) error { return w.emittedRow(name, row{}) }

func (w *world) emittedWith(name string) error {
	fields, err := w.argument.one()
	if err != nil {
		return err
	}
	return w.emittedRow(name, fields)
}

func (w *world) emittedRow(name string, fields row) error {
	pages, err := w.acceptedEvents()
	if err != nil {
		return err
	}
	wanted, err := w.message(w.domain, name, event, fields)
	if err != nil {
		return err
	}
	var differences []string
	for _, page := range pages {
		if book.TypeName(page.GetEvent().GetTypeUrl()) != book.TypeName(wanted.GetTypeUrl()) {
			continue
		}
		difference := w.difference(fields, wanted, page.GetEvent())
		if difference == "" {
			return nil
		}
		differences = append(differences, difference)
	}
	if len(differences) > 0 {
		return fmt.Errorf("no %s is like that:\n%s", name, strings.Join(differences, "\n"))
	}
	return fmt.Errorf("found no %s, the events are:\n%s", name, w.listed(pages))
}

func (w *world) noEvents() error {
	if w.refusal != nil {
		w.unseen = false
		return nil
	}
	pages, err := w.acceptedEvents()
	if err != nil {
		return err
	}
	if len(pages) > 0 {
		return fmt.Errorf("expected no events, found:\n%s", w.listed(pages))
	}
	return nil
}

func (w *world) accepted() error {
	w.unseen = false
	switch {
	case !w.commanded:
		return errors.New("no command was sent; expected a When before")
	case w.refusal != nil:
		return fmt.Errorf("the command was rejected with %s", refusalText(w.refusal))
	}
	return nil
}

func (w *world) rejected() error {
	w.unseen = false
	switch {
	case !w.commanded:
		return errors.New("no command was sent; expected a When before")
	case w.refusal == nil:
		return fmt.Errorf("the command was accepted, its events are:\n%s", w.listed(w.answer.GetEvents().GetPages()))
	}
	return nil
}

func (w *world) rejectedWith(text string) error {
	if err := w.rejected(); err != nil {
		return err
	}
	if found := status.Convert(w.refusal).Message(); found != text {
		return fmt.Errorf("the command was rejected with\n  found    %q\n  expected %q", found, text)
	}
	return nil
}

func (w *world) rejectedCode(code string) error {
	if err := w.rejected(); err != nil {
		return err
	}
	if !slices.Contains(codeNames(), code) {
		return fmt.Errorf("there is no code %s, expected one of %s", code, strings.Join(codeNames(), ", "))
	}
	if found := codeName(status.Code(w.refusal)); found != code {
		return fmt.Errorf("found %s, expected %s", refusalText(w.refusal), code)
	}
	return nil
}

func (w *world) rejectedCodeWith(code, text string) error {
	return errors.Join(w.rejectedCode(code), w.rejectedWith(text))
}

func (w *world) hasEvents(ctx context.Context, aggregate, domain string, table *godog.Table) error {
	key, err := w.key(aggregate, domain)
	if err != nil {
		return err
	}
	pages, err := w.stored(ctx, key)
	if err != nil {
		return err
	}
	return w.compareEvents(key.Domain, table, pages)
}

func (w *world) projects(ctx context.Context, projector string) error {
	aggregate := ""
	for name, domain := range w.homes {
		if domain == w.domain {
			aggregate = name
		}
		if w.answer != nil && w.answer.GetEvents().GetCover().GetAggregateId() == name {
			aggregate = name
			break
		}
	}
	return w.projectsFor(ctx, projector, aggregate, "")
}

func (w *world) projectsFor(ctx context.Context, projector, aggregate, domain string) error {
	key, err := w.key(aggregate, domain)
	if err != nil {
		return err
	}
	pages, err := w.stored(ctx, key)
	if err != nil {
		return err
	}
	if len(pages) == 0 {
		return fmt.Errorf("aggregate %q in domain %q has no events to project", aggregate, key.Domain)
	}
	last := pages[len(pages)-1].GetNum()
	seen := func() bool {
		found, known := w.watched.projections[projector][key]
		return known && found.sequence >= last
	}
	parked := w.watched.await(ctx, seen)
	w.watched.mu.Lock()
	defer w.watched.mu.Unlock()
	if !seen() {
		if len(parked) > 0 {
			return fmt.Errorf("the projector could not handle the events:\n  %s", strings.Join(parked, "\n  "))
		}
		return fmt.Errorf("the projector %s has not been given event %d of %s; does it follow the domain %s in angz.yaml?", projector, last, aggregate, key.Domain)
	}
	fields, err := w.argument.one()
	if err != nil {
		return err
	}
	found := w.watched.projections[projector][key].answer.GetProjection()
	if found == nil {
		return fmt.Errorf("the projector %s answered with nothing", projector)
	}
	wanted, err := w.messageOf(book.TypeName(found.GetTypeUrl()), fields)
	if err != nil {
		return err
	}
	if difference := w.difference(fields, wanted, found); difference != "" {
		return errors.New("the projection differs:\n" + difference)
	}
	return nil
}

func (w *world) sagaSends(saga, name, aggregate, domain string) error {
	return w.sagaSendsRow(saga, name, aggregate, domain, row{})
}

func (w *world) sagaSendsWith(saga, name, aggregate, domain string) error {
	fields, err := w.argument.one()
	if err != nil {
		return err
	}
	return w.sagaSendsRow(saga, name, aggregate, domain, fields)
}

func (w *world) sagaSendsRow(saga, name, aggregate, domain string, fields row) error {
	w.unseen = false
	spoken := w.domain
	key, err := w.key(aggregate, domain)
	w.domain = spoken // the next step is about the command that was sent, still
	if err != nil {
		return err
	}
	wanted, err := w.message(key.Domain, name, command, fields)
	if err != nil {
		return err
	}
	w.watched.mu.Lock()
	defer w.watched.mu.Unlock()
	var others, differences []string
	for _, sent := range w.watched.sent[saga] {
		for _, page := range sent.GetPages() {
			to, err := book.KeyOf(sent.GetCover())
			if err != nil || to != key || book.TypeName(page.GetCommand().GetTypeUrl()) != book.TypeName(wanted.GetTypeUrl()) {
				others = append(others, fmt.Sprintf("  %s to %s in domain %s", w.shown(page.GetCommand()), aggregateName(sent.GetCover()), sent.GetCover().GetDomain()))
				continue
			}
			difference := w.difference(fields, wanted, page.GetCommand())
			if difference == "" {
				return nil
			}
			differences = append(differences, difference)
		}
	}
	switch {
	case len(differences) > 0:
		return fmt.Errorf("the saga %s sent no %s like that:\n%s", saga, name, strings.Join(differences, "\n"))
	case len(others) > 0:
		return fmt.Errorf("the saga %s sent other commands:\n%s", saga, strings.Join(others, "\n"))
	}
	return fmt.Errorf("the saga %s sent no commands", saga)
}

func (w *world) sagaSendsNothing(saga string) error {
	w.watched.mu.Lock()
	defer w.watched.mu.Unlock()
	var sent []string
	for _, book := range w.watched.sent[saga] {
		for _, page := range book.GetPages() {
			sent = append(sent, "  "+w.shown(page.GetCommand()))
		}
	}
	if len(sent) > 0 {
		return fmt.Errorf("the saga %s sent:\n%s", saga, strings.Join(sent, "\n"))
	}
	return nil
}

func aggregateName(cover *pb.Cover) string {
	if cover.GetAggregateId() != "" {
		return cover.GetAggregateId()
	}
	key, err := book.KeyOf(cover)
	if err != nil {
		return "?"
	}
	return key.Root.String()
}

// shown is a message in one line.
func (w *world) shown(message *anypb.Any) string {
	json, _, err := w.schema.JSON(message)
	if err != nil {
		return book.ShortName(message.GetTypeUrl())
	}
	return book.ShortName(message.GetTypeUrl()) + " " + string(json)
}

func (w *world) listed(pages []*page) string {
	if len(pages) == 0 {
		return "  none"
	}
	lines := make([]string, len(pages))
	for i, page := range pages {
		lines[i] = fmt.Sprintf("  %d %s", page.GetNum(), w.shown(page.GetEvent()))
	}
	return strings.Join(lines, "\n")
}

func codeName(code codes.Code) string {
	names := codeNames()
	if int(code) < len(names) {
		return names[code]
	}
	return code.String()
}

// codeNames are gRPC's codes by their numbers.
func codeNames() []string {
	return strings.Fields("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED")
}
