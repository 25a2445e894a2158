// Package channel is the bus inside one process: each subscriber has a bounded
// queue in memory, a publisher never waits, and a subscriber that cannot keep up
// loses its oldest messages and reads them from the log instead.
package channel

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/angz-dev/angz/runtime/bus"
)

// capacity is how many messages wait for one subscriber. It is enough to ride
// out a slow call of a service; whoever is further behind is served better by
// the log, which is read in pages.
const capacity = 1024

// Bus carries messages between the goroutines of one process. It is safe for
// concurrent use. The zero value is not ready; use New.
type Bus struct {
	mu            sync.RWMutex
	subscriptions []*subscription // replaced, never changed in place
	closed        bool
}

// New returns a bus that nobody has subscribed to.
func New() *Bus { return &Bus{} }

// Publish puts messages into the queue of every subscriber and returns at once.
// It fails with bus.ErrClosed when the bus has been closed.
func (b *Bus) Publish(ctx context.Context, messages []bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.RLock()
	subscriptions, closed := b.subscriptions, b.closed
	b.mu.RUnlock()
	if closed {
		return fmt.Errorf("publish to the channel bus: %w", bus.ErrClosed)
	}
	for _, s := range subscriptions {
		s.push(messages)
	}
	return nil
}

// Subscribe starts receiving. Subscriptions of the same name do not share
// messages: each gets all of them.
func (b *Bus) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &subscription{bus: b, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("subscribe %s to the channel bus: %w", name, bus.ErrClosed)
	}
	b.subscriptions = append(slices.Clip(b.subscriptions), s)
	return s, nil
}

// Close ends all subscriptions. It is safe to call more than once.
func (b *Bus) Close() error {
	b.mu.Lock()
	subscriptions := b.subscriptions
	b.subscriptions, b.closed = nil, true
	b.mu.Unlock()
	for _, s := range subscriptions {
		s.end()
	}
	return nil
}

func (b *Bus) remove(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.subscriptions, s); i >= 0 {
		b.subscriptions = slices.Delete(slices.Clone(b.subscriptions), i, i+1)
	}
}

// subscription is a ring of the newest messages.
type subscription struct {
	bus  *Bus
	wake chan struct{} // holds one token when there may be something to see

	mu     sync.Mutex // held for copying messages only
	ring   []bus.Message
	first  int // index of the oldest message
	count  int
	closed bool
}

// push adds messages, over the oldest ones when there is no room.
func (s *subscription) push(messages []bus.Message) {
	if len(messages) > capacity {
		messages = messages[len(messages)-capacity:]
	}
	s.mu.Lock()
	if s.ring == nil {
		s.ring = make([]bus.Message, capacity)
	}
	for _, message := range messages {
		s.ring[(s.first+s.count)%capacity] = message
		if s.count < capacity {
			s.count++
		} else {
			s.first = (s.first + 1) % capacity
		}
	}
	s.mu.Unlock()
	s.signal()
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next returns the oldest message that is left.
func (s *subscription) Next(ctx context.Context) (bus.Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return bus.Message{}, err
		}
		if message, ok, err := s.pop(); ok || err != nil {
			return message, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

func (s *subscription) pop() (message bus.Message, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return message, false, bus.ErrClosed
	}
	if s.count == 0 {
		return message, false, nil
	}
	message = s.ring[s.first]
	s.ring[s.first] = bus.Message{} // the ring must not keep the book alive
	s.first = (s.first + 1) % capacity
	s.count--
	return message, true, nil
}

// Ack does nothing: the bus forgets a message when it is taken.
func (s *subscription) Ack(uint64) error { return nil }

// Close ends the subscription and wakes a Next that waits.
func (s *subscription) Close() error {
	s.bus.remove(s)
	s.end()
	return nil
}

func (s *subscription) end() {
	s.mu.Lock()
	s.closed, s.ring, s.count = true, nil, 0
	s.mu.Unlock()
	s.signal()
}
