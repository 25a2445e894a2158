package amqp

import (
	"errors"
	"fmt"
	"maps"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The headers that a dead letter has beside its own.
const (
	headerReason   = "angzarr-reason"
	headerQueue    = "angzarr-queue"
	headerExchange = "angzarr-exchange"
	headerKey      = "angzarr-routing-key"
)

// bury moves a message that cannot be delivered to the dead letters. When it
// returns nil the message may be acknowledged. The consumer does this itself
// because the broker's own dead-lettering could not tell these messages from
// those for which a full queue had no room.
func (c *consumer) bury(delivery *amqp.Delivery, reason *unfit) error {
	b := c.subscription.bus
	kind := c.subscription.name + "\x00" + reason.kind
	if _, told := b.told.LoadOrStore(kind, true); !told {
		b.logger.Warn("a message on the bus is no book of this log and goes to the dead letters; more of the kind are only counted",
			"subscription", c.subscription.name, "queue", c.queue.name, "dead_letters", b.deadLetters(),
			"message", abridged(delivery.MessageId), "routing_key", delivery.RoutingKey, "error", reason)
	}
	b.rejected.Add(1)
	err := c.session.promptly(handshake, func() error { return c.publishDeadLetter(delivery, reason) })
	if errors.Is(err, errRefused) {
		b.logger.Error("the dead letters are full, a message is dropped: empty the queue",
			"dead_letters", b.deadLetters(), "message", abridged(delivery.MessageId), "error", reason)
		return nil
	}
	return err
}

var errRefused = errors.New("the broker refused the message")

// letters is the channel on which a consumer publishes dead letters.
type letters struct {
	channel  *amqp.Channel
	returned chan amqp.Return // receives what the broker had no queue for
}

func (c *consumer) openLetters() (*letters, error) {
	if c.letters != nil && !c.letters.channel.IsClosed() {
		return c.letters, nil
	}
	channel, err := c.session.consuming.Channel()
	if err != nil {
		return nil, err
	}
	c.letters = &letters{channel, channel.NotifyReturn(make(chan amqp.Return, 1))}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	// Somebody may have deleted the queue since the session began.
	return c.letters, c.subscription.bus.declareDeadLetters(channel)
}

func (c *consumer) publishDeadLetter(delivery *amqp.Delivery, reason *unfit) error {
	l, err := c.openLetters()
	if err != nil {
		return err
	}
	headers := maps.Clone(delivery.Headers)
	if headers == nil {
		headers = amqp.Table{}
	}
	headers[headerReason], headers[headerQueue] = reason.Error(), c.queue.name
	headers[headerExchange], headers[headerKey] = delivery.Exchange, delivery.RoutingKey
	confirmation, err := l.channel.PublishWithDeferredConfirm("", c.subscription.bus.deadLetters(), true, false, amqp.Publishing{
		Headers: headers, ContentType: delivery.ContentType, ContentEncoding: delivery.ContentEncoding, DeliveryMode: amqp.Persistent,
		CorrelationId: delivery.CorrelationId, MessageId: delivery.MessageId, Timestamp: delivery.Timestamp, Type: delivery.Type,
		AppId: delivery.AppId, Body: delivery.Body,
	})
	if err != nil {
		return fmt.Errorf("publish a dead letter: %w", err)
	}
	confirmed := confirmation.Wait()
	select {
	case <-l.returned: // before the confirmation
		_ = l.channel.Close()
		return errors.New("publish a dead letter: its queue was deleted")
	default:
	}
	if !confirmed && l.channel.IsClosed() {
		return amqp.ErrClosed
	}
	if !confirmed {
		return errRefused
	}
	return nil
}
