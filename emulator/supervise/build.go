package supervise

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// builder runs builds, each once for all services that share it.
type builder struct {
	group *Group
	slots chan struct{} // more builds at once only take turns

	mu      sync.Mutex
	newest  map[string]*build // by what is built
	working sync.WaitGroup
}

func newBuilder(g *Group) *builder {
	return &builder{group: g, slots: make(chan struct{}, runtime.NumCPU()), newest: map[string]*build{}}
}

// build is one run of a build command.
type build struct {
	spec   Spec // of the first service that needs it
	began  time.Time
	cancel context.CancelFunc

	done    chan struct{}
	next    *build // what came in its place, when it was cancelled for that
	took    time.Duration
	failure *failure // when done is closed; nil if the build is good
}

// failure says what went wrong with a build or a check.
type failure struct {
	problem string
	tail    []string
}

// built returns what a build has come to that began no earlier than at. One that
// is under way and began before is given up for it.
func (b *builder) built(ctx context.Context, spec Spec, at time.Time) *build {
	running := b.start(ctx, spec, at)
	for {
		select {
		case <-running.done:
		case <-ctx.Done():
			return running
		}
		b.mu.Lock()
		next := running.next
		b.mu.Unlock()
		if next == nil {
			return running
		}
		running = next
	}
}

// start returns the newest run of a build if that is new enough, else a new one.
func (b *builder) start(ctx context.Context, spec Spec, at time.Time) *build {
	key := fmt.Sprintf("%q %q %q %q", spec.Dir, spec.Build.Argv, spec.Build.Shell, slices.Sorted(slices.Values(spec.Env)))
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.newest[key]
	if before != nil && !before.began.Before(at) {
		return before
	}
	// The service that asks first may leave while others wait for the build.
	running, cancel := context.WithCancel(b.group.ctx)
	next := &build{spec: spec, began: time.Now(), cancel: cancel, done: make(chan struct{})}
	b.newest[key] = next
	if before != nil {
		before.next = next
		before.cancel()
	}
	b.working.Go(func() {
		defer cancel()
		defer close(next.done)
		if before != nil {
			<-before.done // two builds of the same would be in each other's way
		}
		b.run(running, next)
	})
	return next
}

// wait returns when no build is under way. The group's context must have ended.
func (b *builder) wait() { b.working.Wait() }

// run runs one build as soon as there is a slot for it.
func (b *builder) run(ctx context.Context, run *build) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return
	}
	run.failure = b.group.succeeds(ctx, run.spec, run.spec.Build)
	run.took = time.Since(run.began)
}

// succeeds runs a command to its end and returns what is wrong if it fails. When
// the context ends it is stopped.
func (g *Group) succeeds(ctx context.Context, spec Spec, command Command) *failure {
	c, err := g.spawn(spec, command, nil, "build")
	if err != nil {
		return &failure{problem: fmt.Sprintf("the build cannot be started: %v", err)}
	}
	select {
	case <-ctx.Done():
		c.stop(g.options.Grace)
		return nil
	case <-c.exited:
		// What the build leaves running on purpose, a compiler's daemon, may
		// stay until angz ends; what is in its group may not.
		c.clean()
	}
	if c.cmd.ProcessState.Success() {
		return nil
	}
	return &failure{fmt.Sprintf("%s: %s", strings.TrimSpace(command.String()), c.cmd.ProcessState), c.tail.lines()}
}
