package node_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/servertest"
	"github.com/angz-dev/angz/runtime/transport"
)

// serviceSocket is set in the process that plays the user's service.
const serviceSocket = "ANGZ_BENCH_SERVICE"

func TestMain(m *testing.M) {
	if path := os.Getenv(serviceSocket); path != "" {
		serveRules(path)
		return
	}
	os.Exit(m.Run())
}

// serveRules is a Go service as users write it: one event of 300 bytes for each
// command, and a snapshot when it is asked for one by a command named Keep.
func serveRules(path string) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	pb.RegisterAggregateServer(server, rules{})
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

type rules struct {
	pb.UnimplementedAggregateServer
}

var payload = make([]byte, 300)

func (rules) Handle(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	page := runtimetest.Event("type.googleapis.com/bench.Done")
	page.Event.Value = payload
	answer := runtimetest.Answer(request, page)
	if book.ShortName(request.Command.Pages[0].Command.TypeUrl) == "Keep" {
		answer.GetEvents().SnapshotState = &anypb.Any{TypeUrl: "bench.State", Value: payload}
	}
	return answer, nil
}

// world is a node over a file, its service in a process of its own, and a client
// on the node's gateway port.
type world struct {
	service *exec.Cmd
	node    *node.Node
	client  pb.AggregateCoordinatorClient
	server  *servertest.Postgres // nil for a file
}

// newWorld returns a world over a file.
func newWorld(b *testing.B) *world {
	b.Helper()
	return newWorldOver(b, map[string]string{"storage.type": "sqlite", "storage.sqlite.path": filepath.Join(b.TempDir(), "events.db")})
}

// newWorldOver returns a world over a store that the configuration describes.
func newWorldOver(b *testing.B, set map[string]string) *world {
	b.Helper()
	folder := runtimetest.Folder(b)
	socket := filepath.Join(folder, "s.sock")
	service := exec.Command(os.Args[0])
	service.Env = append(os.Environ(), serviceSocket+"="+socket)
	service.Stderr = os.Stderr
	if err := service.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	set["transport.type"], set["transport.uds.base_path"] = "uds", folder
	n := start(b, set, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "bench", Address: socket}}
	})
	conn, err := transport.Dial(filepath.Join(folder, "aggregate-bench.sock"), transport.DialOptions{Name: "angz"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &world{service, n, pb.NewAggregateCoordinatorClient(conn), nil}
}

// cpu returns what this process and the service have used so far.
func (w *world) cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	own := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	if w.server != nil {
		database, err := w.server.CPU()
		if err != nil {
			b.Fatal(err)
		}
		own += database
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.service.Process.Pid))
	if err != nil {
		return own // not Linux: the client's and the node's share only
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return own + time.Duration(ticks)*10*time.Millisecond
}

