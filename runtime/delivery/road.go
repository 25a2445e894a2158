package delivery

import (
	"context"
	"time"

	"github.com/angz-dev/angz/runtime/bus"
)

// road is a bus subscription that need not be there yet. Until it is, the log
// alone is followed: a broker that is away delays events and stops nothing.
type road struct {
	ready        chan struct{} // closed when the rest is set
	subscription bus.Subscription
	err          error
	cancel       context.CancelFunc
}

// briefly is how long a bus is waited for: one that is there takes no longer, and
// then nothing has to be read from the log that it brings anyway.
const briefly = time.Second

// subscribe begins to subscribe. The road is to be closed.
func subscribe(ctx context.Context, from bus.Subscriber, name string) *road {
	waiting, cancel := context.WithCancel(ctx)
	r := &road{ready: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(r.ready)
		r.subscription, r.err = from.Subscribe(waiting, name)
	}()
	timer := time.NewTimer(briefly)
	defer timer.Stop()
	select {
	case <-r.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	return r
}

// Next waits for the subscription and for a message.
func (r *road) Next(ctx context.Context) (bus.Message, error) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return bus.Message{}, ctx.Err()
	}
	if r.err != nil {
		return bus.Message{}, r.err
	}
	return r.subscription.Next(ctx)
}

// Ack tells the bus, if it is there. The next one tells it as much.
func (r *road) Ack(position uint64) error {
	select {
	case <-r.ready:
	default:
		return nil
	}
	if r.err != nil {
		return nil // Next says so
	}
	return r.subscription.Ack(position)
}

// Close ends the subscription.
func (r *road) Close() error {
	r.cancel()
	<-r.ready
	if r.err != nil {
		return nil
	}
	return r.subscription.Close()
}
