package observe

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Metrics are the numbers of one process. Roles and drivers get it as a plain
// option and tell it what they do; all methods may be called on nil, which counts
// nothing, and by many goroutines at once. The metrics are those of Described.
//
// They are client_golang's own and not OpenTelemetry's with an exporter behind:
// what is registered here is letter for letter what Prometheus sees, a count
// costs a few nanoseconds, and one library less can change its mind.
type Metrics struct {
	registry *prometheus.Registry
	labels   labels

	commands, calls, gatewayCommands, rpcs *prometheus.CounterVec
	conflicts, retries, parked, cache      *prometheus.CounterVec
	commandTime, callTime, rpcTime         *prometheus.HistogramVec
	gatewayTime                            *prometheus.HistogramVec
	slices                                 *prometheus.GaugeVec
	batchCommands, batchEvents, appendTime prometheus.Observer
	appendFailures, relayed, relayFailures prometheus.Counter
	subscribersDropped                     prometheus.Counter
	rpcsUnderWay, subscribers              prometheus.Gauge
	busConnected, storeConnected, relaying prometheus.Gauge
	relay                                  *progress
	spansLost                              prometheus.Counter
	scrape                                 scrape
}

// Build says which program the metrics are of.
type Build struct {
	Version string
}

// NewMetrics returns metrics that nothing has been counted in.
func NewMetrics(build Build) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{registry: r, relay: &progress{now: time.Now}}
	m.registerCommands(r)
	m.registerDelivery(r)
	m.registerConnections(r)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	about(r, build)
	m.scrape.metrics, m.scrape.level = m, map[string]time.Time{}
	r.MustRegister(&m.scrape)
	return m
}

func (m *Metrics) registerCommands(r *prometheus.Registry) {
	m.commands = counters(r, metricCommands)
	m.commandTime = histograms(r, metricCommandTime, latencies)
	m.conflicts = counters(r, metricConflicts)
	m.cache = counters(r, metricCache)
	m.batchCommands = histograms(r, metricBatchCommands, sizes).WithLabelValues()
	m.batchEvents = histograms(r, metricBatchEvents, sizes).WithLabelValues()
	m.appendTime = histograms(r, metricAppendTime, latencies).WithLabelValues()
	m.appendFailures = counters(r, metricAppendFailures).WithLabelValues()
	m.gatewayCommands = counters(r, metricGatewayCommands)
	m.gatewayTime = histograms(r, metricGatewayTime, latencies)
	m.subscribers = gauges(r, metricSubscribers).WithLabelValues()
	m.subscribersDropped = counters(r, metricSubscribersDropped).WithLabelValues()
}

func (m *Metrics) registerDelivery(r *prometheus.Registry) {
	m.relayed = counters(r, metricRelayed).WithLabelValues()
	m.relayFailures = counters(r, metricRelayFailures).WithLabelValues()
	m.relaying = gauges(r, metricRelaying).WithLabelValues()
	m.calls = counters(r, metricCalls)
	m.callTime = histograms(r, metricCallTime, latencies)
	m.retries = counters(r, metricRetries)
	m.parked = counters(r, metricParked)
	m.slices = gauges(r, metricSlices)
}

func (m *Metrics) registerConnections(r *prometheus.Registry) {
	m.busConnected = gauges(r, metricBusConnected).WithLabelValues()
	m.storeConnected = gauges(r, metricStoreConnected).WithLabelValues()
	m.rpcs = counters(r, metricRPCs)
	m.rpcTime = histograms(r, metricRPCTime, latencies)
	m.rpcsUnderWay = gauges(r, metricRPCsUnderWay).WithLabelValues()
	m.spansLost = counters(r, metricSpansLost).WithLabelValues()
}

func about(r *prometheus.Registry, build Build) {
	gauges(r, metricBuild).WithLabelValues(build.Version, runtime.Version()).Set(1)
}

