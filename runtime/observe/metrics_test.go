package observe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// gathered returns the metrics by name.
func gathered(t testing.TB, m *observe.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*dto.MetricFamily{}
	for _, family := range families {
		all[family.GetName()] = family
	}
	return all
}

// valueOf returns what a metric has counted under some labels: of a histogram,
// how often. It is -1 when there is no such thing.
func valueOf(t testing.TB, m *observe.Metrics, name string, labels map[string]string) float64 {
	t.Helper()
	for _, metric := range gathered(t, m)[name].GetMetric() {
		found := map[string]string{}
		for _, label := range metric.GetLabel() {
			found[label.GetName()] = label.GetValue()
		}
		if !maps.Equal(found, labels) {
			continue
		}
		switch {
		case metric.Histogram != nil:
			return float64(metric.GetHistogram().GetSampleCount())
		case metric.Counter != nil:
			return metric.GetCounter().GetValue()
		}
		return metric.GetGauge().GetValue()
	}
	return -1
}

// countEverything gives every metric a value.
func countEverything(m *observe.Metrics) {
	m.Command("order", nil, time.Second)
	m.Conflict("order")
	m.Cache(true)
	m.Committed(2, 3, time.Millisecond, nil)
	m.Committed(2, 3, time.Millisecond, errors.New("full"))
	m.Head(func() uint64 { return 10 })
	m.Relaying(true, 0)
	m.Relayed(4, 2)
	m.RelayFailed()
	m.Forwarded("order", nil, time.Second)
	m.Subscribed()
	m.SubscriberDropped()
	m.Bus(true)
	m.Store(true)
	m.Subscriptions(func(context.Context) ([]observe.Standing, error) {
		return []observe.Standing{{Component: "projector/receipt", Position: 3, Blocked: 1}}, nil
	})
	component := m.Component("projector/receipt")
	component.Called(nil, time.Second)
	component.Retried()
	component.Parked(2)
	component.Slices(5)
}

// scraped returns metrics in which everything has a value, after they were read.
func scraped(t *testing.T) *observe.Metrics {
	t.Helper()
	p := newProcess(t, "p", true)
	countEverything(p.Metrics())
	address := p.serve((&quiet{}).register)
	if err := (&quiet{}).call(t, p.connect(address)); err != nil {
		t.Fatal(err)
	}
	page(t, p.Metrics())
	return p.Metrics()
}

// page reads the metrics as Prometheus does.
func page(t testing.TB, m *observe.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.Code != 200 {
		t.Fatalf("%d, %v: %s", answer.Code, err, text)
	}
	return string(text)
}

// TestWhatIsRegisteredIsWhatIsDescribed compares both lists as whole: name, kind,
// labels and help.
func TestWhatIsRegisteredIsWhatIsDescribed(t *testing.T) {
	t.Parallel()
	got := map[string]observe.Metric{}
	for name, family := range gathered(t, scraped(t)) {
		if !strings.HasPrefix(name, "angz_") {
			continue
		}
		found := observe.Metric{Name: name, Kind: strings.ToLower(family.GetType().String()), Help: family.GetHelp()}
		for _, label := range family.GetMetric()[0].GetLabel() {
			found.Labels = append(found.Labels, label.GetName())
		}
		got[name] = found
	}
	want := map[string]observe.Metric{}
	for _, metric := range observe.Described() {
		metric.Unit = "" // Prometheus knows it only by the name
		metric.Labels = slices.Sorted(slices.Values(metric.Labels))
		want[metric.Name] = metric
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheDocumentationListsEveryMetric(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/metrics.md", "<!-- metrics: the rows of observe.Described -->\n", "<!-- end of metrics -->\n"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), begin)
	got, _, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		t.Fatalf("%s lacks the marks %q and %q", path, begin, end)
	}
	var want strings.Builder
	want.WriteString("\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n")
	for _, metric := range observe.Described() {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", metric.Name, metric.Kind, metric.Unit, strings.Join(metric.Labels, ", "), metric.Help)
	}
	want.WriteString("\n")
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("%s is not as the metrics are:\n%s", path, diff)
	}
}

