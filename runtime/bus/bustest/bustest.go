// Package bustest judges drivers of the bus: Run holds one against the contract,
// and Faulty makes of a good bus the worst one that the contract allows, to see
// whether consumers lose anything on it.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
)

// Bus is a driver with both its ends.
type Bus interface {
	bus.Publisher
	bus.Subscriber
	Close() error
}

// patience ends a test that hangs.
const patience = time.Minute

// Run holds a driver against the contract. open returns a new bus that nobody
// else uses; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) Bus) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, Bus)
	}{
		{"a subscriber sees messages in the order of publication", testOrder},
		{"every subscriber sees every message", testEveryone},
		{"each of several publishers keeps its order", testPublishers},
		{"a subscriber sees nothing from before it subscribed", testNoPast},
		{"a subscriber that falls behind does not hold up the publisher", testSlow},
		{"the message is shared and arrives whole", testWhole},
		{"next ends with its context", testCancel},
		{"next can be called again after its context has ended", testCancelThenGoOn},
		{"close wakes next", testCloseWakes},
		{"close may be repeated and messages do not come after it", testCloseIsFinal},
		{"closing one subscription leaves the others alone", testCloseOne},
		{"closing the bus ends everything", testCloseBus},
		{"a component can subscribe again", testAgain},
		{"two subscriptions of one name both see every message", testSameName},
		{"a name that two have had is free again", testNameFree},
		{"a subscription without a name sees every message and is forgotten", testTransient},
		{"acknowledgements in any state do no harm", testAck},
		{"a consumer that is ahead of the bus sees what comes after its position", testAhead},
		{"subscribers come and go while messages flow", testChurn},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			t.Cleanup(func() { check(t, b.Close()) })
			c.test(t, b)
		})
	}
}

