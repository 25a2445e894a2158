package supervise

import (
	"context"
	"fmt"
	"net"
	"time"
)

// waitElsewhere is how soon a service that is started elsewhere is said to be
// missing.
const waitElsewhere = 2 * time.Second

// attend tells whether a service that is started elsewhere is there, until the
// context ends.
func (s *service) attend(ctx context.Context) {
	s.tell(Waiting, nil)
	for ctx.Err() == nil {
		if !s.awaitElsewhere(ctx) {
			return
		}
		s.tell(Ready, nil)
		for ctx.Err() == nil {
			hold(ctx, s.spec.Address)
			if (&probe{address: s.spec.Address}).ask(ctx) != nil {
				break
			}
			pause(ctx, time.Second) // it may not like to be held
		}
		if ctx.Err() == nil {
			s.tell(Waiting, func(status *Status) { status.Problem = "it went away" })
		}
	}
}

// awaitElsewhere waits until the service answers and says so if that takes long.
// It reports whether it came to that before the context ended.
func (s *service) awaitElsewhere(ctx context.Context) bool {
	probing, stop := context.WithCancel(ctx)
	p := newProbe(s.spec.Address)
	go p.run(probing)
	defer func() { stop(); <-p.done }()
	began, late := time.Now(), time.NewTimer(waitElsewhere)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.ready:
			s.status.Took = time.Since(began)
			return true
		case <-late.C:
			s.tell(NotReady, func(status *Status) {
				status.Problem = fmt.Sprintf("not ready after %s: %s", waitElsewhere, p.why())
			})
		}
	}
}

// hold keeps a connection to the address and returns when the other side ends it,
// so that a service's end is noticed without asking again and again.
func hold(ctx context.Context, address string) {
	network, dialled := split(address)
	conn, err := (&net.Dialer{}).DialContext(ctx, network, dialled)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for ignored := make([]byte, 512); ; {
		if _, err := conn.Read(ignored); err != nil {
			return
		}
	}
}
