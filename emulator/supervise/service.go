package supervise

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// service is one service of a group. One goroutine runs it.
type service struct {
	group  *Group
	spec   Spec
	build  *build // nil if there is none
	env    []string
	status Status
	began  time.Time // of the newest start
}

// tell makes a change known.
func (s *service) tell(state State, change func(*Status)) {
	s.status.State, s.status.Problem, s.status.Tail, s.status.Delay, s.status.Took = state, "", nil, 0, 0
	if change != nil {
		change(&s.status)
	}
	s.group.changes <- s.status
}

func (s *service) run(ctx context.Context) {
	defer s.tell(Stopped, func(status *Status) { status.PID = 0 })
	if s.spec.Run.IsZero() {
		s.tell(Waiting, nil)
		s.follow(ctx, nil)
		return
	}
	if !s.prepare(ctx) {
		<-ctx.Done()
		return
	}
	delays := s.delays()
	for ctx.Err() == nil {
		problem, tail := s.life(ctx)
		if ctx.Err() != nil {
			return
		}
		lived := time.Since(s.began)
		if s.status.State == Ready && lived >= s.group.options.Healthy {
			delays.Reset()
		}
		delay := min(delays.NextBackOff(), s.group.options.LongestDelay)
		s.tell(Died, func(status *Status) {
			status.PID, status.Problem, status.Tail, status.Delay, status.Took = 0, problem, tail, delay, lived
		})
		pause(ctx, delay)
	}
}

// prepare waits for the build and for what the service's variables depend on. It
// reports whether the service can be started.
func (s *service) prepare(ctx context.Context) bool {
	if s.build != nil {
		s.tell(Building, nil)
		select {
		case <-s.build.done:
		case <-ctx.Done():
			return false
		}
		if s.build.problem != "" {
			s.tell(BuildFailed, func(status *Status) { status.Problem, status.Tail = s.build.problem, s.build.tail })
			return false
		}
	}
	if s.spec.RunEnv == nil || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	env, err := s.spec.RunEnv(ctx)
	if err != nil && ctx.Err() == nil {
		s.tell(NotReady, func(status *Status) { status.Problem = err.Error() })
	}
	s.env = env
	return err == nil
}

func (s *service) delays() *backoff.ExponentialBackOff {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval = s.group.options.FirstDelay
	delays.MaxInterval = s.group.options.LongestDelay
	delays.Multiplier, delays.RandomizationFactor = 2, 0.2
	delays.Reset()
	return delays
}

// life is one process of the service, from its start to its death. It returns
// why it died and what it said last; nothing of it is left then.
func (s *service) life(ctx context.Context) (problem string, tail []string) {
	s.began = time.Now()
	s.status.Starts++
	s.tell(Starting, nil)
	if err := vacate(s.spec.Address); err != nil {
		return err.Error(), nil
	}
	c, err := s.group.spawn(s.spec, s.spec.Run, s.env, fmt.Sprint(s.status.Starts))
	if err != nil {
		return fmt.Sprintf("it cannot be started: %v", err), nil
	}
	s.status.PID = c.pid
	s.follow(ctx, c)
	if ctx.Err() != nil {
		c.stop(s.group.options.Grace)
		return "", nil
	}
	c.clean()
	sweep(c.mark)
	return c.cmd.ProcessState.String(), c.tail.lines()
}

// follow tells whether the service is ready until its process, if it is one of
// ours, exits or the context ends.
func (s *service) follow(ctx context.Context, c *child) {
	var exited <-chan struct{}
	var said *tail
	patience := waitElsewhere
	if c != nil {
		exited, said, patience = c.exited, &c.tail, s.group.options.ReadyTimeout
	}
	probing, stop := context.WithCancel(ctx)
	p := &probe{address: s.spec.Address, ready: make(chan struct{}), done: make(chan struct{})}
	go p.run(probing)
	defer func() { stop(); <-p.done }()

	began, late, ready := time.Now(), time.NewTimer(patience), p.ready
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-exited:
			return
		case <-ready:
			ready = nil
			late.Stop()
			s.tell(Ready, func(status *Status) { status.Took = time.Since(began) })
		case <-late.C:
			s.tell(NotReady, func(status *Status) {
				status.Problem = fmt.Sprintf("not ready after %s: %s", patience, p.why())
				status.Tail = said.lines()
			})
		}
	}
}

// pause waits for a time or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// jitter spreads what would else happen at the same moment.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/8+1))
}
