package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
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
		"id": saga.ID(failed()), "saga": "reserve", "domain": "order", "root": strings.ReplaceAll(uuid.UUID{15: 1}.String(), "-", ""), "aggregate_id": "o1", "sequence": 3.0,
		"correlation_id": "c", "command_domain": "stock", "command_type": "Reserve", "rejection_reason": "sold",
		"compensation_failure_reason": "too late", "occurred_at": "1970-01-01T00:00:01Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAWebhookThatFailsIsTriedAgainUnlessItRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []int
		calls   int
		want    string // of the error, empty for none
	}{
		"once":            {[]int{503, 200}, 2, ""},
		"several times":   {[]int{500, 429, 408, 425, 204}, 5, ""},
		"for ever":        {[]int{503}, 5, "after 5 attempts: the webhook answered 503 Service Unavailable"},
		"refused":         {[]int{404}, 1, "the webhook answered 404 Not Found"},
		"refused in time": {[]int{502, 401}, 2, "after 2 attempts: the webhook answered 401 Unauthorized"},
		"moved":           {[]int{302}, 1, "the webhook answered 302 Found: put the address that it names into saga_compensation.escalation_webhook_url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := &calls{answers: c.answers}
				began := time.Now()
				err := saga.Webhook("https://hooks.example/secret", &http.Client{Transport: calls})(t.Context(), failed())
				if (err != nil) != (c.want != "") || err != nil && err.Error() != c.want || len(calls.headers) != c.calls {
					t.Errorf("%v after %d requests", err, len(calls.headers))
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				for _, header := range calls.headers {
					if key := header.Get("Idempotency-Key"); key != saga.ID(failed()) || header.Get("Angz-Signature") != "" {
						t.Errorf("told with %v", header)
					}
				}
			})
		})
	}
}

// calls answers requests without a network, with these codes one after the
// other, the last one for ever; 0 never answers.
type calls struct {
	answers []int
	headers []http.Header
	bodies  [][]byte
}

func (c *calls) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	c.headers, c.bodies = append(c.headers, request.Header), append(c.bodies, body)
	code := c.answers[min(len(c.headers), len(c.answers))-1]
	if code == 0 {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	header := http.Header{"Location": {"https://elsewhere.example/"}}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))), Request: request}, nil
}

func TestAWebhookThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := saga.Webhook("https://hooks.example/secret", &http.Client{Transport: &calls{answers: []int{0}}})(t.Context(), failed())
		if took := time.Since(began); err == nil || took > 20*time.Second || took < 5*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began = time.Now()
		err = saga.Webhook("https://hooks.example/secret", &http.Client{Transport: &calls{answers: []int{0}}})(ctx, failed())
		if took := time.Since(began); err == nil || took != time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestARequestIsSignedWithTheSecret(t *testing.T) {
	t.Parallel()
	calls := &calls{answers: []int{200}}
	hook := saga.Hook{URL: "https://hooks.example/", Secret: "s3cret", Client: &http.Client{Transport: calls}}
	if err := hook.Escalate(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	header := calls.headers[0]
	if want := saga.Sign("s3cret", header.Get("Angz-Timestamp"), calls.bodies[0]); header.Get("Angz-Signature") != want {
		t.Errorf("signed with %v, want %s", header, want)
	}
	// As anybody computes it: printf '1.{}' | openssl dgst -sha256 -hmac key
	if got := saga.Sign("key", "1", []byte("{}")); got != "sha256=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224" {
		t.Error(got)
	}
}

func TestAQueueIsGivenTheWholeFailure(t *testing.T) {
	t.Parallel()
	calls := &calls{answers: []int{200}}
	if err := (saga.Hook{URL: "https://queue.example/", Client: &http.Client{Transport: calls}}).Keep(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	var body struct {
		ID     string `json:"id"`
		Failed []byte `json:"saga_compensation_failed"`
	}
	got := new(pb.SagaCompensationFailed)
	if err := errors.Join(json.Unmarshal(calls.bodies[0], &body), proto.Unmarshal(body.Failed, got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(failed(), got, protocmp.Transform()); diff != "" || body.ID != saga.ID(got) {
		t.Error(diff, body.ID)
	}
}

func TestTheAddressOfAWebhookIsNotTold(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://127.0.0.1:1/secret", "\x00secret", "secret://x"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := saga.Webhook(address, http.DefaultClient)(ctx, failed())
		if err == nil || strings.Contains(err.Error(), "secret/") || strings.Contains(err.Error(), "/secret") || strings.Contains(err.Error(), "\x00") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
