package saga

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// escalation is what the webhook is told: enough to find the case, and nothing
// of what the command carries.
type escalation struct {
	Saga               string    `json:"saga"`
	Domain             string    `json:"domain"`
	Root               string    `json:"root"`
	AggregateID        string    `json:"aggregate_id,omitempty"`
	Sequence           uint32    `json:"sequence"`
	CorrelationID      string    `json:"correlation_id"`
	CommandDomain      string    `json:"command_domain"`
	CommandType        string    `json:"command_type"`
	RejectionReason    string    `json:"rejection_reason"`
	CompensationReason string    `json:"compensation_failure_reason"`
	OccurredAt         time.Time `json:"occurred_at"`
}

func newEscalation(failed *pb.SagaCompensationFailed) escalation {
	source, command := failed.GetTriggeringAggregate(), failed.GetRejectedCommand()
	told := escalation{
		Saga: failed.SagaName, Domain: source.GetDomain(), Root: hex.EncodeToString(source.GetRoot().GetValue()),
		AggregateID: source.GetAggregateId(), Sequence: failed.TriggeringEventSequence, CorrelationID: command.GetCorrelationId(),
		CommandDomain: command.GetCover().GetDomain(), RejectionReason: failed.RejectionReason,
		CompensationReason: failed.CompensationFailureReason, OccurredAt: failed.OccurredAt.AsTime(),
	}
	if pages := command.GetPages(); len(pages) > 0 {
		told.CommandType = book.TypeName(pages[0].GetCommand().GetTypeUrl())
	}
	return told
}

// Webhook returns an Escalate that posts the failure as JSON to an address. It
// tries for about ten seconds; a 4xx answer is final.
func Webhook(address string, client *http.Client) func(context.Context, *pb.SagaCompensationFailed) error {
	return func(ctx context.Context, failed *pb.SagaCompensationFailed) error {
		body, err := json.Marshal(newEscalation(failed))
		if err != nil {
			return fmt.Errorf("write the escalation: %w", err)
		}
		_, err = backoff.Retry(ctx, func() (struct{}, error) {
			return struct{}{}, post(ctx, client, address, body)
		}, backoff.WithMaxElapsedTime(10*time.Second))
		return err
	}
}

func post(ctx context.Context, client *http.Client, address string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(errors.New("the address of the webhook is not a URL: check saga_compensation.escalation_webhook_url"))
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		// The address of a webhook is often its password.
		return fmt.Errorf("call the webhook: %w", failed.Err)
	}
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("the webhook answered %s", response.Status)
	if response.StatusCode >= 400 && response.StatusCode < 500 {
		return backoff.Permanent(err)
	}
	return err
}
