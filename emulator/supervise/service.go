package supervise

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// service is one service of a group. Everything that happens to it goes through
// the loop of run, one thing after the other.
type service struct {
	group     *Group
	described Spec // as it was last wanted; the group's lock guards it
	leave     context.CancelFunc
	gone      chan struct{} // closed when nothing of it is left

	mu      sync.Mutex
	wanted  *want         // not taken yet
	ordered chan struct{} // has one when wanted is set

	// The rest is for the loop only.
	status Status
	spec   Spec // of what runs, or runs next
	env    []string
	next   want        // what is being prepared, or would be after a failure
	update *update     // the preparation under way; nil if there is none
	stale  *failure    // why what runs is not the newest; nil if it is
	child  *child      // nil while nothing runs
	life   *life       // of the child
	again  *time.Timer // to the next start after a death; nil if none is due
	delays *backoff.ExponentialBackOff
}

// want is what a service is to do.
type want struct {
	spec  *Spec // nil for the same as before
	cause Cause
	kill  bool // a crash, and nothing else
}

// update is the preparation of the next process.
type update struct {
	cancel context.CancelFunc
	done   chan prepared
}

// prepared is what an update has come to.
type prepared struct {
	failure *failure
	env     []string
	build   time.Duration
}

// life is what is watched while a process runs.
type life struct {
	stop  func()          // ends the probe
	ready <-chan struct{} // nil once it was ready
	late  *time.Timer
	slow  time.Duration // after which late tells next
	why   func() string
}

func newService(g *Group, spec Spec, leave context.CancelFunc) *service {
	s := &service{
		group: g, described: spec, leave: leave, gone: make(chan struct{}), ordered: make(chan struct{}, 1),
		spec: spec, status: Status{Name: spec.Name, Address: spec.Address},
	}
	s.delays = backoff.NewExponentialBackOff()
	s.delays.InitialInterval, s.delays.MaxInterval = g.options.FirstDelay, g.options.LongestDelay
	s.delays.Multiplier, s.delays.RandomizationFactor = 2, 0.2
	s.delays.Reset()
	return s
}

// order says what the service is to do next. Of several orders that have not been
// taken yet the newest counts, with the files of all.
func (s *service) order(w want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.wanted; before != nil {
		if w.kill {
			w = want{spec: before.spec, cause: before.cause, kill: before.kill}
		}
		w.spec = cmp.Or(w.spec, before.spec)
		w.cause.Files = append(before.cause.Files[:len(before.cause.Files):len(before.cause.Files)], w.cause.Files...)
	}
	s.wanted = &w
	select {
	case s.ordered <- struct{}{}:
	default:
	}
}

func (s *service) take() want {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := *s.wanted
	s.wanted = nil
	return taken
}

// tell makes a change known.
func (s *service) tell(state State, change func(*Status)) {
	s.status.State, s.status.Problem, s.status.Tail, s.status.Delay = state, "", nil, 0
	if change != nil {
		change(&s.status)
	}
	s.group.changes <- s.status
}

// tellFailure is tell for a build or a check that failed.
func (s *service) tellFailure(state State, f *failure) {
	s.tell(state, func(status *Status) { status.Problem, status.Tail = f.problem, f.tail })
}

func (s *service) run(ctx context.Context) {
	defer s.tell(Stopped, func(status *Status) { status.PID = 0 })
	if s.spec.Run.IsZero() {
		s.attend(ctx)
		return
	}
	defer s.halt()
	s.prepare(ctx, want{cause: Cause{Why: "angz was started", At: s.group.began}})
	for s.step(ctx) {
	}
}