// Handler serves the metrics in the forms that Prometheus reads.
func (m *Metrics) Handler() http.Handler {
	shown := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // what can be told is told
		MaxRequestsInFlight: 4,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.scrape.refresh(r.Context())
		shown.ServeHTTP(w, r)
	})
}

// Gatherer gives the metrics to tests and to whoever shows them otherwise.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Command counts a command that a domain has answered. The domain must be one
// that is served here, or empty for one that is not.
func (m *Metrics) Command(domain string, err error, took time.Duration) {
	if m == nil {
		return
	}
	domain = m.labels.bounded(domain)
	m.commands.WithLabelValues(domain, outcome(err)).Inc()
	m.commandTime.WithLabelValues(domain).Observe(took.Seconds())
}

// Conflict counts a decision that had to be made again because somebody else
// appended first.
func (m *Metrics) Conflict(domain string) {
	if m == nil {
		return
	}
	m.conflicts.WithLabelValues(m.labels.bounded(domain)).Inc()
}

// Cache counts an aggregate that was wanted, and whether it was in memory.
func (m *Metrics) Cache(hit bool) {
	if m == nil {
		return
	}
	result := "miss"
	if hit {
		result = "hit"
	}
	m.cache.WithLabelValues(result).Inc()
}

// Committed counts one transaction of the store's writer with its commands and
// their events. A transaction that failed counts as nothing else.
func (m *Metrics) Committed(commands, events int, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.appendFailures.Inc()
		return
	}
	m.batchCommands.Observe(float64(commands))
	m.batchEvents.Observe(float64(events))
	m.appendTime.Observe(took.Seconds())
}

// Forwarded counts a command that the gateway handed to a domain's coordinator.
// The domain must be one with a route, or empty for one without.
func (m *Metrics) Forwarded(domain string, err error, took time.Duration) {
	if m == nil {
		return
	}
	domain = m.labels.bounded(domain)
	m.gatewayCommands.WithLabelValues(domain, outcome(err)).Inc()
	m.gatewayTime.WithLabelValues(domain).Observe(took.Seconds())
}

// Subscribed counts a subscriber of the event stream; the function it returns
// takes it off again.
func (m *Metrics) Subscribed() func() {
	if m == nil {
		return func() {}
	}
	m.subscribers.Inc()
	return m.subscribers.Dec
}

// SubscriberDropped counts a subscriber that did not keep up.
func (m *Metrics) SubscriberDropped() {
	if m == nil {
		return
	}
	m.subscribersDropped.Inc()
}

// Bus says whether the broker is reached.
func (m *Metrics) Bus(connected bool) {
	if m == nil {
		return
	}
	m.busConnected.Set(number(connected))
}

// Store says whether the event store is reached.
func (m *Metrics) Store(connected bool) {
	if m == nil {
		return
	}
	m.storeConnected.Set(number(connected))
}

// Head tells where the log ends: a function that costs nothing and is called when
// somebody reads the metrics. Without it there is no lag either.
func (m *Metrics) Head(head func() uint64) {
	if m == nil {
		return
	}
	m.scrape.watchHead(head)
	m.relay.watchHead(head)
}

// Subscriptions tells how the components stand: a function that may ask the
// store and is called when somebody reads the metrics from Handler, at most once a
// second.
func (m *Metrics) Subscriptions(standings func(context.Context) ([]Standing, error)) {
	if m == nil {
		return
	}
	m.scrape.watchSubscriptions(standings)
}

// Standing is how one component stands, over all the processes that share it.
type Standing struct {
	Component string    // the name of its subscription, such as projector/receipt
	Position  uint64    // of its slowest slice
	UpdatedAt time.Time // when that slice last moved
	Blocked   int       // aggregates that wait for somebody to decide about parked events
}

// outcome returns a gRPC code's name. A service may answer with any number; those
// that gRPC does not know count as Unknown, so that there are never many.
func outcome(err error) string {
	code := status.Code(err)
	if code > codes.Unauthenticated {
		code = codes.Unknown
	}
	return code.String()
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
