package postgres_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/servertest"
)

// roundEvents is how many appends a round of BenchmarkAppendReplicas makes: enough
// that the ticks in which the system counts the server's CPU do not matter.
const roundEvents = 20_000

// BenchmarkAppendReplicas compares one store with three stores of one log under
// the same callers. The machine is never quiet, so one operation is a pair of
// rounds, one of each, in turn first; it reports the medians of the rounds and of
// the pairs' quotients. Give it rounds by -benchtime 6x.
func BenchmarkAppendReplicas(b *testing.B) {
	for name, server := range map[string]*servertest.Postgres{"durable": servertest.NewDurablePostgres(), "nofsync": servertest.NewPostgres()} {
		b.Cleanup(server.Close)
		for _, c := range []struct {
			name       string
			one, three int
		}{{"64-in-all", 64, 64}, {"192-in-all", 192, 192}, {"64-each", 64, 192}} {
			b.Run(fmt.Sprintf("disk=%s/callers=%s", name, c.name), func(b *testing.B) {
				compareReplicas(b, server, c.one, c.three)
			})
		}
	}
}

func compareReplicas(b *testing.B, server *servertest.Postgres, callersOfOne, callersOfThree int) {
	var one, three []appended
	for i := range b.N {
		if i%2 == 0 {
			one = append(one, appendRound(b, server, 1, callersOfOne))
		}
		three = append(three, appendRound(b, server, 3, callersOfThree))
		if i%2 == 1 {
			one = append(one, appendRound(b, server, 1, callersOfOne))
		}
	}
	report := func(name string, value func(appended) float64) {
		quotients := make([]float64, len(one))
		for i := range one {
			quotients[i] = value(three[i]) / value(one[i])
		}
		b.ReportMetric(medianOf(one, value), "1:"+name)
		b.ReportMetric(medianOf(three, value), "3:"+name)
		slices.Sort(quotients)
		b.ReportMetric(quotients[len(quotients)/2], "x-"+name)
	}
	report("cpu-µs", func(a appended) float64 { return a.cpu })
	report("µs", func(a appended) float64 { return a.time })
	b.ReportMetric(medianOf(one, func(a appended) float64 { return a.batch }), "1:batch")
	b.ReportMetric(medianOf(three, func(a appended) float64 { return a.batch }), "3:batch")
	b.ReportMetric(0, "ns/op")
}

func medianOf(rounds []appended, value func(appended) float64) float64 {
	values := make([]float64, len(rounds))
	for i := range rounds {
		values[i] = value(rounds[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// appended says what a round took for each event, in microseconds: of CPU in all
// processes, and of time. The batch is how many commands a commit had.
type appended struct{ cpu, time, batch float64 }

// appendRound lets callers append to an empty log through so many stores.
func appendRound(b *testing.B, server *servertest.Postgres, replicas, callers int) appended {
	b.Helper()
	uri := server.Use(b)
	stores, metrics := make([]*postgres.Store, replicas), observe.NewMetrics(observe.Build{})
	for i := range stores {
		store, err := postgres.Open(b.Context(), postgres.Options{URI: uri, Migrate: true, CorrelationIndex: true, MaxConnections: 4, Metrics: metrics})
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close()
		stores[i] = store
	}
	began, before := time.Now(), usedCPU(b, server)
	appendWith(b, stores, callers, roundEvents)
	took, used := time.Since(began), usedCPU(b, server)-before
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / roundEvents }
	commits, commands := batches(b, metrics)
	return appended{cpu: each(used), time: each(took), batch: float64(commands) / float64(commits)}
}

// usedCPU is what this process and all of the server's have used.
func usedCPU(b *testing.B, server *servertest.Postgres) time.Duration {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	used, err := server.CPU()
	if err != nil {
		b.Fatal(err)
	}
	return used + time.Duration(own.Utime.Nano()+own.Stime.Nano())
}

// batches returns how many commits there were, and how many commands they had.
func batches(t testing.TB, metrics *observe.Metrics) (commits, commands int) {
	t.Helper()
	families, err := metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "angz_append_batch_commands" {
			h := family.GetMetric()[0].GetHistogram()
			return int(h.GetSampleCount()), int(h.GetSampleSum())
		}
	}
	t.Fatal("the writer's batches are not counted")
	return 0, 0
}
