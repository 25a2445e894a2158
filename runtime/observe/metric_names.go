package observe

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes one metric, for its registration and for the documentation
// alike.
type Metric struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Unit   string // of its value
	Labels []string
	Help   string // one sentence
}

// The labels of metrics. They are keys of log attributes too, so that one can go
// from a number to the lines behind it.
const (
	labelDomain    = KeyDomain
	labelComponent = KeyComponent
	labelMethod    = KeyMethod
	labelCode      = KeyCode
)

var (
	metricCommands = Metric{"angz_commands_total", counter, "commands", []string{labelDomain, labelCode},
		"Commands answered by the domain's coordinator, by the gRPC code of the answer."}
	metricCommandTime = Metric{"angz_command_duration_seconds", histogram, "seconds", []string{labelDomain},
		"From a command's arrival at the domain's coordinator to its answer."}
	metricConflicts = Metric{"angz_command_conflicts_total", counter, "decisions", []string{labelDomain},
		"Decisions that were not stored because somebody else had changed the aggregate first."}
	metricCache = Metric{"angz_aggregate_cache_total", counter, "look-ups", []string{"result"},
		"Aggregates wanted for a command: hit when they were in memory, miss when they were read from the store."}

	metricBatchCommands = Metric{"angz_append_batch_commands", histogram, "commands", nil,
		"Commands that one transaction of the store's writer appended."}
	metricBatchEvents = Metric{"angz_append_batch_events", histogram, "events", nil,
		"Events that one transaction of the store's writer appended."}
	metricAppendTime = Metric{"angz_append_duration_seconds", histogram, "seconds", nil,
		"How long a transaction of the store's writer took."}
	metricAppendFailures = Metric{"angz_append_failures_total", counter, "transactions", nil,
		"Transactions of the store's writer that failed."}
	metricHead = Metric{"angz_log_head_position", gauge, "position", nil,
		"The position of the newest event that this process knows of."}

	metricRelayed = Metric{"angz_relay_published_total", counter, "books", nil,
		"Books that this process handed to the bus."}
	metricRelayFailures = Metric{"angz_relay_failures_total", counter, "attempts", nil,
		"Attempts to hand books to the bus that failed; they are made again."}
	metricRelaying = Metric{"angz_relay_active", gauge, "0 or 1", nil,
		"Whether this process is the one that hands books to the bus."}
	metricRelayLag = Metric{"angz_relay_lag_positions", gauge, "positions", nil,
		"How many events stand in the log behind the last one handed to the bus, where this process is the relay."}
	metricRelayLagSeconds = Metric{"angz_relay_lag_seconds", gauge, "seconds", nil,
		"How long the oldest event that was not handed to the bus has waited for it at most; 0 when there is none."}

	metricCalls = Metric{"angz_component_calls_total", counter, "calls", []string{labelComponent, labelCode},
		"Books given to a projector or saga, by the gRPC code of the outcome. A saga's includes the commands that it sent."}
	metricCallTime = Metric{"angz_component_call_duration_seconds", histogram, "seconds", []string{labelComponent},
		"How long a projector or saga took for a book, a saga with the commands that it sent."}
	metricRetries = Metric{"angz_component_retries_total", counter, "attempts", []string{labelComponent},
		"Books given again after a failure."}
	metricParked = Metric{"angz_component_parked_total", counter, "books", []string{labelComponent},
		"Books that this process parked as dead letters, with those that wait behind one of their aggregate."}
	metricSlices = Metric{"angz_component_slices", gauge, "slices", []string{labelComponent},
		"Slices of the component's events that this process holds."}
	metricLag = Metric{"angz_component_lag_positions", gauge, "positions", []string{labelComponent},
		"How many events stand in the log behind the place of the component's slowest slice, over all processes."}
	metricLagSeconds = Metric{"angz_component_lag_seconds", gauge, "seconds", []string{labelComponent},
		"For how long at most the component's slowest slice has had events behind its place; 0 when there are none."}
	metricBlocked = Metric{"angz_component_blocked_aggregates", gauge, "aggregates", []string{labelComponent},
		"Aggregates whose events wait among the dead letters for somebody to decide, over all processes."}

	metricGatewayCommands = Metric{"angz_gateway_commands_total", counter, "commands", []string{labelDomain, labelCode},
		"Commands that the gateway handed to their domain's coordinator, by the gRPC code of the answer."}
	metricGatewayTime = Metric{"angz_gateway_command_duration_seconds", histogram, "seconds", []string{labelDomain},
		"How long the gateway waited for the answer to a command."}
	metricSubscribers = Metric{"angz_stream_subscribers", gauge, "streams", nil,
		"Subscribers of the event stream that are connected now."}
	metricSubscribersDropped = Metric{"angz_stream_dropped_total", counter, "streams", nil,
		"Subscribers of the event stream that were dropped because they did not keep up."}

	metricBusConnected = Metric{"angz_bus_connected", gauge, "0 or 1", nil,
		"Whether the broker is reached; 1 where there is none."}
	metricStoreConnected = Metric{"angz_store_connected", gauge, "0 or 1", nil,
		"Whether the event store is reached."}
	metricRPCs = Metric{"angz_grpc_server_calls_total", counter, "calls", []string{labelMethod, labelCode},
		"gRPC calls from outside that this process answered."}
	metricRPCTime = Metric{"angz_grpc_server_call_duration_seconds", histogram, "seconds", []string{labelMethod},
		"How long this process took for a unary gRPC call from outside; streams last as long as their callers like."}
	metricRPCsUnderWay = Metric{"angz_grpc_server_calls_under_way", gauge, "calls", nil,
		"gRPC calls and streams from outside that are under way."}
	metricSpansLost = Metric{"angz_trace_spans_lost_total", counter, "spans", nil,
		"Spans that could not be exported."}
	metricBuild = Metric{"angz_build_info", gauge, "1", []string{"version", "go"},
		"The version of angz and of Go it was built with."}
)

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Described lists angz's own metrics. Beside them stand Go's (go_…) and the
// process's (process_…), as every program with Prometheus's library has them.
func Described() []Metric {
	return []Metric{
		metricCommands, metricCommandTime, metricConflicts, metricCache,
		metricBatchCommands, metricBatchEvents, metricAppendTime, metricAppendFailures, metricHead,
		metricRelayed, metricRelayFailures, metricRelaying, metricRelayLag, metricRelayLagSeconds,
		metricCalls, metricCallTime, metricRetries, metricParked, metricSlices, metricLag, metricLagSeconds, metricBlocked,
		metricGatewayCommands, metricGatewayTime, metricSubscribers, metricSubscribersDropped,
		metricBusConnected, metricStoreConnected, metricRPCs, metricRPCTime, metricRPCsUnderWay, metricSpansLost, metricBuild,
	}
}

var (
	// latencies reach from what a cached decision takes to the longest timeouts.
	latencies = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	// sizes reach to the largest batch that the writers form.
	sizes = prometheus.ExponentialBuckets(1, 2, 10)
)

func counters(r *prometheus.Registry, about Metric) *prometheus.CounterVec {
	return registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: about.Name, Help: about.Help}, about.Labels))
}

func gauges(r *prometheus.Registry, about Metric) *prometheus.GaugeVec {
	return registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: about.Name, Help: about.Help}, about.Labels))
}

func histograms(r *prometheus.Registry, about Metric, buckets []float64) *prometheus.HistogramVec {
	return registered(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: about.Name, Help: about.Help, Buckets: buckets}, about.Labels))
}

func registered[M prometheus.Collector](r *prometheus.Registry, metric M) M {
	r.MustRegister(metric)
	return metric
}
