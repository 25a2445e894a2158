package amqp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	raw "github.com/rabbitmq/amqp091-go"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/follow"
)

// log is a log of one-event commands in memory.
type log struct {
	mu     sync.Mutex
	events []eventstore.Event
}

func (l *log) append() bus.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	position := uint64(len(l.events) + 1)
	l.events = append(l.events, eventstore.Event{
		Position: position, Key: book.Key{Domain: "test", Root: uuid.UUID{1}}, Sequence: uint32(position - 1), TypeURL: "type.googleapis.com/test.Happened",
		CommandID: uuid.New(), CorrelationID: fmt.Sprint(position), Count: 1,
	})
	return bus.Message{Previous: position - 1, Book: eventstore.Book(l.events[position-1:])}
}

func (l *log) ReadLog(_ context.Context, after uint64, limit int) ([]eventstore.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after >= uint64(len(l.events)) {
		return nil, nil
	}
	return l.events[after:min(len(l.events), int(after)+limit)], nil
}

func (l *log) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.events))
}

// load is a relay that appends to a log and publishes what it appended, as often
// as needed, until it is ended.
type load struct {
	log       *log
	published chan uint64 // the newest position
	stop      context.CancelFunc
	done      chan struct{}
}

func startLoad(t *testing.T, l *log, b *amqp.Bus) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := &load{log: l, published: make(chan uint64, 1), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for ctx.Err() == nil {
			o.publish(ctx, b, []bus.Message{l.append(), l.append()})
		}
	}()
	t.Cleanup(func() { o.end() })
	return o
}

func (o *load) publish(ctx context.Context, b *amqp.Bus, messages []bus.Message) {
	for ctx.Err() == nil {
		if b.Publish(ctx, messages) == nil {
			select {
			case <-o.published:
			default:
			}
			o.published <- messages[len(messages)-1].Book.Position
			return
		}
		// The relay's back-off, in short.
		rest, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		<-rest.Done()
		cancel()
	}
}

// more waits until something that was appended from now on has been published.
func (o *load) more(t *testing.T) {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	for from := o.log.Head(); ; {
		select {
		case position := <-o.published:
			if position > from+100 {
				return
			}
		case <-ctx.Done():
			t.Fatal("nothing is published any more")
		}
	}
}

// end stops the load and returns the last position of the log.
func (o *load) end() uint64 {
	o.stop()
	<-o.done
	return o.log.Head()
}

// consumer follows a log over a bus and checks that it sees every book once and
// in order.
type consumer struct {
	position uint64
	moved    chan uint64
	ended    chan error
	stop     context.CancelFunc
}

func startConsumer(t *testing.T, l *log, b bus.Subscriber, name string, from uint64) *consumer {
	t.Helper()
	ctx, cancel := within(t)
	t.Cleanup(cancel)
	s, err := b.Subscribe(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	c := &consumer{position: from, moved: make(chan uint64, 1), ended: make(chan error, 1), stop: cancel}
	go func() {
		err := follow.Follow(ctx, s, l, from, slog.New(slog.DiscardHandler), c.handle)
		c.ended <- errors.Join(err, s.Close())
	}()
	return c
}

func (c *consumer) handle(_ context.Context, events *pb.EventBook) error {
	if events.Position != c.position+1 {
		return fmt.Errorf("position %d came after %d", events.Position, c.position)
	}
	c.position = events.Position
	select {
	case <-c.moved:
	default:
	}
	c.moved <- c.position
	return nil
}

// await waits until the consumer has seen everything up to a position.
func (c *consumer) await(t *testing.T, position uint64) {
	t.Helper()
	ctx, cancel := within(t)
	defer cancel()
	for {
		select {
		case at := <-c.moved:
			if at >= position {
				return
			}
		case err := <-c.ended:
			t.Fatalf("the consumer ended: %v", err)
		case <-ctx.Done():
			t.Fatalf("the consumer does not get to position %d", position)
		}
	}
}

func (c *consumer) end(t *testing.T) {
	t.Helper()
	c.stop()
	if err := <-c.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the consumer ended with %v", err)
	}
}

// client is a connection to the broker that knows nothing of ours.
func client(t testing.TB, url string) *raw.Channel {
	t.Helper()
	connection, err := raw.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

// wire is a way to the broker that can be cut.
type wire struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, target: target}
	w.work.Go(w.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		w.set(true)
		w.work.Wait()
	})
	return w
}

func (w *wire) url() string { return "amqp://guest:guest@" + w.listener.Addr().String() + "/" }

func (w *wire) serve() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() { w.join(conn) })
	}
}

func (w *wire) join(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer to.Close()
	if !w.add(from, to) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
	_ = from.Close()
	<-done
}

func (w *wire) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	return !w.cut
}

// set cuts the wire, or mends it for new connections.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}
