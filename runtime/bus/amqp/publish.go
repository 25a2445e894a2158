package amqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus"
)

const (
	// window is how many messages may be under way without a confirmation.
	window = 256
	// confirmWithin is how long the broker may be silent about all of them.
	confirmWithin = 30 * time.Second
	// largest is what every broker takes in one message by its defaults. A book
	// beyond it would stop the relay for ever.
	largest = 15 << 20
)

var errBlocked = errors.New("the broker takes no messages until it has memory or disk space again")

// Publish returns when the broker has confirmed every message: it is on the disk
// of every queue, for a quorum queue of most of its copies. It fails at once while
// the broker is away. Messages of one call, and of calls one after the other,
// keep their order.
func (b *Bus) Publish(ctx context.Context, messages []bus.Message) error {
	if err := b.publish(ctx, messages); err != nil {
		return fmt.Errorf("publish to RabbitMQ: %w", err)
	}
	return nil
}

func (b *Bus) publish(ctx context.Context, messages []bus.Message) error {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.closing:
		return bus.ErrClosed
	}
	defer func() { <-b.turn }()
	if err := errors.Join(b.closing.Err(), ctx.Err()); err != nil || len(messages) == 0 {
		return err
	}
	out, err := b.outlet()
	if err != nil {
		return err
	}
	if err := out.publish(ctx, b, messages); err != nil {
		// What is still under way would be mistaken for the next attempt.
		b.outgoing = nil
		_ = out.session.promptly(goodbye, out.channel.Close)
		if b.closing.Err() != nil {
			return bus.ErrClosed
		}
		return err
	}
	return nil
}

// outgoing is the channel on which one session publishes.
type outgoing struct {
	session  *session
	channel  *amqp.Channel
	confirms chan amqp.Confirmation // in the order of publication
	lost     chan *amqp.Error
}

// outlet returns the channel of the session that there is now.
func (b *Bus) outlet() (*outgoing, error) {
	s, err := b.sessions.get()
	if err != nil {
		return nil, err
	}
	if s.blocked.Load() {
		return nil, errBlocked
	}
	if b.outgoing != nil && b.outgoing.session == s && !b.outgoing.channel.IsClosed() {
		return b.outgoing, nil
	}
	out := &outgoing{session: s, confirms: make(chan amqp.Confirmation, window), lost: make(chan *amqp.Error, 1)}
	err = s.promptly(handshake, func() (err error) {
		if out.channel, err = s.publishing.Channel(); err != nil {
			return err
		}
		return out.channel.Confirm(false)
	})
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	out.channel.NotifyPublish(out.confirms)
	out.channel.NotifyClose(out.lost)
	b.outgoing = out
	return out, nil
}

// publish sends messages, never more than a window ahead of what is confirmed.
func (o *outgoing) publish(ctx context.Context, b *Bus, messages []bus.Message) error {
	silence := time.NewTimer(confirmWithin)
	defer silence.Stop()
	underway := 0
	for {
		for len(messages) > 0 && underway < window {
			sent, err := o.send(ctx, b, messages[0])
			if err != nil {
				return err
			}
			if sent {
				underway++
			}
			messages = messages[1:]
		}
		if underway == 0 {
			return nil
		}
		confirmed, err := o.confirm(ctx, b, silence.C)
		if err != nil {
			return err
		}
		if confirmed {
			underway--
		}
		silence.Reset(confirmWithin)
	}
}

// confirm waits for one confirmation. It reports false when the broker is silent
// because it has no room: giving up would not make any.
func (o *outgoing) confirm(ctx context.Context, b *Bus, silence <-chan time.Time) (bool, error) {
	select {
	case confirmation, open := <-o.confirms:
		if !open {
			return false, o.closed()
		}
		if !confirmation.Ack {
			return false, errors.New("the broker could not take a message: look at its log")
		}
		return true, nil
	case <-silence:
		if o.session.blocked.Load() {
			return false, nil
		}
		return false, fmt.Errorf("the broker has confirmed nothing for %s; a queue may have no leader: restart the broker or delete the queue "+
			"(nothing is lost by that, consumers read the log)", confirmWithin)
	case <-ctx.Done():
		return false, ctx.Err()
	case <-b.closing:
		return false, bus.ErrClosed
	}
}

// send reports whether it sent anything, to be confirmed.
func (o *outgoing) send(ctx context.Context, b *Bus, message bus.Message) (bool, error) {
	key, publishing, err := encode(message, b.options.Epoch)
	if err != nil {
		return false, err
	}
	if len(publishing.Body) > largest {
		b.logger.Warn("a book is too large for the bus; its consumers read it from the log", "message", publishing.MessageId, "bytes", len(publishing.Body))
		return false, nil
	}
	err = o.channel.PublishWithContext(ctx, b.options.Exchange, key, false, false, publishing)
	if errors.Is(err, amqp.ErrClosed) {
		err = o.closed()
	}
	return err == nil, err
}

// closed says why the channel ended.
func (o *outgoing) closed() error {
	select {
	case reason := <-o.lost:
		if reason != nil {
			return explain(reason)
		}
	default:
	}
	return errors.New("the connection was lost")
}
