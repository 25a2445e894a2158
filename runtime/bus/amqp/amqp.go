// Package amqp is the bus over RabbitMQ, for components that run as processes of
// their own. The relay publishes every book once to a durable topic exchange; each
// consuming process has a queue of its own, bounded, from which it takes all of
// them in order. What the broker loses, and what a queue has no room for,
// consumers read from the log. DESIGN.md beside this file says why.
package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus"
)

// The kinds of queues that RabbitMQ offers for what has to survive it.
const (
	QueueQuorum  = "quorum"  // replicated when the broker is a cluster
	QueueClassic = "classic" // on one node, and cheaper
)

// Options describe the broker and what to make there. Only URL is needed.
type Options struct {
	// URL is amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS. It is a
	// secret and appears in no error and no log line.
	URL string
	// Exchange is the topic exchange that books are published to,
	// angzarr.events when empty. It is made if it is not there.
	Exchange string
	// QueuePrefix stands before the name of every queue, for two systems that
	// share a virtual host.
	QueuePrefix string
	// QueueType is QueueQuorum, the default, or QueueClassic.
	QueueType string
	// Prefetch is how many messages a consumer is given before it has
	// acknowledged the first of them; 512 when 0.
	Prefetch int
	// MaxLength is how many messages a queue keeps; 100,000 when 0. It drops the
	// oldest ones for newer ones, and consumers read those from the log.
	MaxLength int
	// Expires is how long the queue of an instance that is not the first of its
	// component is kept while nobody uses it; 30 minutes when 0.
	Expires time.Duration
	// Epoch identifies the log. Messages from another log are not delivered.
	Epoch uuid.UUID
	// TLS is how the broker is talked to when the URL begins with amqps; nil for
	// the machine's certificate authorities.
	TLS *tls.Config
	// ConnectionName is what the broker calls the connections of this process.
	ConnectionName string
	Logger         *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Exchange, "angzarr.events")
	setDefault(&o.QueueType, QueueQuorum)
	setDefault(&o.Prefetch, 512)
	setDefault(&o.MaxLength, 100_000)
	setDefault(&o.Expires, 30*time.Minute)
	setDefault(&o.ConnectionName, "angz")
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o Options) check() error {
	uri, err := amqp.ParseURI(o.URL)
	if err != nil {
		return fmt.Errorf("the URL of the bus cannot be read: %s; expected amqp://USER:PASSWORD@HOST:PORT/VHOST "+
			"with special characters of the password percent-encoded", withoutURL(err))
	}
	for _, mechanism := range uri.AuthMechanism {
		if !slices.Contains([]string{"PLAIN", "AMQPLAIN", "EXTERNAL"}, strings.ToUpper(mechanism)) {
			return errors.New("the URL of the bus names an unknown auth_mechanism; choose plain, amqplain or external")
		}
	}
	if o.QueueType != QueueQuorum && o.QueueType != QueueClassic {
		return fmt.Errorf("unknown type %q of queues for the bus; choose %s or %s", o.QueueType, QueueQuorum, QueueClassic)
	}
	if o.Prefetch < 1 || o.Prefetch > 65_535 {
		return fmt.Errorf("a prefetch of %d messages is not possible; choose 1 to 65535", o.Prefetch)
	}
	if o.MaxLength < 1 || o.Expires < time.Millisecond {
		return errors.New("queues need a maximum length of at least 1 message and an expiry of at least 1ms; leave them at 0 for the defaults")
	}
	return nil
}

// withoutURL leaves out of an error what url.Parse quotes: the secret itself.
func withoutURL(err error) string {
	if parse := (*url.Error)(nil); errors.As(err, &parse) {
		var escape url.EscapeError
		var host url.InvalidHostError
		if errors.As(err, &escape) || errors.As(err, &host) {
			return "it has a wrong percent-encoding or a wrong host"
		}
		return "it is no URL"
	}
	return err.Error()
}

// Bus is a connection to a broker that comes back by itself. It is safe for
// concurrent use.
type Bus struct {
	options   Options
	logger    *slog.Logger
	epoch     string
	closing   lifetime
	work      sync.WaitGroup
	consuming sync.WaitGroup // the subscriptions
	sessions  state
	turn      chan struct{} // holds a token while somebody publishes
	outgoing  *outgoing     // of the session it was made in; only with the token
	rejected  atomic.Uint64
	told      sync.Map // kinds of dead letters that the log has heard of

	ended  sync.Once
	mu     sync.Mutex // guards the rest
	closed bool
	// subscriptions are those that are not closed, broken those of them that try
	// in vain to get a queue.
	subscriptions, broken map[*subscription]bool
}

// Open returns a bus at once and connects to the broker in the background, again
// and again if need be. It fails when the options make no sense.
func Open(options Options) (*Bus, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	b := &Bus{
		options: options, logger: options.Logger.With("bus", "amqp"), closing: make(lifetime),
		epoch: options.Epoch.String(), turn: make(chan struct{}, 1),
		subscriptions: map[*subscription]bool{}, broken: map[*subscription]bool{},
	}
	b.sessions.changed = make(chan struct{})
	b.work.Go(b.connect)
	return b, nil
}

// Close ends all subscriptions and connections and waits until nothing of the
// bus runs any more. It is safe to call more than once.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	for s := range b.subscriptions {
		s.cancel()
	}
	b.mu.Unlock()
	// They have last acknowledgements to send.
	b.consuming.Wait()
	b.ended.Do(func() { close(b.closing) })
	b.work.Wait()
	return nil
}

// Watch tells whether the bus works, at once and whenever that changes, until the
// context ends or the bus is closed, and returns that error. The bus works when
// the broker is connected and every subscription has its queue.
func (b *Bus) Watch(ctx context.Context, tell func(up bool)) error {
	first, last := true, false
	for {
		changed := b.sessions.change()
		if up := b.up(); first || up != last {
			tell(up)
			first, last = false, up
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.closing:
			return fmt.Errorf("watch the bus: %w", bus.ErrClosed)
		}
	}
}

// Rejected is how many messages this process has taken from its queues and moved
// to the dead letters, because they are not books of this log.
func (b *Bus) Rejected() uint64 { return b.rejected.Load() }

func (b *Bus) up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	current, _ := b.sessions.get()
	return current != nil && len(b.broken) == 0
}

// setBroken notes whether a subscription tries in vain to get its queue.
func (b *Bus) setBroken(s *subscription, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if broken == b.broken[s] {
		return
	}
	if broken {
		b.broken[s] = true
	} else {
		delete(b.broken, s)
	}
	b.sessions.touch()
}

// lifetime is the context of what a bus does by itself. It ends when the bus is
// closed.
type lifetime chan struct{}

func (lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l lifetime) Done() <-chan struct{}     { return l }
func (lifetime) Value(any) any               { return nil }

func (l lifetime) Err() error {
	select {
	case <-l:
		return bus.ErrClosed
	default:
		return nil
	}
}
