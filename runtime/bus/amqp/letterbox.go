package amqp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Letterbox is a durable queue of a broker, not necessarily that of the bus, into
// which single messages are put for programs that are not angz. It connects for
// each of them: they are few, and the broker may be anybody's.
type Letterbox struct {
	URL            string // a secret
	Queue          string // declared when it is not there
	TLS            *tls.Config
	ConnectionName string
}

// Letter is one message for a letterbox.
type Letter struct {
	ID            string // the same whenever the same letter is put
	CorrelationID string
	Type          string // full name of the message in Body
	Body          []byte // in its protobuf encoding
}

// Put puts a letter into the queue and returns when the broker has it for good.
// It takes no longer than the context, and no longer than about 15 s.
func (l Letterbox) Put(ctx context.Context, letter Letter) error {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	if err := l.put(ctx, letter); err != nil {
		if ctx.Err() != nil {
			// The broken socket says less than why it was broken.
			err = fmt.Errorf("the broker has not answered in time: %w", ctx.Err())
		}
		return fmt.Errorf("put a message into the queue %s: %w", l.Queue, explain(err))
	}
	return nil
}

func (l Letterbox) put(ctx context.Context, letter Letter) error {
	if _, err := amqp.ParseURI(l.URL); err != nil {
		return fmt.Errorf("the URL cannot be read: %s", withoutURL(err))
	}
	connection, stop, err := l.dial(ctx)
	defer stop()
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	// The broker's default kind of queue: whoever made it before may have
	// chosen another one.
	if _, err := channel.QueueDeclarePassive(l.Queue, true, false, false, false, nil); err != nil {
		if channel, err = connection.Channel(); err != nil {
			return err
		}
		if _, err := channel.QueueDeclare(l.Queue, true, false, false, false, nil); err != nil {
			return err
		}
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	confirmed, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", l.Queue, true, false, amqp.Publishing{
		ContentType: "application/protobuf", DeliveryMode: amqp.Persistent, Timestamp: time.Now(),
		MessageId: letter.ID, CorrelationId: letter.CorrelationID, Type: letter.Type, Body: letter.Body,
	})
	if err != nil {
		return err
	}
	taken, err := confirmed.WaitContext(ctx)
	if err == nil && !taken {
		err = errRefused
	}
	return err
}

// dial connects. The end of the context ends the socket, until stop is called:
// the library knows no contexts.
func (l Letterbox) dial(ctx context.Context) (connection *amqp.Connection, stop func() bool, err error) {
	stop = func() bool { return true }
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(l.ConnectionName)
	config := amqp.Config{Heartbeat: heartbeat, Properties: properties, Dial: func(network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}}
	if l.TLS != nil {
		config.TLSClientConfig = l.TLS.Clone() // the library writes the server's name into it
	}
	connection, err = amqp.DialConfig(l.URL, config)
	return connection, stop, err
}