// run sends b.N commands from 64 callers.
func (w *world) run(b *testing.B, command func(n uint64) *pb.CommandBook) {
	b.Helper()
	var n atomic.Uint64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	before := w.cpu(b)
	b.ResetTimer()
	b.RunParallel(func(work *testing.PB) {
		for work.Next() {
			if _, err := w.client.Handle(context.Background(), command(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((w.cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}

func root(n uint64) string {
	return uuid.UUID(book.DerivedID("bench", strconv.FormatUint(n, 10))).String()
}

// spread returns the n-th command for so many aggregates. A stride that is prime
// to their number spreads the commands. Every fourth command of each aggregate has
// a snapshot kept, as a service does that is meant to run for long; so has every
// fourth of all, however many aggregates there are.
func spread(n, aggregates uint64) *pb.CommandBook {
	name := "bench.Do"
	if (n+n/aggregates)%4 == 0 {
		name = "bench.Keep"
	}
	return runtimetest.AnyNumber(runtimetest.Command("bench", root(n*7919%aggregates), 0, name))
}

func BenchmarkCommand(b *testing.B) {
	for _, aggregates := range []uint64{10, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("aggregates=%d", aggregates), func(b *testing.B) {
			w := newWorld(b)
			w.fill(b, aggregates)
			w.run(b, func(n uint64) *pb.CommandBook { return spread(n, aggregates) })
		})
	}
}

// BenchmarkCommandPostgres is the same over PostgreSQL, whose processes are counted
// too, in one process with the gateway.
func BenchmarkCommandPostgres(b *testing.B) {
	server := servertest.NewDurablePostgres()
	b.Cleanup(server.Close)
	w := newWorldOver(b, map[string]string{"storage.type": "postgres", "storage.postgres.uri": server.Use(b)})
	w.server = server
	const aggregates = 1000
	w.fill(b, aggregates)
	w.run(b, func(n uint64) *pb.CommandBook { return spread(n, aggregates) })
}

// fill stores one event for each aggregate.
func (w *world) fill(b *testing.B, aggregates uint64) {
	b.Helper()
	var next atomic.Uint64
	done := make(chan error)
	for range 64 {
		go func() {
			for n := next.Add(1); n <= aggregates; n = next.Add(1) {
				_, err := w.node.Store().Append(context.Background(), eventstore.Append{
					CommandID: uuid.Must(uuid.NewV7()), Key: book.Key{Domain: "bench", Root: uuid.MustParse(root(n - 1))},
					Events: []eventstore.NewEvent{{TypeURL: "bench.Done", Payload: payload, CreatedAt: time.Now()}}, CorrelationID: "fill",
				})
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHistory(b *testing.B) {
	for _, events := range []uint32{10, 100_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			w := newWorld(b)
			key := book.Key{Domain: "bench", Root: uuid.MustParse(root(1))}
			for next := uint32(0); next < events; next += 10 {
				request := eventstore.Append{CommandID: uuid.Must(uuid.NewV7()), Key: key, Next: next, CorrelationID: "fill"}
				for range 10 {
					request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "bench.Done", Payload: payload, CreatedAt: time.Now()})
				}
				if next+10 >= events {
					request.Snapshot = &eventstore.Snapshot{Key: key, Sequence: events - 1, TypeURL: "bench.State", State: payload}
				}
				if _, err := w.node.Store().Append(context.Background(), request); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for n := range b.N {
				name := "bench.Do"
				if n%10 == 0 {
					name = "bench.Keep"
				}
				if _, err := w.client.Handle(context.Background(), runtimetest.AnyNumber(runtimetest.Command("bench", root(1), 0, name))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommitToProjector measures, at 500 commands a second over PostgreSQL,
// how long after the commit's answer a projector's service is called.
func BenchmarkCommitToProjector(b *testing.B) {
	database, broker := servertest.NewDurablePostgres(), servertest.NewRabbit()
	b.Cleanup(database.Close)
	b.Cleanup(broker.Close)
	for name, set := range map[string]map[string]string{
		"without a broker": {}, "through RabbitMQ": {"messaging.type": "amqp"},
	} {
		b.Run(name, func(b *testing.B) {
			if set["messaging.type"] == "amqp" {
				set["messaging.amqp.url"] = broker.Use(b)
			}
			set["storage.type"], set["storage.postgres.uri"] = "postgres", database.Use(b)
			var called sync.Map // when, by correlation
			arrived := make(chan struct{}, 1<<20)
			service := runtimetest.Projector(b, func(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
				called.Store(events.CorrelationId, time.Now())
				arrived <- struct{}{}
				return &pb.Projection{}, nil
			})
			n := start(b, set, func(c *config.Config) {
				c.Projectors = []config.Service{{Name: "bench", Address: service.Address()}}
			})
			committed := make([]time.Time, b.N)
			ticks := time.NewTicker(2 * time.Millisecond)
			defer ticks.Stop()
			var appending sync.WaitGroup
			for i := range b.N {
				<-ticks.C
				appending.Go(func() {
					_, err := n.Store().Append(context.Background(), eventstore.Append{
						CommandID: uuid.Must(uuid.NewV7()), Key: book.Key{Domain: "bench", Root: uuid.New()}, CorrelationID: strconv.Itoa(i),
						Events: []eventstore.NewEvent{{TypeURL: "bench.Done", Payload: payload, CreatedAt: time.Now()}},
					})
					if err != nil {
						b.Error(err)
					}
					committed[i] = time.Now()
				})
			}
			appending.Wait()
			took := make([]time.Duration, b.N)
			for range took {
				<-arrived
			}
			for i := range took {
				at, _ := called.Load(strconv.Itoa(i))
				took[i] = at.(time.Time).Sub(committed[i])
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
