package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus"
)

const (
	// ready is how many decoded messages wait for Next. The others wait as the
	// broker sent them, up to the prefetch.
	ready = 64
	// ackBatch is how many messages are acknowledged at once while more are
	// waiting.
	ackBatch = 64
)

// Subscribe waits until the broker has a queue for the subscription, then
// receives whatever is published, over all reconnections. It fails when the
// context ends or the bus is closed before.
func (b *Bus) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if longest := b.queueName(name, maxInstances) + ".claim"; len(longest) > short {
		return nil, fmt.Errorf("subscribe %s to RabbitMQ: the name of its queue would be longer than %d bytes; give it a shorter name", name, short)
	}
	s := &subscription{
		bus: b, name: name, closing: make(lifetime), done: make(chan struct{}), established: make(chan struct{}), queue: make(chan bus.Message, ready),
		batch: max(1, min(ackBatch, b.options.Prefetch/4)),
	}
	if !b.add(s) {
		return nil, fmt.Errorf("subscribe %s to RabbitMQ: %w", name, bus.ErrClosed)
	}
	select {
	case <-s.established:
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.Close())
	case <-s.closing:
		return nil, errors.Join(fmt.Errorf("subscribe %s to RabbitMQ: %w", name, bus.ErrClosed), s.Close())
	}
}

// add starts a subscription unless the bus is closed.
func (b *Bus) add(s *subscription) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.subscriptions[s] = true
	b.consuming.Go(s.run)
	return true
}

func (b *Bus) remove(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subscriptions, s)
	delete(b.broken, s)
	b.sessions.touch()
}

// subscription is one consumer's end of the bus, over many connections.
type subscription struct {
	bus         *Bus
	name        string
	closing     lifetime
	cancelled   sync.Once
	done        chan struct{}    // closed when run has returned
	established chan struct{}    // closed once it has a queue
	queue       chan bus.Message // decoded, in the order of the broker
	batch       int              // of acknowledgements

	mu      sync.Mutex    // guards the rest
	acked   uint64        // the consumer has taken charge of everything up to here
	channel *amqp.Channel // nil while there is none
	pending []pending     // taken from the broker and not acknowledged, in order
}

// pending is a message that the broker waits to hear of.
type pending struct {
	position uint64 // 0 for one that needs no consumer
	tag      uint64
}

// run consumes from one queue after another until the subscription is closed.
func (s *subscription) run() {
	defer close(s.done)
	defer s.bus.remove(s)
	patience := newPatience()
	var complaint complaint
	for {
		session, err := s.bus.sessions.wait(s.closing)
		if err != nil {
			return
		}
		c, err := s.consume(session)
		if err != nil {
			s.failed(&complaint, err)
			pause(s.closing, patience)
			continue
		}
		s.bus.setBroken(s, false)
		complaint.forget()
		patience.Reset()
		err = c.receive()
		c.end()
		if s.closing.Err() != nil {
			return
		}
		if err != nil && !session.consuming.IsClosed() {
			s.bus.logger.Warn("a subscription lost its queue, subscribing again", "subscription", s.name, "queue", c.queue.name, "error", err)
			pause(s.closing, patience)
		}
	}
}

// failed says why there is no queue, unless that is because there is no broker.
func (s *subscription) failed(complaint *complaint, err error) {
	if current, _ := s.bus.sessions.get(); current == nil || errors.Is(err, amqp.ErrClosed) || s.closing.Err() != nil {
		return
	}
	s.bus.setBroken(s, true)
	if complaint.fresh(err) {
		s.bus.logger.Error("cannot subscribe to the bus, trying again", "subscription", s.name, "error", err)
	}
}

// consumer is a subscription's part in one session.
type consumer struct {
	subscription *subscription
	session      *session
	queue        queue
	channel      *amqp.Channel
	deliveries   <-chan amqp.Delivery
	letters      *letters // for dead letters, nil until there is one
	lost         chan *amqp.Error
}

// consume gets a queue and begins to take from it. A queue that does not answer
// stays claimed, so that the next attempt takes another one.
func (s *subscription) consume(session *session) (*consumer, error) {
	c := &consumer{subscription: s, session: session, lost: make(chan *amqp.Error, 1)}
	err := s.bus.patiently(handshake, c.open, func() { _ = c.channel.Close() })
	if errors.Is(err, errSilent) {
		return nil, fmt.Errorf("subscribe %s: %w", s.name, err)
	}
	if err != nil {
		return nil, explain(err)
	}
	s.use(c.channel)
	if !isClosed(s.established) {
		close(s.established)
	}
	return c, nil
}

func (c *consumer) open() (err error) {
	b := c.subscription.bus
	if c.queue, err = b.openQueue(c.session, c.subscription.name); err != nil {
		return err
	}
	if err = c.start(); err != nil {
		c.session.releaseQueue(c.queue)
	}
	return err
}

