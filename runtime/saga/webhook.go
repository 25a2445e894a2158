package saga

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// The bounds of telling one failed compensation: about twenty seconds at the
// worst, during which later events of the same aggregate wait.
const (
	hookAttempts = 5
	hookTime     = 15 * time.Second // after which no attempt begins
	hookTimeout  = 5 * time.Second  // of one attempt
	hookPause    = 250 * time.Millisecond
)

// The headers of a request to a hook.
const (
	headerKey       = "Idempotency-Key"
	headerTime      = "Angz-Timestamp"
	headerSignature = "Angz-Signature"
)

// Hook is an address outside that is told of failed compensations by HTTP POST
// with a JSON body. It is safe for concurrent use.
type Hook struct {
	URL string // as good as a password: it is not in logs and errors
	// Secret signs the requests, so that the other side can tell that they are
	// from here; empty for none. See Sign.
	Secret string
	// Key is the key of the configuration that holds the address, for errors.
	Key    string
	Client *http.Client // nil for one of its own
}

// Webhook returns an Escalate that posts to an address, see Hook.
func Webhook(address string, client *http.Client) Tell {
	return Hook{URL: address, Client: client, Key: "saga_compensation.escalation_webhook_url"}.Escalate
}

// failure is what a hook is told: enough to find the case.
type failure struct {
	ID                 string    `json:"id"` // the same whenever this failure is told
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
	// Failed is the whole SagaCompensationFailed as base64 of its protobuf
	// encoding; for queues only, because people need not see what commands carry.
	Failed []byte `json:"saga_compensation_failed,omitempty"`
}

func newFailure(failed *pb.SagaCompensationFailed) failure {
	source, command := failed.GetTriggeringAggregate(), failed.GetRejectedCommand()
	told := failure{
		ID: ID(failed), Saga: failed.SagaName, Domain: source.GetDomain(), Root: hex.EncodeToString(source.GetRoot().GetValue()),
		AggregateID: source.GetAggregateId(), Sequence: failed.TriggeringEventSequence, CorrelationID: command.GetCorrelationId(),
		CommandDomain: command.GetCover().GetDomain(), RejectionReason: failed.RejectionReason,
		CompensationReason: failed.CompensationFailureReason, OccurredAt: failed.OccurredAt.AsTime(),
	}
	if pages := command.GetPages(); len(pages) > 0 {
		told.CommandType = book.TypeName(pages[0].GetCommand().GetTypeUrl())
	}
	return told
}

// Escalate posts what a person has to know, and nothing of what the command
// carries. It tries again for a bounded time unless the answer says that this is
// of no use.
func (h Hook) Escalate(ctx context.Context, failed *pb.SagaCompensationFailed) error {
	return h.tell(ctx, newFailure(failed))
}

// Keep posts a dead letter: the same with the whole failure, so that a program can
// send the command again.
func (h Hook) Keep(ctx context.Context, failed *pb.SagaCompensationFailed) error {
	encoded, err := proto.Marshal(failed)
	if err != nil {
		return fmt.Errorf("write the failed compensation: %w", err)
	}
	told := newFailure(failed)
	told.Failed = encoded
	return h.tell(ctx, told)
}

func (h Hook) tell(ctx context.Context, told failure) error {
	body, err := json.Marshal(told)
	if err != nil {
		return fmt.Errorf("write the failed compensation: %w", err)
	}
	client := h.client()
	delays := &backoff.ExponentialBackOff{InitialInterval: hookPause, RandomizationFactor: 0.3, Multiplier: 3, MaxInterval: hookTimeout}
	attempts := 0
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		attempts++
		return struct{}{}, h.post(ctx, client, told.ID, body)
	}, backoff.WithBackOff(delays), backoff.WithMaxTries(hookAttempts), backoff.WithMaxElapsedTime(hookTime))
	if err != nil && attempts > 1 {
		return fmt.Errorf("after %d attempts: %w", attempts, err)
	}
	return err
}

// client returns the client without following redirects: they would take the
// address to somebody else.
func (h Hook) client() *http.Client {
	client := http.Client{}
	if h.Client != nil {
		client = *h.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

func (h Hook) post(ctx context.Context, client *http.Client, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(fmt.Errorf("the address of the webhook is not a URL: check %s", h.Key))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(headerKey, id)
	if h.Secret != "" {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		request.Header.Set(headerTime, now)
		request.Header.Set(headerSignature, Sign(h.Secret, now, body))
	}
	response, err := client.Do(request)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		// The address of a webhook is often its password.
		return fmt.Errorf("call the webhook: %w", failed.Err)
	}
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	defer response.Body.Close()
	const enough = 64 << 10 // to use the connection again
	_, _ = io.CopyN(io.Discard, response.Body, enough)
	return h.verdict(response)
}

// verdict says what an answer means.
func (h Hook) verdict(response *http.Response) error {
	code := response.StatusCode
	err := fmt.Errorf("the webhook answered %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return nil
	case code < 400:
		return backoff.Permanent(fmt.Errorf("%w: put the address that it names into %s", err, h.Key))
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return err
	}
	return backoff.Permanent(err)
}

// Sign returns the signature of a request: "sha256=" and, in hexadecimal, the
// HMAC-SHA256 with the secret of the time in the header Angz-Timestamp (seconds
// since 1970), a dot, and the body. A receiver computes the same, compares in
// constant time, and refuses times that are long past.
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
