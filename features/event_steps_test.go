package features_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cucumber/godog"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

const someAggregate = `aggregate "([^"]*)"(?: in domain "([^"]*)")?`

// eventSteps are the sentences about what is stored, and about command books
// given field by field.
func (w *world) eventSteps(steps *godog.ScenarioContext) {
	steps.Step(`^(\d+) events? total exists? for `+someAggregate+`$`, w.total)
	steps.Step(`^`+someAggregate+` holds the events:$`, w.holds)
	steps.Step(`^`+someAggregate+` comes to hold the events:$`, w.comesToHold)
	steps.Step(`^`+someAggregate+` holds the events (\d+) to (\d+)$`, w.holdsNumbers)
	steps.Step(`^the correlation "([^"]*)" has caused the events:$`, w.correlationCaused)
	steps.Step(`^the command book:$`, w.commandBook)
	steps.Step(`^I send the command book(.*)$`, w.sendBook)
	steps.Step(`^the correlation id of the command book is "([^"]*)"$`, w.correlationOfBook)
	steps.Step(`^the answer carries the correlation id "([^"]*)"$`, w.answerCarries)
	steps.Step(`^the answer is for the root "([^"]*)"$`, w.answerIsFor)
	steps.Step(`^the answer is for the aggregate named "([^"]*)"$`, w.answerIsNamed)
}

// stored returns an aggregate's events as a client sees them.
func (w *world) stored(aggregate, domain string) (*pb.EventBook, error) {
	conn, err := w.gateway()
	if err != nil {
		return nil, err
	}
	key := w.key(aggregate, domain)
	return pb.NewEventQueryClient(conn).GetEventBook(w.ctx, &pb.Query{Domain: key.Domain, Root: key.Cover("").Root})
}

func (w *world) total(count int, aggregate, domain string) error {
	events, err := w.stored(aggregate, domain)
	if err != nil {
		return err
	}
	return consecutive(events.Pages, 0, count)
}

func (w *world) holds(aggregate, domain string, table *godog.Table) error {
	events, err := w.stored(aggregate, domain)
	if err != nil {
		return err
	}
	return compare(table, []*pb.EventBook{events})
}

func (w *world) comesToHold(aggregate, domain string, table *godog.Table) error {
	return w.until(func() error { return w.holds(aggregate, domain, table) })
}

func (w *world) holdsNumbers(aggregate, domain string, first, last int) error {
	events, err := w.stored(aggregate, domain)
	if err != nil {
		return err
	}
	return consecutive(events.Pages, first, last-first+1)
}

func (w *world) correlationCaused(correlation string, table *godog.Table) error {
	conn, err := w.gateway()
	if err != nil {
		return err
	}
	stream, err := pb.NewEventQueryClient(conn).GetEvents(w.ctx, &pb.Query{CorrelationId: correlation})
	if err != nil {
		return err
	}
	books, err := all[pb.EventBook](stream)
	if err != nil {
		return err
	}
	return compare(table, books)
}

// all receives until the end of a stream.
func all[T any](stream interface{ Recv() (*T, error) }) ([]*T, error) {
	var received []*T
	for {
		one, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return received, nil
		}
		if err != nil {
			return received, err
		}
		received = append(received, one)
	}
}

// compare checks that books hold exactly the events of a table. Its columns say
// what is looked at: sequence, event_type, type_url, domain, aggregate,
// correlation_id.
func compare(table *godog.Table, books []*pb.EventBook) error {
	rows, err := rowsOf(table)
	if err != nil {
		return err
	}
	var found []map[string]string
	for _, events := range books {
		for _, page := range events.GetPages() {
			found = append(found, describe(events, page))
		}
	}
	for i := range found {
		if i < len(rows) {
			for column := range found[i] {
				if _, wanted := rows[i][column]; !wanted {
					delete(found[i], column)
				}
			}
		}
	}
	if difference := cmp.Diff(rows, found); difference != "" {
		return fmt.Errorf("the events differ (-wanted +found):\n%s", difference)
	}
	return nil
}

