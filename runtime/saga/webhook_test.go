package saga_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/saga"
)

// hook is a person's webhook, which answers with these codes one after the
// other, the last one for ever.
func hook(t *testing.T, answers ...int) (address string, requests <-chan string) {
	t.Helper()
	told := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", r.Method, r.Header, err)
		}
		told <- string(body)
		w.WriteHeader(answers[0])
		if len(answers) > 1 {
			answers = answers[1:]
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/token", told
}

func failed() *pb.SagaCompensationFailed {
	return &pb.SagaCompensationFailed{
		TriggeringAggregate: key.Cover("o1"), TriggeringEventSequence: 3, SagaName: "reserve", RejectionReason: "sold", CompensationFailureReason: "too late",
		RejectedCommand: sent(command("p1"), 3, 0), OccurredAt: timestamppb.New(time.Unix(1, 0)),
	}
}

func TestAWebhookIsToldWhereToLook(t *testing.T) {
	t.Parallel()
	address, requests := hook(t, 204)
	if err := saga.Webhook(address, http.DefaultClient)(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(<-requests), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"saga": "reserve", "domain": "order", "root": strings.ReplaceAll(uuid.UUID{15: 1}.String(), "-", ""), "aggregate_id": "o1", "sequence": 3.0,
		"correlation_id": "c", "command_domain": "stock", "command_type": "Reserve", "rejection_reason": "sold",
		"compensation_failure_reason": "too late", "occurred_at": "1970-01-01T00:00:01Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAWebhookThatFailsIsTriedAgainUnlessItRefuses(t *testing.T) {
	t.Parallel()
	address, requests := hook(t, 503, 200)
	if err := saga.Webhook(address, http.DefaultClient)(t.Context(), &pb.SagaCompensationFailed{}); err != nil || len(requests) != 2 {
		t.Errorf("%v after %d requests", err, len(requests))
	}
	address, requests = hook(t, 404)
	err := saga.Webhook(address, http.DefaultClient)(t.Context(), failed())
	if err == nil || err.Error() != "the webhook answered 404 Not Found" || len(requests) != 1 {
		t.Errorf("%v after %d requests", err, len(requests))
	}
}

func TestTheAddressOfAWebhookIsNotTold(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://127.0.0.1:1/secret", "\x00secret"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := saga.Webhook(address, http.DefaultClient)(ctx, failed())
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
