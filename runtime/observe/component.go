package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ComponentMetrics are what is counted of one projector or saga. All methods may
// be called on nil, which counts nothing.
type ComponentMetrics struct {
	metrics         *Metrics
	name            string
	time            prometheus.Observer
	retries, parked prometheus.Counter
	slices          prometheus.Gauge
}

// Component returns the metrics of a projector or saga. The name is that of its
// subscription, such as projector/receipt. It returns nil for nil.
func (m *Metrics) Component(name string) *ComponentMetrics {
	if m == nil {
		return nil
	}
	name = m.labels.bounded(name)
	return &ComponentMetrics{
		metrics: m, name: name, time: m.callTime.WithLabelValues(name),
		retries: m.retries.WithLabelValues(name), parked: m.parked.WithLabelValues(name), slices: m.slices.WithLabelValues(name),
	}
}

// Called counts a book that was given to the component.
func (c *ComponentMetrics) Called(err error, took time.Duration) {
	if c == nil {
		return
	}
	c.metrics.calls.WithLabelValues(c.name, outcome(err)).Inc()
	c.time.Observe(took.Seconds())
}

// Retried counts a book that is tried again after a failure.
func (c *ComponentMetrics) Retried() {
	if c != nil {
		c.retries.Inc()
	}
}

// Parked counts books that became dead letters.
func (c *ComponentMetrics) Parked(books int) {
	if c != nil {
		c.parked.Add(float64(books))
	}
}

// Slices says how many slices this process holds.
func (c *ComponentMetrics) Slices(held int) {
	if c != nil {
		c.slices.Set(float64(held))
	}
}
