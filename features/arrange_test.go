package features_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/cucumber/godog"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus/bustest"
	"github.com/angz-dev/angz/runtime/delivery"
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
	info, err := w.system.Store().Aggregate(w.ctx, key)
	if err != nil {
		return err
	}
	_, err = w.system.Store().Append(w.ctx, w.event(key, aggregate, info.Next, eventType))
	return err
}

func (w *world) badBus(how string) {
	switch how {
	case "doubles":
		w.faults = &bustest.Faults{Seed: 1, Double: 1}
	case "loses":
		w.faults = &bustest.Faults{Seed: 1, Drop: 1, LoseNewest: true}
	default:
		w.faults = &bustest.Faults{Seed: 1, Drop: 0.3, Double: 0.3, Delay: 0.3}
	}
}

// everythingHasSettled waits until every projector and saga has recorded that it
// has handled all events it wants: what they cause is then in the log as well.
func (w *world) everythingHasSettled() error {
	if err := w.start(); err != nil {
		return err
	}
	wishes := map[string][]string{}
	for _, service := range append(append([]*standIn(nil), w.projectors...), w.sagas...) {
		wishes[service.subscription()] = w.configs[service.kind+service.name].Domains
	}
	var log []eventstore.Event
	return w.until(func() error {
		// The positions before the log: then what handled events caused is in it.
		positions, err := w.system.Store().Positions(w.ctx)
		if err != nil {
			return err
		}
		head, err := w.system.Head(w.ctx)
		if err != nil {
			return err
		}
		if log, err = readOn(w.ctx, w.system.Store(), log, head); err != nil {
			return err
		}
		return settled(wishes, positions, log)
	})
}

// readOn adds to a log that was read before what has come up to a position.
func readOn(ctx context.Context, store eventstore.Log, log []eventstore.Event, to uint64) ([]eventstore.Event, error) {
	for {
		after := uint64(0)
		if len(log) > 0 {
			after = log[len(log)-1].Position
		}
		if after >= to {
			return log, nil
		}
		events, err := store.ReadLog(ctx, after, 1000)
		if err == nil && len(events) == 0 {
			err = fmt.Errorf("the log ends at %d, its reader has heard of %d", to, after)
		}
		if err != nil {
			return log, err
		}
		log = append(log, events...)
	}
}

// settled says which subscriptions have not recorded an event that they want.
// Slices without any may stand anywhere.
func settled(wishes map[string][]string, positions []eventstore.Position, log []eventstore.Event) error {
	begun := map[string]bool{}
	for _, at := range positions {
		begun[at.Name] = true
		domains, waited := wishes[at.Name]
		for _, event := range log {
			if waited && event.Position > at.Position && delivery.Wants(domains, event.Key.Domain) && eventstore.SliceOf(event.Key, at.Slices) == at.Slice {
				return fmt.Errorf("still at work: slice %d of %s stands at %d, before event %d of %s", at.Slice, at.Name, at.Position, event.Sequence, event.Key)
			}
		}
	}
	for name := range wishes {
		if !begun[name] {
			return fmt.Errorf("still at work: %s has not begun", name)
		}
	}
	return nil
}

func (w *world) restart() error {
	if err := w.stop(); err != nil {
		return err
	}
	return w.start()
}

// dieUnrecorded ends angz when the component has done what it is doing now, and
// before that is recorded, and runs it again.
func (w *world) dieUnrecorded(kind, name string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	if err := w.until(service.isAtWork); err != nil {
		return err
	}
	if err := w.system.dieUnrecorded(w, service); err != nil {
		return err
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