// step waits for the next thing that happens to the service and deals with it. It
// reports whether the service goes on.
func (s *service) step(ctx context.Context) bool {
	var exited, ready <-chan struct{}
	var late, again <-chan time.Time
	var done <-chan prepared
	if s.child != nil {
		exited, ready, late = s.child.exited, s.life.ready, s.life.late.C
	}
	if s.again != nil {
		again = s.again.C
	}
	if s.update != nil {
		done = s.update.done
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.ordered:
		s.obey(ctx)
	case result := <-done:
		s.update = nil
		s.prepared(ctx, result)
	case <-exited:
		s.died()
	case <-again:
		s.again = nil
		s.start(ctx)
	case <-ready:
		s.becameReady()
	case <-late:
		s.isLate()
	}
	return true
}

// halt ends what is under way, when the service is to be no more.
func (s *service) halt() {
	if s.update != nil {
		s.update.cancel()
		<-s.update.done
	}
	if s.again != nil {
		s.again.Stop()
	}
	s.end()
}

func (s *service) obey(ctx context.Context) {
	w := s.take()
	if w.kill && s.child != nil {
		killGroup(s.child.pid)
	}
	if w.cause.Why != "" {
		s.prepare(ctx, w)
	}
}

// prepare begins to make everything ready for the next process. What is being
// prepared already is begun again.
func (s *service) prepare(ctx context.Context, w want) {
	if w.spec != nil {
		s.next.spec = w.spec
	}
	// What was changed before, and has not been run yet, is checked again.
	s.next.cause.Files = append(s.next.cause.Files, w.cause.Files...)
	s.next.cause.Why, s.next.cause.At = w.cause.Why, w.cause.At
	if s.update != nil {
		s.update.cancel()
		<-s.update.done
	}
	if s.again != nil { // whatever made it die may be mended
		s.again.Stop()
		s.again = nil
		s.delays.Reset()
	}
	spec, cause := s.spec, s.next.cause
	if s.next.spec != nil {
		spec = *s.next.spec
	}
	building, cancel := context.WithCancel(ctx)
	s.update = &update{cancel: cancel, done: make(chan prepared, 1)}
	if s.status.Cause = cause.Why; !spec.Build.IsZero() {
		state := Building
		if s.status.State.Serves() {
			state = Rebuilding
		}
		s.tell(state, nil)
	}
	go func(done chan<- prepared) {
		defer cancel()
		done <- s.group.prepare(building, spec, cause)
	}(s.update.done)
}

// prepare makes everything ready for a process.
func (g *Group) prepare(ctx context.Context, spec Spec, cause Cause) (result prepared) {
	if !spec.Build.IsZero() {
		run := g.builder.built(ctx, spec, cause.At)
		if ctx.Err() != nil {
			return prepared{}
		}
		if result.build = run.took; run.failure != nil {
			return prepared{failure: run.failure}
		}
	}
	if spec.Check != nil && len(cause.Files) > 0 {
		if check := spec.Check(cause.Files); !check.IsZero() {
			if result.failure = g.succeeds(ctx, spec, check); result.failure != nil {
				result.failure.problem = "what was saved cannot be run"
				return result
			}
		}
	}
	if spec.RunEnv != nil {
		result.env = spec.RunEnv(ctx)
	}
	return result
}

// prepared puts the next process in the place of the present one, unless
// something is wrong with it.
func (s *service) prepared(ctx context.Context, result prepared) {
	if ctx.Err() != nil {
		return
	}
	if result.failure != nil {
		s.stale = result.failure
		switch {
		case s.status.State.Serves():
			s.tellFailure(Outdated, s.stale)
		case s.status.Starts > 0 && s.child == nil:
			s.start(ctx) // with what was built before
		default:
			s.tellFailure(BuildFailed, s.stale)
		}
		return
	}
	s.stale = nil
	s.end()
	if s.next.spec != nil {
		s.spec = *s.next.spec
		s.status.Address = s.spec.Address
	}
	s.env, s.status.Build = result.env, result.build
	s.delays.Reset()
	s.start(ctx)
	s.next.cause.Files, s.next.spec = nil, nil
}