func TestMetricsSayWhatHappened(t *testing.T) {
	t.Parallel()
	s := newSystem(t, false)
	for n := range uint32(3) {
		if _, err := s.commands.Handle(t.Context(), runtimetest.Command("order", "o1", n, "Do")); err != nil {
			t.Fatal(err)
		}
	}
	for _, wrong := range []string{"order", "nobody", "nobody2"} {
		if _, err := s.commands.Handle(t.Context(), runtimetest.Command(wrong, "o1", 9, "Do")); err == nil {
			t.Errorf("the command for %s was accepted", wrong)
		}
	}
	type labels = map[string]string
	const handle = "/angzarr.AggregateCoordinator/Handle"
	for _, c := range []struct {
		of     *process
		name   string
		labels labels
		want   float64
	}{
		{s.aggregate, "angz_commands_total", labels{"domain": "order", "code": "OK"}, 3},
		{s.aggregate, "angz_commands_total", labels{"domain": "order", "code": "FailedPrecondition"}, 1},
		{s.aggregate, "angz_command_duration_seconds", labels{"domain": "order"}, 4},
		{s.aggregate, "angz_aggregate_cache_total", labels{"result": "hit"}, 3},
		{s.aggregate, "angz_aggregate_cache_total", labels{"result": "miss"}, 1},
		{s.aggregate, "angz_grpc_server_calls_total", labels{"method": handle, "code": "OK"}, 3},
		{s.aggregate, "angz_grpc_server_calls_under_way", nil, 0},
		{s.gateway, "angz_gateway_commands_total", labels{"domain": "order", "code": "OK"}, 3},
		{s.gateway, "angz_gateway_commands_total", labels{"domain": "order", "code": "FailedPrecondition"}, 1},
		{s.gateway, "angz_gateway_command_duration_seconds", labels{"domain": "order"}, 4},
		{s.gateway, "angz_grpc_server_calls_total", labels{"method": handle, "code": "NotFound"}, 2},
		{s.gateway, "angz_grpc_server_call_duration_seconds", labels{"method": handle}, 6},
	} {
		if got := valueOf(t, c.of.Metrics(), c.name, c.labels); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if text := page(t, s.gateway.Metrics()) + page(t, s.aggregate.Metrics()); strings.Contains(text, "nobody") {
		t.Error("a domain that a client made up has become a label")
	}
}

func TestLabelsStayFew(t *testing.T) {
	t.Parallel()
	m := observe.NewMetrics(observe.Build{})
	for n := range 5000 {
		m.Command(fmt.Sprint("domain", n), status.Error(codes.Code(n), "no"), time.Millisecond)
	}
	domains, outcomes := map[string]bool{}, map[string]bool{}
	for _, metric := range gathered(t, m)["angz_commands_total"].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "domain" {
				domains[label.GetValue()] = true
			} else {
				outcomes[label.GetValue()] = true
			}
		}
	}
	if len(domains) != 501 || !domains["other"] {
		t.Errorf("%d domains", len(domains))
	}
	if len(outcomes) != 17 {
		t.Errorf("%d outcomes: %v", len(outcomes), outcomes)
	}
}

func TestLagIsMeasuredAgainstTheHead(t *testing.T) {
	t.Parallel()
	m := observe.NewMetrics(observe.Build{})
	head := uint64(10)
	m.Head(func() uint64 { return head })
	if got := valueOf(t, m, "angz_relay_lag_positions", nil); got != -1 {
		t.Errorf("a process that relays nothing shows a lag of %v", got)
	}
	m.Relaying(true, 4)
	standing := observe.Standing{Component: "saga/loyalty", Position: 7, UpdatedAt: time.Now().Add(-time.Hour), Blocked: 2}
	m.Subscriptions(func(context.Context) ([]observe.Standing, error) {
		return []observe.Standing{standing, standing}, nil
	})
	page(t, m)
	component := map[string]string{"component": "saga/loyalty"}
	for name, want := range map[string]float64{"angz_log_head_position": 10, "angz_relay_lag_positions": 6} {
		if got := valueOf(t, m, name, nil); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{"angz_component_lag_positions": 3, "angz_component_blocked_aggregates": 2} {
		if got := valueOf(t, m, name, component); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := valueOf(t, m, "angz_component_lag_seconds", component); got < 3599 || got > 3700 {
		t.Errorf("behind for %v s", got)
	}
	// Once it was seen at the end, an old place is no old lag.
	head = 7
	if got := valueOf(t, m, "angz_component_lag_seconds", component); got != 0 {
		t.Errorf("behind for %v s at the end", got)
	}
	head = 8
	if got := valueOf(t, m, "angz_component_lag_seconds", component); got < 0 || got > 60 {
		t.Errorf("behind for %v s just after the end", got)
	}
	m.Relayed(8, 3)
	if got := valueOf(t, m, "angz_relay_lag_seconds", nil); got != 0 {
		t.Errorf("the relay is behind for %v s at the end", got)
	}
}

func TestAStoreThatDoesNotAnswerLeavesTheOtherMetrics(t *testing.T) {
	t.Parallel()
	m := observe.NewMetrics(observe.Build{Version: "v1"})
	m.Head(func() uint64 { return 1 })
	m.Subscriptions(func(context.Context) ([]observe.Standing, error) {
		return []observe.Standing{{Component: "half"}}, errors.New("the database is away")
	})
	text := page(t, m)
	if !strings.Contains(text, `angz_build_info{go="go`) || !strings.Contains(text, "angz_log_head_position 1") || strings.Contains(text, "half") {
		t.Error(text)
	}
}