// messages returns one-event books with positions from first to last.
func messages(first, last uint64) []bus.Message {
	var list []bus.Message
	for position := first; position <= last; position++ {
		list = append(list, bus.Message{Previous: position - 1, Book: &pb.EventBook{
			Cover:         &pb.Cover{Domain: "test", Root: &pb.UUID{Value: make([]byte, 16)}},
			Pages:         []*pb.EventPage{{Sequence: &pb.EventPage_Num{Num: uint32(position - 1)}, Event: &anypb.Any{TypeUrl: "type.googleapis.com/test.Happened", Value: []byte{1}}}},
			CorrelationId: fmt.Sprintf("correlation-%d", position),
			Position:      position,
			TraceContext:  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		}})
	}
	return list
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func subscribe(t *testing.T, b Bus, name string) bus.Subscription {
	t.Helper()
	s, err := b.Subscribe(within(t), name)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func publish(t *testing.T, b Bus, list []bus.Message) {
	t.Helper()
	if err := b.Publish(within(t), list); err != nil {
		t.Errorf("publish: %v", err)
	}
}

// view is what a consumer knows: what it has, whether from the bus or, for a
// hole that a message showed, from the log.
type view struct {
	position uint64
	holes    int
}

// take follows the rules of a consumer.
func (v *view) take(message bus.Message) error {
	if message.Previous+1 != message.Book.Position {
		return fmt.Errorf("message %d arrived with previous position %d", message.Book.Position, message.Previous)
	}
	if message.Book.Position <= v.position {
		return nil // doubled
	}
	if message.Previous != v.position {
		v.holes++
	}
	v.position = message.Book.Position
	return nil
}

// until takes messages until the consumer has seen, or knows that it missed,
// everything up to last.
func (v *view) until(ctx context.Context, s bus.Subscription, last uint64) error {
	for v.position < last {
		message, err := s.Next(ctx)
		if err != nil {
			return fmt.Errorf("next after position %d of %d: %w", v.position, last, err)
		}
		if err := v.take(message); err != nil {
			return err
		}
		if err := s.Ack(v.position); err != nil {
			return fmt.Errorf("acknowledge position %d: %w", v.position, err)
		}
	}
	return nil
}

func testOrder(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	publish(t, b, messages(1, 100))
	publish(t, b, messages(101, 101))
	publish(t, b, nil)
	publish(t, b, messages(102, 200))
	v := view{}
	check(t, v.until(within(t), s, 200))
	if v.holes != 0 {
		t.Errorf("a quiet bus with a reading subscriber left %d holes", v.holes)
	}
}

func testEveryone(t *testing.T, b Bus) {
	const subscribers, last = 8, 300
	var work sync.WaitGroup
	ctx := within(t)
	for i := range subscribers {
		s := subscribe(t, b, fmt.Sprintf("projector/%d", i))
		work.Go(func() { check(t, (&view{}).until(ctx, s, last)) })
	}
	for position := uint64(1); position <= last; position += 3 {
		publish(t, b, messages(position, position+2))
	}
	work.Wait()
}

// testPublishers tells the publishers apart by their correlation ids.
func testPublishers(t *testing.T, b Bus) {
	const publishers, each = 4, 50
	s := subscribe(t, b, "projector/one")
	var work sync.WaitGroup
	for p := range publishers {
		work.Go(func() {
			for i := range each {
				message := messages(uint64(i+1), uint64(i+1))[0]
				message.Book.CorrelationId = fmt.Sprint(p)
				publish(t, b, []bus.Message{message})
			}
		})
	}
	work.Wait()
	last := map[string]uint64{}
	ctx := within(t)
	for complete := 0; complete < publishers; {
		message, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("next: %v, having seen %v", err, last)
		}
		from, position := message.Book.CorrelationId, message.Book.Position
		if position > last[from]+1 {
			t.Fatalf("publisher %s: position %d came after %d", from, position, last[from])
		}
		if position == each && last[from] < each {
			complete++
		}
		last[from] = max(last[from], position)
	}
}

func testNoPast(t *testing.T, b Bus) {
	witness := subscribe(t, b, "projector/witness")
	publish(t, b, messages(1, 5))
	check(t, (&view{}).until(within(t), witness, 5))
	s := subscribe(t, b, "projector/late")
	publish(t, b, messages(6, 6))
	message, err := s.Next(within(t))
	if err != nil || message.Book.Position != 6 || message.Previous != 5 {
		t.Errorf("the first message is %v, %v; expected position 6 after 5", message, err)
	}
}

// testSlow publishes far more than any queue holds before anybody reads.
func testSlow(t *testing.T, b Bus) {
	const last = 20_000
	idle, slow := subscribe(t, b, "projector/idle"), subscribe(t, b, "projector/slow")
	for position := uint64(1); position <= last; position += 100 {
		publish(t, b, messages(position, position+99))
	}
	v := view{}
	check(t, v.until(within(t), slow, last))
	publish(t, b, messages(last+1, last+1))
	check(t, v.until(within(t), slow, last+1))
	check(t, (&view{}).until(within(t), idle, last+1))
}

func testWhole(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	list := messages(1, 1)
	publish(t, b, list)
	got, err := s.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "the message", list[0].Book, got.Book)
}

func testCancel(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { _, err := s.Next(ctx); failed <- err }()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("next with a cancelled context: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("next with an expired context: %v", err)
	}
	if _, err := b.Subscribe(ctx, "projector/two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("subscribe with an expired context: %v", err)
	}
}

func testCancelThenGoOn(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	for position := uint64(1); position <= 20; position++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("next on an empty bus: %v", err)
		}
		cancel()
		publish(t, b, messages(position, position))
		message, err := s.Next(within(t))
		if err != nil || message.Book.Position != position {
			t.Fatalf("next: %v, %v; expected position %d", message, err, position)
		}
	}
}

func testCloseWakes(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	failed := make(chan error, 1)
	ctx := within(t)
	go func() { _, err := s.Next(ctx); failed <- err }()
	check(t, s.Close())
	if err := <-failed; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("next while the subscription closes: %v", err)
	}
}

func testCloseIsFinal(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	publish(t, b, messages(1, 3))
	check(t, s.Close())
	check(t, s.Close())
	publish(t, b, messages(4, 4))
	for range 2 {
		if _, err := s.Next(within(t)); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
	}
}

func testCloseOne(t *testing.T, b Bus) {
	leaving, staying := subscribe(t, b, "projector/leaving"), subscribe(t, b, "projector/staying")
	publish(t, b, messages(1, 2))
	check(t, leaving.Close())
	publish(t, b, messages(3, 4))
	check(t, (&view{}).until(within(t), staying, 4))
}

