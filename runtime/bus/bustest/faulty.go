package bustest

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/angz-dev/angz/runtime/bus"
)

// Faults says how badly a Faulty bus behaves. Rates are between 0 and 1.
type Faults struct {
	// Seed makes a run repeatable: subscriptions of the same name, in the order
	// in which they are made, treat the same messages in the same way.
	Seed   uint64
	Drop   float64 // messages that never arrive
	Double float64 // messages that arrive once more, now or later
	Delay  float64 // messages that arrive after later ones
	Window int     // how many later ones at most; 8
	// LoseNewest lets even the newest message be dropped, which the contract
	// forbids: only a consumer that looks at the log by itself finds out.
	LoseNewest bool
	// Fail is the rate at which Publish takes a part of what it is given and
	// then fails.
	Fail float64
}

// ErrFault is what a Faulty bus fails with.
var ErrFault = errors.New("the faulty bus fails")

// Faulty is a bus that does what the contract allows a bus to do at its worst.
type Faulty struct {
	publisher  bus.Publisher
	subscriber bus.Subscriber
	faults     Faults

	mu   sync.Mutex // guards the rest
	rand *rand.Rand // for Publish
	made uint64     // subscriptions
}

// NewFaulty wraps a bus. Either side may be nil if it is not used.
func NewFaulty(publisher bus.Publisher, subscriber bus.Subscriber, faults Faults) *Faulty {
	if faults.Window <= 0 {
		faults.Window = 8
	}
	return &Faulty{
		publisher: publisher, subscriber: subscriber, faults: faults,
		rand: rand.New(rand.NewPCG(faults.Seed, 0)),
	}
}

// Publish hands the messages on, or the first few of them and fails.
func (f *Faulty) Publish(ctx context.Context, messages []bus.Message) error {
	f.mu.Lock()
	fails, taken := f.rand.Float64() < f.faults.Fail, f.rand.IntN(len(messages)+1)
	f.mu.Unlock()
	if !fails {
		return f.publisher.Publish(ctx, messages)
	}
	if err := f.publisher.Publish(ctx, messages[:taken]); err != nil {
		return err
	}
	return ErrFault
}

// Subscribe returns a subscription that drops, doubles and delays.
func (f *Faulty) Subscribe(ctx context.Context, name string) (bus.Subscription, error) {
	inner, err := f.subscriber.Subscribe(ctx, name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	hash := fnv.New64a()
	hash.Write([]byte(name))
	return &faulty{
		Subscription: inner, faults: f.faults,
		rand: rand.New(rand.NewPCG(f.faults.Seed, hash.Sum64()+f.made)),
	}, nil
}

// quiet is how long nothing must have come before what is held back counts as
// late enough.
const quiet = 5 * time.Millisecond

// faulty is one subscription. Only Next uses its fields.
type faulty struct {
	bus.Subscription
	faults Faults
	rand   *rand.Rand
	ready  []bus.Message
	held   []heldMessage
	newest *bus.Message // dropped, and nothing has come after it
}

type heldMessage struct {
	message bus.Message
	after   int // messages that still come first
}

// Next returns a message that is due, in whatever order that makes.
func (s *faulty) Next(ctx context.Context) (bus.Message, error) {
	for len(s.ready) == 0 {
		message, err := s.receive(ctx)
		switch {
		case err == nil:
			s.decide(message)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			s.release()
		default:
			return bus.Message{}, err
		}
	}
	message := s.ready[0]
	s.ready = s.ready[1:]
	return message, nil
}

// receive waits for a message, but not for long while some are held back.
func (s *faulty) receive(ctx context.Context) (bus.Message, error) {
	if len(s.held) == 0 && s.newest == nil {
		return s.Subscription.Next(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	return s.Subscription.Next(waiting)
}

// decide chooses the fate of a message.
func (s *faulty) decide(message bus.Message) {
	s.newest = nil
	switch luck := s.rand.Float64(); {
	case luck < s.faults.Drop:
		if !s.faults.LoseNewest {
			s.newest = &message
		}
	case luck < s.faults.Drop+s.faults.Delay:
		s.hold(message)
	default:
		s.ready = append(s.ready, message)
		if s.rand.Float64() < s.faults.Double {
			s.hold(message)
		}
	}
	s.count()
}

func (s *faulty) hold(message bus.Message) {
	s.held = append(s.held, heldMessage{message, 1 + s.rand.IntN(s.faults.Window)})
}

// count makes ready what has been held back long enough.
func (s *faulty) count() {
	var still []heldMessage
	for _, held := range s.held {
		if held.after--; held.after < 0 {
			s.ready = append(s.ready, held.message)
		} else {
			still = append(still, held)
		}
	}
	s.held = still
}

// release makes ready everything that is held back, since nothing else comes.
func (s *faulty) release() {
	for _, held := range s.held {
		s.ready = append(s.ready, held.message)
	}
	s.held = nil
	if s.newest != nil {
		s.ready = append(s.ready, *s.newest)
		s.newest = nil
	}
}
