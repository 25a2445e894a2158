package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// cpu returns the CPU time this process has used, in microseconds. Rates on a
// shared machine say little.
func cpu(b *testing.B) float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e3
}

// measure runs work and reports the CPU it took for each operation.
func measure(b *testing.B, work func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	work()
	b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-µs/op")
	b.StopTimer()
}

var payload = strings.Repeat("x", 300)

func numberedKey(i int) book.Key {
	key := book.Key{Domain: "customer"}
	binary.BigEndian.PutUint64(key.Root[:], rand.New(rand.NewPCG(uint64(i), 7)).Uint64())
	binary.BigEndian.PutUint64(key.Root[8:], uint64(i))
	return key
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := opened(b, filepath.Join(b.TempDir(), "store.db"))
			measure(b, func() { appendWith(b, s, callers, func(caller, _ int) book.Key { return numberedKey(caller) }) })
		})
	}
}

func BenchmarkAppendToNewAggregates(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "store.db"))
	measure(b, func() { appendWith(b, s, 64, func(_, n int) book.Key { return numberedKey(n) }) })
}

// appendWith spreads b.N appends over callers.
func appendWith(b *testing.B, s *Store, callers int, key func(caller, n int) book.Key) {
	var taken atomic.Int64
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			next := make(map[book.Key]uint32)
			for {
				n := int(taken.Add(1))
				if n > b.N {
					return
				}
				k := key(caller, n)
				request := command(k, next[k], payload)
				request.CorrelationID = request.CommandID.String()
				answer, err := s.Append(b.Context(), request)
				if err != nil {
					b.Error(err)
					return
				}
				next[k] = answer.Next
			}
		})
	}
	wait.Wait()
}

