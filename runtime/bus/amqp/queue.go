package amqp

import (
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// maxInstances is how many processes of one component can consume at once.
	maxInstances = 1000
	// maxDeadLetters is how many messages wait for a person's attention.
	maxDeadLetters = 10_000
)

// declareShared makes the exchange and the queue of dead letters.
func (b *Bus) declareShared(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	defer channel.Close()
	if err := channel.ExchangeDeclare(b.options.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", b.options.Exchange, err)
	}
	return b.declareDeadLetters(channel)
}

func (b *Bus) declareDeadLetters(channel *amqp.Channel) error {
	_, err := channel.QueueDeclare(b.deadLetters(), true, false, false, false, amqp.Table{
		"x-queue-type": b.options.QueueType, "x-max-length": int64(maxDeadLetters),
		// A full queue refuses, so that whoever has one more says so.
		"x-overflow": "reject-publish",
	})
	if err != nil {
		return fmt.Errorf("declare queue %s: %w", b.deadLetters(), err)
	}
	return nil
}

func (b *Bus) deadLetters() string { return b.options.QueuePrefix + "angzarr.dead-letters" }

// queueName names the queue of the n-th process of a component, from 1.
func (b *Bus) queueName(component string, n int) string {
	name := b.options.QueuePrefix + strings.ReplaceAll(component, "/", "-")
	if n > 1 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	return name
}

// queue is what one subscription consumes from.
type queue struct {
	name  string
	claim string // of a queue that lasts: the name of the one that claims it
}

// openQueue declares a component's first free queue, or without a component one
// of the subscription's own, and binds it.
func (b *Bus) openQueue(s *session, component string) (queue, error) {
	q, err := queue{}, error(nil)
	if component != "" {
		if q, err = b.claimQueue(s, component); err != nil {
			return q, err
		}
	}
	if q.name, err = b.declareQueue(s.consuming, q.name, component); err != nil {
		s.releaseQueue(q)
		return q, err
	}
	return q, nil
}

// claimQueue finds the first queue of a component that no process has. What
// decides is a queue beside it that belongs to one connection: the broker
// refuses it to all others and deletes it with the connection. (An exclusive
// consumer would not do: quorum queues let in a second one.)
func (b *Bus) claimQueue(s *session, component string) (queue, error) {
	for n := 1; n <= maxInstances; n++ {
		q := queue{name: b.queueName(component, n)}
		if !s.hold(q.name) {
			continue
		}
		q.claim = q.name + ".claim"
		err := declare(s.consuming, func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare(q.claim, false, false, true, false, nil)
			return err
		})
		if err == nil {
			return q, nil
		}
		s.letGo(q.name)
		if refused := (*amqp.Error)(nil); !errors.As(err, &refused) || refused.Code != amqp.ResourceLocked {
			return queue{}, fmt.Errorf("declare queue %s: %w", q.claim, err)
		}
	}
	return queue{}, fmt.Errorf("all %d queues of %s are in use", maxInstances, component)
}

// declareQueue makes a queue and binds it to everything that is published.
func (b *Bus) declareQueue(connection *amqp.Connection, name, component string) (string, error) {
	durable := component != ""
	arguments := amqp.Table{"x-max-length": int64(b.options.MaxLength), "x-overflow": "drop-head"}
	if durable {
		arguments["x-queue-type"] = b.options.QueueType
		if name != b.queueName(component, 1) {
			arguments["x-expires"] = b.options.Expires.Milliseconds()
		}
	}
	err := declare(connection, func(channel *amqp.Channel) error {
		declared, err := channel.QueueDeclare(name, durable, !durable, !durable, false, arguments)
		if err != nil {
			return err
		}
		name = declared.Name
		return channel.QueueBind(name, "#", b.options.Exchange, false, nil)
	})
	if err != nil {
		return name, fmt.Errorf("declare queue %s: %w", name, err)
	}
	return name, nil
}

// declare runs something on a channel of its own, since the broker ends a channel
// with every refusal.
func declare(connection *amqp.Connection, operation func(*amqp.Channel) error) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	defer channel.Close()
	return operation(channel)
}

// releaseQueue lets others have a queue. Where the connection is gone the broker
// has done so itself.
func (s *session) releaseQueue(q queue) {
	if q.claim == "" {
		return
	}
	_ = declare(s.consuming, func(channel *amqp.Channel) error {
		_, err := channel.QueueDelete(q.claim, false, false, false)
		return err
	})
	s.letGo(q.name)
}

// hold keeps a queue from other subscriptions of this process, whose connection
// is the same for the broker. It reports false if another one has it.
func (s *session) hold(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[name] {
		return false
	}
	s.held[name] = true
	return true
}

func (s *session) letGo(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, name)
}