func testCloseBus(t *testing.T, b Bus) {
	waiting, full := subscribe(t, b, "projector/waiting"), subscribe(t, b, "projector/full")
	publish(t, b, messages(1, 1))
	check(t, (&view{}).until(within(t), waiting, 1))
	failed := make(chan error, 1)
	ctx := within(t)
	go func() { _, err := waiting.Next(ctx); failed <- err }()
	check(t, b.Close())
	check(t, b.Close())
	if err := <-failed; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("next while the bus closes: %v", err)
	}
	if _, err := full.Next(ctx); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("next after the bus has closed: %v", err)
	}
	if _, err := b.Subscribe(ctx, "projector/late"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe after the bus has closed: %v", err)
	}
	if err := b.Publish(ctx, messages(2, 2)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish after the bus has closed: %v", err)
	}
}

func testAgain(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	publish(t, b, messages(1, 3))
	v := view{}
	check(t, v.until(within(t), s, 2))
	check(t, s.Close())
	publish(t, b, messages(4, 4))
	s = subscribe(t, b, "projector/one")
	publish(t, b, messages(5, 5))
	check(t, v.until(within(t), s, 5))
}

func testAck(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	check(t, s.Ack(0))
	publish(t, b, messages(1, 3))
	v := view{}
	check(t, v.until(within(t), s, 3))
	check(t, s.Ack(3))
	check(t, s.Ack(2))
	publish(t, b, messages(4, 4))
	check(t, v.until(within(t), s, 4))
}

func testSameName(t *testing.T, b Bus) {
	one, two := subscribe(t, b, "projector/one"), subscribe(t, b, "projector/one")
	publish(t, b, messages(1, 100))
	for _, s := range []bus.Subscription{one, two} {
		v := view{}
		check(t, v.until(within(t), s, 100))
		if v.holes != 0 {
			t.Errorf("%d holes", v.holes)
		}
	}
}

func testNameFree(t *testing.T, b Bus) {
	one, two := subscribe(t, b, "projector/one"), subscribe(t, b, "projector/one")
	check(t, one.Close())
	three := subscribe(t, b, "projector/one")
	publish(t, b, messages(1, 1))
	check(t, (&view{}).until(within(t), two, 1))
	check(t, (&view{}).until(within(t), three, 1))
}

func testTransient(t *testing.T, b Bus) {
	one, two := subscribe(t, b, ""), subscribe(t, b, "")
	publish(t, b, messages(1, 10))
	check(t, (&view{}).until(within(t), one, 10))
	check(t, (&view{}).until(within(t), two, 10))
	check(t, one.Close())
	publish(t, b, messages(11, 11))
	check(t, (&view{}).until(within(t), two, 11))
	three := subscribe(t, b, "")
	publish(t, b, messages(12, 12))
	message, err := three.Next(within(t))
	if err != nil || message.Book.Position != 12 {
		t.Errorf("the first message is %v, %v; expected position 12", message, err)
	}
}

// testAhead is a consumer that has read the log further than the bus is.
func testAhead(t *testing.T, b Bus) {
	s := subscribe(t, b, "projector/one")
	check(t, s.Ack(2_000))
	for position := uint64(1); position <= 2_001; position += 100 {
		publish(t, b, messages(position, min(position+99, 2_001)))
	}
	check(t, (&view{}).until(within(t), s, 2_001))
	check(t, s.Ack(1))
	publish(t, b, messages(2_002, 2_002))
	check(t, (&view{}).until(within(t), s, 2_002))
}

func testChurn(t *testing.T, b Bus) {
	const last = 2_000
	done := make(chan struct{})
	var work sync.WaitGroup
	ctx := within(t)
	steady := subscribe(t, b, "projector/steady")
	work.Go(func() { check(t, (&view{}).until(ctx, steady, last)) })
	for i := range 4 {
		work.Go(func() { check(t, comeAndGo(ctx, b, fmt.Sprintf("projector/%d", i), done)) })
	}
	for position := uint64(1); position <= last; position += 10 {
		publish(t, b, messages(position, position+9))
	}
	close(done)
	work.Wait()
}

func comeAndGo(ctx context.Context, b Bus, name string, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		s, err := b.Subscribe(ctx, name)
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		waiting, cancel := context.WithTimeout(ctx, time.Millisecond)
		_, err = s.Next(waiting)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("next: %w", err)
		}
		if err := s.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
}