// BenchmarkColdAggregate measures what a command pays that meets an aggregate
// for the first time.
func BenchmarkColdAggregate(b *testing.B) {
	for _, streams := range []int{10, 1_000_000} {
		s := opened(b, filepath.Join(b.TempDir(), "store.db"))
		fill(b, s, streams)
		for name, key := range map[string]func(int) book.Key{
			"known":   func(i int) book.Key { return numberedKey(rand.New(rand.NewPCG(uint64(i), 3)).IntN(streams)) },
			"unknown": func(i int) book.Key { return numberedKey(streams + i) },
		} {
			b.Run(fmt.Sprintf("%s/streams=%d", name, streams), func(b *testing.B) {
				measure(b, func() {
					for i := range b.N {
						if _, err := s.Aggregate(b.Context(), key(i)); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkColdCommand measures 64 callers who look an aggregate up and append
// to it, among so many that it is in no cache: the worst a command can meet. The
// commits beside them make the readers' page caches worthless again and again.
func BenchmarkColdCommand(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "store.db"))
	const streams = 200_000
	fill(b, s, streams)
	for _, look := range []bool{true, false} {
		b.Run(fmt.Sprintf("look=%t", look), func(b *testing.B) {
			var taken atomic.Int64
			var wait sync.WaitGroup
			measure(b, func() {
				for range 64 {
					wait.Go(func() {
						for n := taken.Add(1); n <= int64(b.N); n = taken.Add(1) {
							if err := coldCommand(b.Context(), s, numberedKey(rand.IntN(streams)), look); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wait.Wait()
			})
		})
	}
}

func coldCommand(ctx context.Context, s *Store, key book.Key, look bool) error {
	info := eventstore.Info{Next: 1}
	if look {
		var err error
		if info, err = s.Aggregate(ctx, key); err != nil {
			return err
		}
	}
	_, err := s.Append(ctx, command(key, info.Next, payload))
	if conflict := (*eventstore.Conflict)(nil); errors.As(err, &conflict) {
		return nil // another caller met the same aggregate
	}
	return err
}

// fill gives a store so many aggregates with one event each, without the cost
// of a million requests.
func fill(b *testing.B, s *Store, streams int) {
	for start := 0; start < streams; start += 10_000 {
		err := s.writer.submit(b.Context(), 0, func(ctx context.Context, t *transaction) error {
			for i := start; i < min(start+10_000, streams); i++ {
				request := command(numberedKey(i), 0, "x")
				if _, err := t.append(ctx, &request, uuid.Nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadLog(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "store.db"))
	const events = 5000
	requests := make([]string, events)
	for i := range requests {
		requests[i] = payload
	}
	if _, err := s.Append(b.Context(), command(newKey(), 0, requests...)); err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func(uint64) ([]eventstore.Event, error){
		"memory": func(after uint64) ([]eventstore.Event, error) { return s.ReadLog(b.Context(), after, 500) },
		"file": func(after uint64) ([]eventstore.Event, error) {
			var page []eventstore.Event
			add := collect(&page)
			err := s.read(b.Context(), func(ctx context.Context, c *conn) error {
				return c.query(ctx, selectLog, func(row []driver.Value) error {
					if len(page) == 500 {
						return errStop
					}
					return add(row)
				}, int64(after))
			})
			return page, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			measure(b, func() {
				for done := 0; done < b.N; {
					page, err := read(uint64(done % (events - 500)))
					if err != nil {
						b.Fatal(err)
					}
					done += len(page)
				}
			})
		})
	}
}

func BenchmarkRepeatedCommand(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "store.db"))
	request := command(newKey(), 0, payload)
	request.Repeatable = true
	measure(b, func() {
		for range b.N {
			if _, err := s.Append(b.Context(), request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSurvey looks at what there is in stores of ten events an aggregate. The
// large one, of ten million events, takes minutes to make: -bench 'Survey/large'.
func BenchmarkSurvey(b *testing.B) {
	for _, c := range []struct {
		name       string
		aggregates int
	}{{"small", 1_000}, {"large", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			s := surveyed(b, c.aggregates)
			middle, last := customerName(c.aggregates/2), customerName(c.aggregates-50)
			look := func(name string, work func() error) {
				b.Run(name, func(b *testing.B) {
					measure(b, func() {
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
			look("domains", func() error { _, err := s.Domains(b.Context()); return err })
			look("first page", page(eventstore.SummaryQuery{}))
			look("page in the middle", page(eventstore.SummaryQuery{After: &eventstore.Root{Name: middle}}))
			look("last page", page(eventstore.SummaryQuery{After: &eventstore.Root{Name: last}}))
			look("prefix", page(eventstore.SummaryQuery{Prefix: middle[:len(middle)-13]}))
			look("page by root", page(eventstore.SummaryQuery{ByRoot: true, Prefix: "7"}))
			look("one", func() error {
				_, err := s.Summary(b.Context(), numberedKey(rand.IntN(c.aggregates)))
				return err
			})
			look("latest", func() error {
				_, _, err := s.Latest(b.Context(), eventstore.LatestQuery{Before: s.Head() + 1, Look: 20_000, Limit: 100})
				return err
			})
			look("latest of a domain that is not there", func() error {
				_, _, err := s.Latest(b.Context(), eventstore.LatestQuery{Domain: "nobody", Before: s.Head() + 1, Look: 20_000, Limit: 100})
				return err
			})
		})
	}
}

func customerName(i int) string { return fmt.Sprintf("customer-%07d@example.com", i) }

// surveyed makes a store in which each aggregate has ten events, one after the
// other over all aggregates.
func surveyed(b *testing.B, aggregates int) *Store {
	b.Helper()
	s := opened(b, filepath.Join(b.TempDir(), "store.db"))
	for next := range uint32(10) {
		var requests []eventstore.Append
		for i := range aggregates {
			request := command(numberedKey(i), next, payload)
			request.Name, request.CorrelationID = customerName(i), request.CommandID.String()
			if requests = append(requests, request); len(requests) < 2_000 && i < aggregates-1 {
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