// start starts the process.
func (s *service) start(ctx context.Context) {
	s.status.Since, s.status.Cause = time.Now(), s.next.cause.Why
	s.status.Starts++
	s.tell(Starting, nil)
	if err := vacate(s.spec.Address); err != nil {
		s.failed(err.Error(), nil)
		return
	}
	c, err := s.group.spawn(s.spec, s.spec.Run, s.env, fmt.Sprint(s.status.Starts))
	if err != nil {
		s.failed(fmt.Sprintf("it cannot be started: %v", err), nil)
		return
	}
	s.child, s.status.PID = c, c.pid
	s.life = s.begin(ctx)
}

// begin watches for the moment when the new process is ready.
func (s *service) begin(ctx context.Context) *life {
	probing, stop := context.WithCancel(ctx)
	p := newProbe(s.spec.Address)
	go p.run(probing)
	slow := min(firstComplaint, s.group.options.ReadyTimeout)
	return &life{stop: func() { stop(); <-p.done }, ready: p.ready, late: time.NewTimer(slow), slow: slow, why: p.why}
}

// firstComplaint is when a service that is not ready is said to take its time,
// and each further time after twice as long.
const firstComplaint = 5 * time.Second

func (s *service) becameReady() {
	s.life.ready = nil
	s.life.late.Stop()
	s.status.Took = time.Since(s.status.Since)
	s.status.Whole = max(s.status.Took, time.Since(s.next.cause.At))
	switch {
	case s.stale != nil:
		s.tellFailure(Outdated, s.stale)
	case s.update != nil:
		s.tell(Rebuilding, nil)
	default:
		s.tell(Ready, nil)
	}
}

// isLate says that the service takes its time, and that it is not ready when it
// has taken too much.
func (s *service) isLate() {
	waited := time.Since(s.status.Since).Round(time.Second)
	if limit := s.group.options.ReadyTimeout; s.life.slow < limit {
		s.group.options.Logger.Info(s.spec.Name+" is not ready yet", "duration", waited, "error", s.life.why())
		next := min(2*s.life.slow, limit)
		s.life.late.Reset(next - s.life.slow)
		s.life.slow = next
		return
	}
	s.tell(NotReady, func(status *Status) {
		status.Problem = fmt.Sprintf("not ready after %s: %s", s.group.options.ReadyTimeout, s.life.why())
		status.Tail = s.child.tail.lines()
	})
}

// died deals with the end of a process that nobody asked for.
func (s *service) died() {
	c := s.child
	s.life.stop()
	s.life.late.Stop()
	s.child, s.life, s.status.PID = nil, nil, 0
	c.clean()
	sweep(c.mark)
	s.failed(c.cmd.ProcessState.String(), c.tail.lines())
}

// failed tells that there is no process, and has it started again after a while,
// unless a better one is being prepared.
func (s *service) failed(problem string, said []string) {
	lived := time.Since(s.status.Since)
	if s.status.State.Serves() && lived >= s.group.options.Healthy {
		s.delays.Reset()
	}
	delay := min(s.delays.NextBackOff(), s.group.options.LongestDelay)
	if s.update != nil {
		delay = 0
	} else {
		s.next.cause.Why, s.next.cause.At = ItDied, time.Now()
		s.again = time.NewTimer(delay)
	}
	s.status.PID = 0
	s.tell(Died, func(status *Status) {
		status.Problem, status.Tail, status.Delay, status.Took = problem, said, delay, lived
	})
}

// end stops the process, if there is one, and returns when nothing of it is left.
func (s *service) end() {
	if s.child == nil {
		return
	}
	s.life.stop()
	s.life.late.Stop()
	grace := s.group.options.Grace
	slow := time.AfterFunc(min(time.Second, grace/2), func() {
		s.group.options.Logger.Warn(s.spec.Name+" takes its time to stop", "killed_after", grace)
	})
	if killed := s.child.stop(grace); killed {
		s.group.options.Logger.Warn(s.spec.Name+" did not stop when it was asked to (SIGTERM) and was killed", "after", grace)
	}
	slow.Stop()
	sweep(s.child.mark)
	s.child, s.life, s.status.PID = nil, nil, 0
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