func (c *consumer) start() (err error) {
	if c.channel, err = c.session.consuming.Channel(); err != nil {
		return err
	}
	c.channel.NotifyClose(c.lost)
	if err := c.channel.Qos(c.subscription.bus.options.Prefetch, 0, false); err != nil {
		return err
	}
	if c.deliveries, err = c.channel.Consume(c.queue.name, "", false, true, false, false, nil); err != nil {
		_ = c.channel.Close()
		return fmt.Errorf("consume from queue %s: %w", c.queue.name, err)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// receive hands on what the broker sends. It returns when the subscription is
// closed, and with an error when the queue is gone.
func (c *consumer) receive() error {
	for {
		select {
		case delivery, open := <-c.deliveries:
			if !open {
				return c.gone()
			}
			if err := c.take(&delivery); err != nil {
				return err
			}
		case <-c.subscription.closing:
			return nil
		}
	}
}

// gone says why no more deliveries come.
func (c *consumer) gone() error {
	select {
	case reason := <-c.lost:
		if reason != nil {
			return explain(reason)
		}
		return amqp.ErrClosed
	default:
		return errors.New("the queue was deleted")
	}
}

// take hands on one message, unless the consumer has no use for it.
func (c *consumer) take(delivery *amqp.Delivery) error {
	s := c.subscription
	message, wanted, err := s.read(delivery)
	if reason := (*unfit)(nil); errors.As(err, &reason) {
		if err := c.bury(delivery, reason); err != nil {
			return err
		}
	}
	if !wanted {
		s.await(pending{0, delivery.DeliveryTag})
		s.acknowledge(s.batch)
		return nil
	}
	s.await(pending{message.Book.Position, delivery.DeliveryTag})
	select {
	case s.queue <- message:
	case <-s.closing:
	}
	return nil
}

// read decodes a message unless it is one that the consumer has taken charge of.
func (s *subscription) read(delivery *amqp.Delivery) (message bus.Message, wanted bool, err error) {
	previous, position, err := place(delivery.Headers, s.bus.epoch)
	if err != nil || position <= s.takenCharge() {
		return message, false, err
	}
	events, err := decode(delivery.ContentType, delivery.Body, position)
	if err != nil {
		return message, false, err
	}
	return bus.Message{Previous: previous, Book: events}, true, nil
}

// end leaves the queue to others.
func (c *consumer) end() {
	s := c.subscription
	_ = c.session.promptly(goodbye, func() error {
		s.acknowledge(1)
		s.use(nil)
		_ = c.channel.Close()
		if c.letters != nil {
			_ = c.letters.channel.Close()
		}
		c.session.releaseQueue(c.queue)
		return nil
	})
}

// Next returns the next message that the broker sent, of which there may be
// doubles after a reconnection.
func (s *subscription) Next(ctx context.Context) (bus.Message, error) {
	if err := ctx.Err(); err != nil {
		return bus.Message{}, err
	}
	if s.closing.Err() != nil {
		return bus.Message{}, bus.ErrClosed
	}
	select {
	case message := <-s.queue:
		return message, nil
	default:
	}
	// The consumer is up to date: a good moment to say so.
	s.acknowledge(1)
	select {
	case message := <-s.queue:
		return message, nil
	case <-ctx.Done():
		return bus.Message{}, ctx.Err()
	case <-s.closing:
		return bus.Message{}, bus.ErrClosed
	}
}

// Ack notes how far the consumer is. The broker hears of it when enough has come
// together, or when Next has nothing to return. Messages up to the position that
// come later are not delivered any more.
func (s *subscription) Ack(position uint64) error {
	s.mu.Lock()
	s.acked = max(s.acked, position)
	s.mu.Unlock()
	s.acknowledge(s.batch)
	return nil
}

func (s *subscription) takenCharge() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

func (s *subscription) await(p pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, p)
}

// use makes a channel the one that acknowledgements belong to.
func (s *subscription) use(channel *amqp.Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channel, s.pending = channel, nil
}

// acknowledge tells the broker of what the consumer has taken charge of, from the
// oldest message on, if it is a batch at least.
func (s *subscription) acknowledge(batch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.pending) && s.pending[n].position <= s.acked {
		n++
	}
	if n < batch || s.channel == nil {
		return
	}
	tag := s.pending[n-1].tag
	s.pending = append(s.pending[:0], s.pending[n:]...)
	// Without a connection the broker sends the messages again, and they are
	// recognized by their positions.
	_ = s.channel.Ack(tag, true)
}

// Close leaves the queue, which keeps what has not been acknowledged.
func (s *subscription) Close() error {
	s.cancel()
	<-s.done
	return nil
}

func (s *subscription) cancel() { s.cancelled.Do(func() { close(s.closing) }) }
