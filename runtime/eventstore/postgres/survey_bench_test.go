package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/servertest"
)

// BenchmarkSurvey looks at what there is in stores of ten events an aggregate, as
// the benchmark of SQLite does. The large one, of ten million events, takes minutes
// to make: -bench 'Survey/large' -benchtime 50x -timeout 1h.
func BenchmarkSurvey(b *testing.B) {
	server := servertest.NewPostgres()
	b.Cleanup(server.Close)
	for _, c := range []struct {
		name       string
		aggregates int
	}{{"small", 1_000}, {"large", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) { survey(b, server, c.aggregates) })
	}
}

func survey(b *testing.B, server *servertest.Postgres, aggregates int) {
	s := surveyed(b, server.Use(b), aggregates)
	look := func(name string, work func() error) {
		b.Run(name, func(b *testing.B) {
			measure(b, server, func() {
				for range b.N {
					if err := work(); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
	page := func(query eventstore.SummaryQuery) func() error {
		query.Domain, query.Limit = "customer", 100
		return func() error { _, err := s.Summaries(b.Context(), query); return err }
	}
	middle, last := customerName(aggregates/2), customerName(aggregates-50)
	look("domains", func() error { _, err := s.Domains(b.Context()); return err })
	look("first page", page(eventstore.SummaryQuery{}))
	look("page in the middle", page(eventstore.SummaryQuery{After: &eventstore.Root{Name: middle}}))
	look("last page", page(eventstore.SummaryQuery{After: &eventstore.Root{Name: last}}))
	look("prefix", page(eventstore.SummaryQuery{Prefix: middle[:len(middle)-13]}))
	look("page by root", page(eventstore.SummaryQuery{ByRoot: true, Prefix: "7"}))
	look("one", func() error {
		_, err := s.Summary(b.Context(), numberedKey(rand.IntN(aggregates)))
		return err
	})
	look("latest", func() error {
		_, _, err := s.Latest(b.Context(), eventstore.LatestQuery{Before: s.Head() + 1, Look: 20_000, Limit: 100})
		return err
	})
}

func customerName(i int) string { return fmt.Sprintf("customer-%07d@example.com", i) }

// surveyed makes a store in which each aggregate has ten events, one after the other
// over all aggregates.
func surveyed(b *testing.B, uri string, aggregates int) eventstore.Store {
	b.Helper()
	s := opened(b, uri)
	for next := range uint32(10) {
		var requests []eventstore.Append
		for i := range aggregates {
			request := command(numberedKey(i), next, payload)
			request.Name, request.CorrelationID = customerName(i), request.CommandID.String()
			if requests = append(requests, request); len(requests) < 500 && i < aggregates-1 {
				continue
			}
			for _, result := range s.AppendAll(b.Context(), requests) {
				if result.Err != nil {
					b.Fatal(result.Err)
				}
			}
			requests = requests[:0]
		}
	}
	return s
}
