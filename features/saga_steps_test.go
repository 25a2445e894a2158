package features_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"github.com/cucumber/godog"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// sagaSteps are the sentences about sagas and compensation.
func (w *world) sagaSteps(steps *godog.ScenarioContext) {
	steps.Step(`^a saga "([^"]*)" from "([^"]*)" that reacts with:$`, w.saga)
	steps.Step(`^the business logic of "([^"]*)" has received the revocation request:$`, w.receivedRevocation)
	steps.Step(`^no failed compensation is stored$`, func() error { return w.failedCompensations(&godog.Table{}) })
	steps.Step(`^the failed compensations stored are:$`, w.failedCompensations)
	steps.Step(`^an escalation webhook$`, w.escalationWebhook)
	steps.Step(`^an escalation webhook that answers (\d+) the first (\d+) times$`, w.failingWebhook)
	steps.Step(`^the webhook has been told:$`, w.webhookTold)
	steps.Step(`^the webhook has been told nothing$`, func() error {
		if told := w.webhook.told(); len(told) > 0 {
			return fmt.Errorf("it has been told %v", told)
		}
		return nil
	})
}

func (w *world) saga(name, domain string, table *godog.Table) error {
	rows, err := rowsOf(table, "event", "command", "aggregate", "domain")
	if err != nil {
		return err
	}
	added := newStandIn("saga", name, w.happen)
	for _, row := range rows {
		w.homes[row["aggregate"]] = row["domain"]
		command := runtimetest.Command(row["domain"], row["aggregate"], 0, row["command"])
		command.AutoResequence = row["auto_resequence"] != "false"
		if text := row["sequence"]; text != "" {
			sequence, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return err
			}
			command.Pages[0].Sequence = uint32(sequence)
		}
		added.reactions = append(added.reactions, reaction{row["event"], command})
	}
	added.service = runtimetest.Saga(w.t, added.react)
	w.sagas = append(w.sagas, added)
	w.wants(added, domain)
	return nil
}

// receivedRevocation waits for a RevokeEventCommand and compares it field by
// field.
func (w *world) receivedRevocation(domain string, table *godog.Table) error {
	service, err := find(w.domains, domain)
	if err != nil {
		return err
	}
	return w.until(func() error {
		requests := service.requests("RevokeEventCommand")
		if len(requests) == 0 {
			return errors.New("it has received none")
		}
		command := requests[len(requests)-1].Command
		revoke := &pb.RevokeEventCommand{}
		if err := command.Pages[0].Command.UnmarshalTo(revoke); err != nil {
			return err
		}
		return compareFields(table, map[string]string{
			"aggregate": command.Cover.GetAggregateId(), "correlation_id": command.CorrelationId,
			"auto_resequence": fmt.Sprint(command.AutoResequence), "fact": fmt.Sprint(command.Fact),
			"triggering_event_sequence": fmt.Sprint(revoke.TriggeringEventSequence), "saga_name": revoke.SagaName,
			"rejection_reason": revoke.RejectionReason, "rejected_command": commandName(revoke.RejectedCommand),
		})
	})
}

// compareFields checks a table of names and values.
func compareFields(table *godog.Table, found map[string]string) error {
	for _, row := range table.Rows {
		name, wanted := row.Cells[0].Value, row.Cells[1].Value
		value, known := found[name]
		if !known || value != wanted {
			return fmt.Errorf("%s is %q", name, value)
		}
	}
	return nil
}

// failedCompensations compares everything that is stored in the domain of
// failures.
func (w *world) failedCompensations(table *godog.Table) error {
	rows, err := rowsOf(table, "aggregate", "sequence", "saga", "rejection", "failure", "command")
	if err != nil {
		return err
	}
	failed, err := w.storedFailures()
	if err != nil {
		return err
	}
	if len(failed) != len(rows) {
		return fmt.Errorf("there are %d: %v", len(failed), failed)
	}
	for i, row := range rows {
		one := failed[i]
		found := map[string]string{
			"aggregate": one.TriggeringAggregate.GetAggregateId(), "sequence": fmt.Sprint(one.TriggeringEventSequence), "saga": one.SagaName,
			"rejection": one.RejectionReason, "failure": one.CompensationFailureReason, "command": commandName(one.RejectedCommand),
		}
		for column, wanted := range row {
			if found[column] != wanted {
				return fmt.Errorf("its %s is %q", column, found[column])
			}
		}
	}
	return nil
}

func (w *world) storedFailures() ([]*pb.SagaCompensationFailed, error) {
	domain := "angzarr.saga-failures"
	if other, ok := w.set["saga_compensation.fallback_domain"]; ok {
		domain = other
	}
	roots, err := w.system.Store().Roots(w.ctx, book.Key{}, 1000)
	if err != nil {
		return nil, err
	}
	var failed []*pb.SagaCompensationFailed
	for _, root := range roots {
		if root.Key.Domain != domain {
			continue
		}
		events, err := w.system.Store().Events(w.ctx, root.Key, eventstore.All)
		if err != nil {
			return nil, err
		}
		for _, page := range eventstore.Pages(events) {
			one := &pb.SagaCompensationFailed{}
			if err := page.Event.UnmarshalTo(one); err != nil {
				return nil, err
			}
			failed = append(failed, one)
		}
	}
	return failed, nil
}

// webhook is a person's telephone.
type webhook struct {
	mu    sync.Mutex
	calls []map[string]any
	fails int // how many calls it does not take yet
	code  int // with which it answers those
}

func (h *webhook) told() []map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]map[string]any(nil), h.calls...)
}

func (h *webhook) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails > 0 {
		h.fails--
		answer.WriteHeader(h.code)
		return
	}
	call := map[string]any{}
	if err := json.NewDecoder(request.Body).Decode(&call); err != nil {
		call["error"] = err.Error()
	}
	h.calls = append(h.calls, call)
}

func (w *world) escalationWebhook() { w.failingWebhook(0, 0) }

func (w *world) failingWebhook(code, fails int) {
	w.webhook = &webhook{code: code, fails: fails}
	server := httptest.NewServer(w.webhook)
	w.t.Cleanup(server.Close)
	w.set["saga_compensation.escalation_webhook_url"] = server.URL
}

func (w *world) webhookTold(table *godog.Table) error {
	told := w.webhook.told()
	if len(told) != 1 {
		return fmt.Errorf("it has been told %d times: %v", len(told), told)
	}
	found := map[string]string{}
	for name, value := range told[0] {
		found[name] = strings.TrimSuffix(fmt.Sprint(value), ".0")
	}
	return compareFields(table, found)
}
