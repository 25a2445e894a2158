package features_test

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cucumber/godog"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// arrangeSteps are the sentences about the world before and around what is
// tested.
func (w *world) arrangeSteps(steps *godog.ScenarioContext) {
	steps.Step(`^the configuration "([^"]*)" is "([^"]*)"$`, w.configurationIs)
	steps.Step(`^prior events for aggregate "([^"]*)" in domain "([^"]*)":$`, w.priorEvents)
	steps.Step(`^(\d+) prior events for aggregate "([^"]*)" in domain "([^"]*)"$`, w.manyPriorEvents)
	steps.Step(`^another process appends an? "([^"]*)" event to aggregate "([^"]*)"$`, w.anotherProcessAppends)
	steps.Step(`^a bus that (drops, doubles and reorders|doubles|loses) messages$`, w.badBus)
	steps.Step(`^everything has settled$`, w.everythingHasSettled)
	steps.Step(`^the node is restarted$`, w.restart)
	steps.Step(`^the node dies before it records what the (saga|projector) "([^"]*)" has done$`, w.dieUnrecorded)
}

func (w *world) configurationIs(key, value string) { w.set[key] = value }

func (w *world) priorEvents(aggregate, domain string, table *godog.Table) error {
	rows, err := rowsOf(table, "sequence", "event_type")
	if err != nil {
		return err
	}
	w.domain(domain)
	for _, row := range rows {
		sequence, err := strconv.ParseUint(row["sequence"], 10, 32)
		if err != nil {
			return err
		}
		prior := w.event(w.key(aggregate, domain), aggregate, uint32(sequence), row["event_type"])
		if text := row["created_at"]; text != "" {
			if prior.Events[0].CreatedAt, err = time.Parse(time.RFC3339, text); err != nil {
				return err
			}
		}
		w.prior = append(w.prior, prior)
	}
	return nil
}

func (w *world) manyPriorEvents(count int, aggregate, domain string) {
	w.domain(domain)
	for i := range count {
		w.prior = append(w.prior, w.event(w.key(aggregate, domain), aggregate, uint32(i), "ItemAdded"))
	}
}

// event is one event as another process would have stored it.
func (w *world) event(key book.Key, name string, sequence uint32, eventType string) eventstore.Append {
	return eventstore.Append{
		CommandID: uuid.New(), Key: key, Name: book.Name(name), Next: sequence, CorrelationID: "prior-" + strconv.Itoa(int(sequence)),
		Events: []eventstore.NewEvent{{TypeURL: "type.googleapis.com/" + eventType, Payload: []byte{}, CreatedAt: time.Now()}},
	}
}

func (w *world) anotherProcessAppends(eventType, aggregate string) error {
	if err := w.start(); err != nil {
		return err
	}
	key := w.key(aggregate, "")
	info, err := w.node.Store().Aggregate(w.ctx, key)
	if err != nil {
		return err
	}
	_, err = w.node.Store().Append(w.ctx, w.event(key, aggregate, info.Next, eventType))
	return err
}

func (w *world) badBus(how string) {
	switch how {
	case "doubles":
		w.bus.faults = &bustest.Faults{Seed: 1, Double: 1}
	case "loses":
		w.bus.faults = &bustest.Faults{Seed: 1, Drop: 1, LoseNewest: true}
	default:
		w.bus.faults = &bustest.Faults{Seed: 1, Drop: 0.3, Double: 0.3, Delay: 0.3}
	}
}

// everythingHasSettled waits until every projector and saga has recorded that it
// has handled the whole log: what they cause is then in the log as well.
func (w *world) everythingHasSettled() error {
	if err := w.start(); err != nil {
		return err
	}
	var components []string
	for _, service := range append(append([]*standIn(nil), w.projectors...), w.sagas...) {
		components = append(components, service.kind+"/"+service.name)
	}
	return w.until(func() error {
		if behind := w.bus.behind(components, w.node.Store().Head()); len(behind) > 0 {
			return fmt.Errorf("still at work: %v", behind)
		}
		return nil
	})
}

func (w *world) restart() error {
	if err := w.stop(); err != nil {
		return err
	}
	return w.start()
}

// dieUnrecorded takes the component's place over, as a second process would, so
// that what it is doing now is done but never recorded, and runs the node again.
func (w *world) dieUnrecorded(kind, name string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	if err := w.until(service.isAtWork); err != nil {
		return err
	}
	if _, err := w.node.Store().Claim(w.ctx, kind+"/"+name); err != nil {
		return err
	}
	died := w.node.done
	service.release()
	select {
	case err = <-died:
	case <-time.After(patience):
		return errors.New("the node goes on although another process has taken over")
	}
	w.node.done <- nil
	if !errors.Is(err, eventstore.ErrFenced) {
		return fmt.Errorf("the node ended with %w", err)
	}
	return w.restart()
}

// key returns the aggregate that a sentence speaks of. Without a domain it is
// the one in which the aggregate was last spoken of, else the first of all.
func (w *world) key(aggregate, domain string) book.Key {
	if domain == "" {
		domain = w.homes[aggregate]
	}
	if domain == "" && len(w.domains) > 0 {
		domain = w.domains[0].name
	}
	w.homes[aggregate] = domain
	return book.Key{Domain: domain, Root: book.Root(domain, aggregate)}
}

// rowsOf returns the rows of a table by the names of its columns, of which these
// must be there.
func rowsOf(table *godog.Table, required ...string) ([]map[string]string, error) {
	var rows []map[string]string
	for i, cells := range table.Rows {
		if i == 0 {
			continue
		}
		row := map[string]string{}
		for j, cell := range cells.Cells {
			row[table.Rows[0].Cells[j].Value] = cell.Value
		}
		for _, column := range required {
			if _, ok := row[column]; !ok {
				return nil, fmt.Errorf("the table needs a column %q", column)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}
