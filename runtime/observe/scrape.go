package observe

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// patience is how long the store may take to say how components stand. What
	// it does not say is left out, and the other metrics are told.
	patience = 2 * time.Second
	// freshness is for how long an answer serves again, so that several who read
	// the metrics ask the store once.
	freshness = time.Second
)

// scrape makes the metrics that exist only when somebody reads them.
type scrape struct {
	metrics *Metrics

	mu        sync.Mutex
	head      func() uint64
	standings func(context.Context) ([]Standing, error)

	asking sync.Mutex // one question to the store at a time
	asked  time.Time
	answer []Standing
	level  map[string]time.Time // when a component was last seen with nothing before it
}

var (
	descHead         = described(metricHead)
	descRelayLag     = described(metricRelayLag)
	descRelaySeconds = described(metricRelayLagSeconds)
	descLag          = described(metricLag)
	descLagSeconds   = described(metricLagSeconds)
	descBlocked      = described(metricBlocked)
)

func described(metric Metric) *prometheus.Desc {
	return prometheus.NewDesc(metric.Name, metric.Help, metric.Labels, nil)
}

func (s *scrape) watchHead(head func() uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = head
}

func (s *scrape) watchSubscriptions(standings func(context.Context) ([]Standing, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standings = standings
}

// Describe is prometheus.Collector's.
func (s *scrape) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descHead, descRelayLag, descRelaySeconds, descLag, descLagSeconds, descBlocked} {
		to <- desc
	}
}

// Collect is prometheus.Collector's.
func (s *scrape) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	position := s.head
	s.mu.Unlock()
	if position == nil {
		return
	}
	head := position()
	give := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	give(descHead, float64(head))
	if behind, since, known := s.metrics.relay.lag(); known {
		give(descRelayLag, float64(behind))
		give(descRelaySeconds, since.Seconds())
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	for _, standing := range s.answer {
		behind, since := s.lag(standing, head, time.Now())
		give(descLag, float64(behind), standing.Component)
		give(descLagSeconds, since.Seconds(), standing.Component)
		give(descBlocked, float64(standing.Blocked), standing.Component)
	}
}

// lag is measured against a head that may be older than the position. No event
// behind a component's place has waited since before the place last moved or was
// seen to be the end of the log.
func (s *scrape) lag(standing Standing, head uint64, now time.Time) (positions uint64, since time.Duration) {
	if head <= standing.Position {
		s.level[standing.Component] = now
		return 0, 0
	}
	from := standing.UpdatedAt
	if level := s.level[standing.Component]; level.After(from) {
		from = level
	}
	return head - standing.Position, max(0, now.Sub(from))
}

// refresh asks the store how components stand and forgets what it said before,
// also when it does not say. A component that comes twice would spoil all
// metrics, so it counts once.
func (s *scrape) refresh(ctx context.Context) {
	s.mu.Lock()
	standings := s.standings
	s.mu.Unlock()
	s.asking.Lock()
	defer s.asking.Unlock()
	if standings == nil || time.Since(s.asked) < freshness {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := standings(ctx)
	s.answer = nil
	seen := map[string]bool{}
	for _, standing := range found {
		standing.Component = s.metrics.labels.bounded(standing.Component)
		if err == nil && !seen[standing.Component] {
			seen[standing.Component] = true
			s.answer = append(s.answer, standing)
		}
	}
	s.asked = time.Now()
}
