package features_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cucumber/godog"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// followerSteps are the sentences about projectors, and about what projectors
// and sagas have in common.
func (w *world) followerSteps(steps *godog.ScenarioContext) {
	steps.Step(`^a projector "([^"]*)"(?: of domain "([^"]*)")?$`, func(name, domain string) { w.addProjector(name, domain) })
	steps.Step(`^a projector "([^"]*)"(?: of domain "([^"]*)")? that (is synchronous|wants the full history)$`, w.projectorThat)
	steps.Step(`^the (projector|saga) "([^"]*)" refuses "([^"]*)" with ([A-Z_]+) "(.*)"$`, w.refuses)
	steps.Step(`^the (projector|saga) "([^"]*)" has handled the events (\d+) to (\d+) of aggregate "([^"]*)" once each, in order$`, w.handledOnce)
	steps.Step(`^the (projector|saga) "([^"]*)" has handled (\d+) events? of `+someAggregate+`$`, w.handledCount)
	steps.Step(`^the (projector|saga) "([^"]*)" has received the books:$`, w.receivedBooks)
	steps.Step(`^the (projector|saga) "([^"]*)" has been called (\d+) times? for (?:"([^"]*)" of )?aggregate "([^"]*)"$`, w.calledFor)
	steps.Step(`^the events (\d+) to (\d+) of aggregate "([^"]*)" are handed to the projector "([^"]*)" under correlation "([^"]*)"( to be awaited| in passing)?$`, w.handOver)
	steps.Step(`^the book is taken$`, w.bookTaken)
	steps.Step(`^the book is refused with ([A-Z_]+) and says "(.*)"$`, w.bookRefused)
	steps.Step(`^the dead letters of "([^"]*)" are:$`, w.deadLetters)
	steps.Step(`^there are no dead letters of "([^"]*)"$`, func(subscription string) error {
		return w.deadLetters(subscription, &godog.Table{})
	})
}

func (w *world) addProjector(name, domain string) {
	added := newStandIn("projector", name, w.happen)
	added.service = runtimetest.Projector(w.t, added.project)
	w.projectors = append(w.projectors, added)
	w.wants(added, domain)
}

// wants says of which domain a projector or saga gets the events; none means all.
func (w *world) wants(follower *standIn, domain string) {
	configured := config.Service{}
	if domain != "" {
		configured.Domains = []string{domain}
	}
	w.configs[follower.kind+follower.name] = configured
}

func (w *world) projectorThat(name, domain, what string) {
	w.addProjector(name, domain)
	configured := w.configs["projector"+name]
	if what == "is synchronous" {
		configured.Synchronous = true
	} else {
		configured.History = "full"
	}
	w.configs["projector"+name] = configured
}

func (w *world) refuses(kind, name, event, code, message string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	refusal, err := statusOf(code, message)
	if err != nil {
		return err
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	service.refusals[event] = refusal.Err()
	return nil
}

// of returns the books about one aggregate.
func of(key book.Key, books []*pb.EventBook) []*pb.EventBook {
	return slices.DeleteFunc(books, func(events *pb.EventBook) bool {
		found, err := book.KeyOf(events.Cover)
		return err != nil || found != key
	})
}

func pagesOf(books []*pb.EventBook) []*pb.EventPage {
	var pages []*pb.EventPage
	for _, events := range books {
		pages = append(pages, events.Pages...)
	}
	return pages
}

func (w *world) handledOnce(kind, name string, first, last int, aggregate string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	key := w.key(aggregate, "")
	return w.until(func() error {
		return consecutive(pagesOf(of(key, service.books())), first, last-first+1)
	})
}

func (w *world) handledCount(kind, name string, count int, aggregate, domain string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	if found := len(pagesOf(of(w.key(aggregate, domain), service.books()))); found != count {
		return fmt.Errorf("it has handled %d", found)
	}
	return nil
}

func (w *world) receivedBooks(kind, name string, table *godog.Table) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	rows, err := rowsOf(table, "first", "last", "correlation_id")
	if err != nil {
		return err
	}
	var wanted, found []string
	for _, row := range rows {
		wanted = append(wanted, row["first"]+" to "+row["last"]+" under "+row["correlation_id"])
	}
	for _, events := range service.books() {
		found = append(found, fmt.Sprintf("%d to %d under %s", book.First(events), book.Last(events), events.CorrelationId))
	}
	if !slices.Equal(wanted, found) {
		return fmt.Errorf("it has received %v", found)
	}
	return nil
}

func (w *world) calledFor(kind, name string, times int, event, aggregate string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	key, calls := w.key(aggregate, ""), 0
	service.mu.Lock()
	defer service.mu.Unlock()
	for _, message := range service.received {
		events := message.(*pb.EventBook)
		found, err := book.KeyOf(events.Cover)
		if err == nil && found == key && (event == "" || book.ShortName(events.Pages[0].Event.TypeUrl) == event) {
			calls++
		}
	}
	if calls != times {
		return fmt.Errorf("it has been called %d times", calls)
	}
	return nil
}

func (w *world) handOver(first, last int, aggregate, projector, correlation, awaited string) error {
	if err := w.start(); err != nil {
		return err
	}
	key := w.key(aggregate, "")
	events := &pb.EventBook{Cover: key.Cover(aggregate), CorrelationId: correlation}
	for i := first; i <= last; i++ {
		events.Pages = append(events.Pages, &pb.EventPage{
			Sequence: &pb.EventPage_Num{Num: uint32(i)}, Event: anyOf("type.googleapis.com/ItemAdded"),
		})
	}
	conn, ok := w.system.Projector(projector)
	if !ok {
		return fmt.Errorf("there is no projector %q", projector)
	}
	coordinator := pb.NewProjectorCoordinatorClient(conn)
	var err error
	if awaited == " to be awaited" {
		_, err = coordinator.HandleSync(w.ctx, &pb.SyncEventBook{Events: events, SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
	} else {
		_, err = coordinator.Handle(w.ctx, events)
	}
	w.handed = append(w.handed, err)
	return nil
}

func (w *world) bookTaken() error { return w.handed[len(w.handed)-1] }

func (w *world) bookRefused(code, part string) error {
	return checkStatus(w.handed[len(w.handed)-1], code, func(found string) bool { return strings.Contains(found, part) })
}

// deadLetters waits until exactly these are recorded: aggregate, sequence,
// attempts, and a part of the reason.
func (w *world) deadLetters(subscription string, table *godog.Table) error {
	rows, err := rowsOf(table, "aggregate", "sequence", "attempts", "reason")
	if err != nil {
		return err
	}
	return w.until(func() error {
		parked, err := w.system.Store().Parked(w.ctx, eventstore.ParkedQuery{
			Subscription: subscription, States: []eventstore.State{eventstore.StateParked}, Limit: 100,
		})
		if err != nil {
			return err
		}
		matches := len(parked) == len(rows)
		for i := 0; matches && i < len(rows); i++ {
			row := rows[i]
			matches = parked[i].Key == w.key(row["aggregate"], "") && strconv.Itoa(int(parked[i].Sequence)) == row["sequence"] &&
				strconv.Itoa(parked[i].Attempts) == row["attempts"] && strings.Contains(parked[i].Reason, row["reason"])
		}
		if !matches {
			return errors.New("they are " + fmt.Sprintf("%+v", parked))
		}
		return nil
	})
}
