package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Examined is what can be told of a broker by one connection that changes nothing.
type Examined struct {
	Address string // host:port
	Server  string // the broker and its version, such as "RabbitMQ 4.1.0"
	TLS     bool   // whether the connection is protected
	Missing bool   // the exchange is not there yet: the first process makes it
}

// Examine connects once and looks. Its error says that the broker cannot be used
// as it is. The context bounds it.
func Examine(ctx context.Context, options Options) (Examined, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return Examined{}, err
	}
	uri, err := amqp.ParseURI(options.URL)
	if err != nil {
		return Examined{}, errors.New("the URL of the bus cannot be read") // check has said more
	}
	examined := Examined{Address: net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)), TLS: uri.Scheme == "amqps"}
	connection, err := connectOnce(ctx, options)
	if err != nil {
		return examined, fmt.Errorf("connect to the broker at %s: %w", examined.Address, explain(err))
	}
	defer connection.Close() // nothing hangs on how it ends
	product, _ := connection.Properties["product"].(string)
	version, _ := connection.Properties["version"].(string)
	examined.Server = product + " " + version
	channel, err := connection.Channel()
	if err != nil {
		return examined, fmt.Errorf("open a channel at %s: %w", examined.Address, explain(err))
	}
	err = channel.ExchangeDeclarePassive(options.Exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	var answer *amqp.Error
	if errors.As(err, &answer) && answer.Code == amqp.NotFound {
		examined.Missing = true
		return examined, nil
	}
	if err != nil {
		return examined, fmt.Errorf("look at the exchange %s: %w", options.Exchange, explain(err))
	}
	return examined, nil
}

// connectOnce connects. All that goes on over the connection ends with the
// context.
func connectOnce(ctx context.Context, options Options) (*amqp.Connection, error) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(options.ConnectionName)
	config := amqp.Config{Heartbeat: heartbeat, Properties: properties, Dial: func(network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() }) // also what hangs
		return conn, conn.SetDeadline(time.Now().Add(handshake))
	}}
	if options.TLS != nil {
		config.TLSClientConfig = options.TLS.Clone() // the library writes the server's name into it
	}
	connection, err := amqp.DialConfig(options.URL, config)
	if err != nil && ctx.Err() != nil {
		return nil, errors.New("it accepts connections but does not answer as a broker does")
	}
	return connection, err
}
