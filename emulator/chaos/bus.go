package chaos

import (
	"context"
	"errors"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
)

// Bus is both ends of a bus.
type Bus interface {
	bus.Publisher
	bus.Subscriber
}

// Bus returns a bus that treats each component's subscription badly. Subscriptions
// without a name, which are those of people who watch, are left alone.
func (c *Chaos) Bus(good Bus) Bus {
	if c == nil {
		return good
	}
	return badBus{good, c}
}

type badBus struct {
	Bus
	chaos *Chaos
}

// Subscribe implements bus.Subscriber.
func (b badBus) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	subscription, err := b.Bus.Subscribe(ctx, name)
	if err != nil || name == "" {
		return subscription, err
	}
	return &badSubscription{Subscription: subscription, chaos: b.chaos, name: name}, nil
}

// badSubscription is one component's. Only Next uses what is below its name.
type badSubscription struct {
	bus.Subscription
	chaos *Chaos
	name  string

	ready []bus.Message
	still time.Time // nothing leaves before then
	late  []lateMessage
}

// lateMessage is one that others overtake.
type lateMessage struct {
	message bus.Message
	after   int       // as many others
	until   time.Time // when it leaves in any case
}

// mostOvertake is how many messages overtake another one at most.
const mostOvertake = 4

// Next returns a message that is due, in whatever order that makes.
func (s *badSubscription) Next(ctx context.Context) (bus.Message, error) {
	for len(s.ready) == 0 {
		if s.release(time.Now()); len(s.ready) > 0 {
			break
		}
		message, err := s.receive(ctx)
		if err == nil {
			s.treat(message)
		} else if !errors.Is(err, errQuiet) {
			return bus.Message{}, err
		}
	}
	if err := pause(ctx, time.Until(s.still)); err != nil {
		return bus.Message{}, err // the message is there at the next call
	}
	message := s.ready[0]
	s.ready = s.ready[1:]
	return message, nil
}

// errQuiet says that nothing came before a late message had waited long enough.
var errQuiet = errors.New("nothing came")

// receive waits for a message, until the first of the late ones is due.
func (s *badSubscription) receive(ctx context.Context) (bus.Message, error) {
	if len(s.late) == 0 {
		return s.Subscription.Next(ctx)
	}
	first := s.late[0].until
	for _, late := range s.late[1:] {
		if late.until.Before(first) {
			first = late.until
		}
	}
	waiting, cancel := context.WithDeadline(ctx, first)
	defer cancel()
	message, err := s.Subscription.Next(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		err = errQuiet
	}
	return message, err
}

// treat decides what becomes of a message.
func (s *badSubscription) treat(message bus.Message) {
	key, err := book.KeyOf(message.Book.GetCover())
	if err != nil || len(message.Book.Pages) == 0 {
		s.ready = append(s.ready, message)
		return
	}
	d := s.chaos.throw(identity{road: roadBus, component: s.name, domain: key.Domain, root: key.Root, sequence: book.Last(message.Book)})
	options := &s.chaos.options
	switch {
	case d.hit(Dropped, options.Drops):
		s.inject(d, Dropped, message)
		return
	case d.hit(Reordered, options.Reorders):
		s.inject(d, Reordered, message)
		s.keep(message, d, Reordered)
	case d.hit(Delayed, options.Delays):
		s.inject(d, Delayed, message)
		s.still = time.Now().Add(d.delay(Delayed, options.LongestDelay))
		s.leave(message)
	default:
		s.leave(message)
	}
	if d.hit(Doubled, options.Duplicates) {
		s.inject(d, Doubled, message)
		s.keep(message, d, Doubled)
	}
}

func (s *badSubscription) inject(d dice, kind Kind, message bus.Message) {
	s.chaos.inject(d.fault(kind), message.Book.CorrelationId)
}

// leave makes a message the next one. Late ones that have been overtaken often
// enough leave after it.
func (s *badSubscription) leave(message bus.Message) {
	s.ready = append(s.ready, message)
	for i := range s.late {
		if s.late[i].after--; s.late[i].after <= 0 {
			s.late[i].until = time.Time{}
		}
	}
}

// keep makes a message a late one.
func (s *badSubscription) keep(message bus.Message, d dice, kind Kind) {
	s.late = append(s.late, lateMessage{
		message: message, after: d.among(kind, mostOvertake), until: time.Now().Add(d.delay(kind, s.chaos.options.LongestDelay)),
	})
}

// release has the late messages leave that are due.
func (s *badSubscription) release(now time.Time) {
	var later []lateMessage
	for _, late := range s.late {
		if late.until.After(now) {
			later = append(later, late)
		} else {
			s.ready = append(s.ready, late.message)
		}
	}
	s.late = later
}

// pause waits, if there is anything to wait for.
func pause(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