func describe(events *pb.EventBook, page *pb.EventPage) map[string]string {
	return map[string]string{
		"sequence": strconv.Itoa(int(page.GetNum())), "event_type": book.ShortName(page.Event.GetTypeUrl()), "type_url": page.Event.GetTypeUrl(),
		"domain": events.Cover.GetDomain(), "aggregate": events.Cover.GetAggregateId(), "correlation_id": events.CorrelationId,
	}
}

func same(first, second proto.Message) error {
	if difference := cmp.Diff(first, second, protocmp.Transform()); difference != "" {
		return fmt.Errorf("they differ (-first +second):\n%s", difference)
	}
	return nil
}

func equal(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// fields are what a command book given as a table may hold.
var fields = map[string]func(command *pb.CommandBook, value string) error{
	"domain":       func(c *pb.CommandBook, value string) error { cover(c).Domain = value; return nil },
	"aggregate_id": func(c *pb.CommandBook, value string) error { cover(c).AggregateId = value; return nil },
	"root": func(c *pb.CommandBook, value string) error {
		raw, err := hex.DecodeString(strings.ReplaceAll(value, "-", ""))
		cover(c).Root = &pb.UUID{Value: raw}
		return err
	},
	"type_url": func(c *pb.CommandBook, value string) error {
		c.Pages = append(c.Pages, &pb.CommandPage{Command: anyOf(value)})
		return nil
	},
	"payload": func(c *pb.CommandBook, value string) (err error) {
		c.Pages[len(c.Pages)-1].Command.Value, err = hex.DecodeString(value)
		return err
	},
	"empty_page": func(c *pb.CommandBook, _ string) error {
		c.Pages = append(c.Pages, &pb.CommandPage{})
		return nil
	},
	"unknown_field": func(c *pb.CommandBook, value string) error {
		raw, err := hex.DecodeString(value)
		c.ProtoReflect().SetUnknown(raw)
		return err
	},
	"correlation_id":  func(c *pb.CommandBook, value string) error { c.CorrelationId = value; return nil },
	"auto_resequence": func(c *pb.CommandBook, value string) error { c.AutoResequence = value == "true"; return nil },
	"fact":            func(c *pb.CommandBook, value string) error { c.Fact = value == "true"; return nil },
}

func cover(command *pb.CommandBook) *pb.Cover {
	if command.Cover == nil {
		command.Cover = &pb.Cover{}
	}
	return command.Cover
}

func (w *world) commandBook(table *godog.Table) error {
	w.book = &pb.CommandBook{}
	for _, row := range table.Rows {
		name, value := row.Cells[0].Value, row.Cells[1].Value
		set, ok := fields[name]
		if !ok {
			return fmt.Errorf("a command book cannot be given a %q", name)
		}
		if value == "" {
			continue
		}
		if err := set(w.book, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (w *world) sendBook(rest string) error {
	if err := w.start(); err != nil {
		return err
	}
	o := &order{command: w.book, key: book.Key{Domain: w.book.GetCover().GetDomain()}, waits: true, deadline: patience, role: "gateway"}
	for rest != "" {
		var err error
		if rest, err = o.extra(rest); err != nil {
			return err
		}
	}
	return w.dispatch(o)
}

func (w *world) correlationOfBook(wanted string) error {
	found, err := book.CorrelationID(w.book)
	if err == nil && found != wanted {
		err = fmt.Errorf("it is %s", found)
	}
	return err
}

func (w *world) answerCarries(wanted string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	if found := sent.response.GetEvents().GetCorrelationId(); found != wanted {
		return fmt.Errorf("it carries %q", found)
	}
	return sent.err
}

func (w *world) answerIsFor(root string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	found, err := uuid.FromBytes(sent.response.GetEvents().GetCover().GetRoot().GetValue())
	if err == nil && found.String() != root {
		err = fmt.Errorf("it is for %s", found)
	}
	return errors.Join(err, sent.err)
}

func (w *world) answerIsNamed(name string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	if found := sent.response.GetEvents().GetCover().GetAggregateId(); found != name {
		return fmt.Errorf("it is named %q", found)
	}
	return sent.err
}
