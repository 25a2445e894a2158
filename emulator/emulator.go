// Package emulator is angz dev: the production runtime in one process on a
// developer's machine, together with the user's services, which it builds,
// starts, watches and keeps up. It adds nothing to how commands and events are
// handled.
package emulator

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/angz-dev/angz/emulator/chaos"
	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/transport"
)

// Options say what is run and where it is told.
type Options struct {
	Config *config.Config
	// Reload reads the configuration again when its file was changed; nil leaves
	// it as it is.
	Reload  func() (*config.Config, error)
	Environ []string // what the services inherit, as os.Environ returns it
	// Stdin is where keys are read from when it is a terminal; nil for none.
	// Stdout gets the table of what runs where, Stderr the log.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool       // whether Stderr is a terminal
	Color          bool       // whether Stderr may be coloured
	Quiet          bool       // whether only warnings are logged, and nothing of the services
	Shown          []string   // whose lines are shown besides angz's own; none for all
	Width          func() int // how many columns Stderr has, 0 for any number; may be nil
	Detached       bool       // whether nobody sits before it
	Data           DataOptions
	Chaos          *chaos.Options // which faults are injected; nil for none
	// Guard is the command line of a process that calls supervise.Guard.
	Guard []string
}

// Mistake is an error in what somebody wrote, such as a seed file. Nothing was
// started.
type Mistake struct{ error }

// Unwrap returns the error itself.
func (m *Mistake) Unwrap() error { return m.error }

// Run runs the project until the context ends, somebody asks it to stop, or the
// runtime fails, and returns when nothing of it is left. A service that cannot be
// built or started is reported and does not stop the others. It fails with
// *control.Taken when the project runs already.
func Run(ctx context.Context, options Options) (err error) {
	began := time.Now()
	claim, err := control.Acquire(control.Self{
		Project: filepath.Base(options.Config.Dir), Dir: options.Config.Dir, Detached: options.Detached, Environ: options.Environ,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	plan, err := newPlan(options.Config, options.Environ, nil)
	if err != nil {
		return err
	}
	if err := plan.checkShown(options.Shown); err != nil {
		return &Mistake{err}
	}
	log, err := newLog(options, plan.names())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	seeds, err := readSeeds(ctx, options.Config, options.Data.Seeds)
	if err != nil {
		return &Mistake{err}
	}
	cleanup, err := prepareStore(ctx, options.Config, options.Data, func(text string) { log.angz.Info(text) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	e := &emulation{
		seeds:   seeds,
		options: options, claim: claim, log: log, began: began, stop: stop,
		plan: plan, board: newBoard(plan.names()), reload: make(chan struct{}, 1), schema: make(chan struct{}, 1), doors: &transport.Doors{},
	}
	e.compatible = newCompatible(log.angz)
	e.chaos = e.newChaos()
	defer e.confess()
	return e.run(ctx)
}

// emulation is one run of a project.
type emulation struct {
	options    Options
	claim      *control.Claim
	log        *log
	board      *board
	began      time.Time
	stop       func() // ends Run
	doors      *transport.Doors
	group      *supervise.Group
	chaos      *chaos.Chaos // nil for none
	seeds      []seed
	code       codeMemory
	compatible *compatible
	schema     chan struct{} // has one when the .proto files are to be looked at again
	reload     chan struct{} // has one when the configuration is to be read again

	mu      sync.Mutex
	plan    *plan
	runtime *node.Node     // nil until it is open
	watcher *watch.Watcher // nil until it has seen all files
	ready   bool           // everything was up once
}

func (e *emulation) run(ctx context.Context) error {
	listener, err := e.claim.Listen()
	if err != nil {
		return err
	}
	e.group = supervise.New(supervise.Options{
		Environ: e.plan.environ, Guard: e.options.Guard, Sockets: append(e.plan.sockets(), e.claim.Socket()),
		Logger: e.log.angz, Lines: e.log.Line, OnChange: e.changed,
	})
	// The services outlive ctx: they are needed until the runtime has come to rest.
	serving, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	var beside sync.WaitGroup
	var groupErr, controlErr error
	prepared := make(chan struct{})
	beside.Go(func() {
		e.generate(ctx, e.current()) // services that lack code say so when they are built
		e.code.starting()
		close(prepared)
		groupErr = e.group.Run(serving, e.current().specs())
	})
	beside.Go(func() { e.followSchema(ctx) })
	beside.Go(func() { controlErr = listener.Serve(ctx, controlled{e}, e.log.angz) })
	beside.Go(func() {
		<-prepared // the code that is there then is nothing new to anybody
		e.watch(ctx)
	})
	beside.Go(func() { e.readKeys(ctx) })
	beside.Go(func() { e.checkFirst(ctx) })

	err = e.runNodes(ctx)
	e.stop()
	stopServices()
	beside.Wait()
	return errors.Join(err, groupErr, controlErr, e.doors.Close())
}

// current returns the plan that is in force.
func (e *emulation) current() *plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plan
}

// runNodes runs the runtime, and another one each time that the configuration
// wants it otherwise, until the context ends or it fails.
func (e *emulation) runNodes(ctx context.Context) error {
	opened, err := e.open(ctx, e.plan)
	if err != nil {
		return err
	}
	announced := make(chan struct{})
	announcing, stop := context.WithCancel(ctx)
	go func() {
		defer close(announced)
		e.announceWhenUp(announcing, opened)
	}()
	defer func() { stop(); <-announced }()
	for {
		next, err := e.runNode(ctx, opened)
		if err != nil || next == nil {
			return err
		}
		if opened, err = e.replace(ctx, next); err != nil {
			return err
		}
	}
}

// runNode runs the runtime until the context ends or it fails, or, with the plan
// that wants it otherwise, until it has to be replaced.
func (e *emulation) runNode(ctx context.Context, opened *node.Node) (next *plan, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- opened.Run(running) }()
	for {
		select {
		case err := <-ended:
			return nil, err
		case <-e.reload:
			if next = e.reloaded(ctx); next != nil {
				stop()
				return next, <-ended
			}
		}
	}
}

// open opens the runtime for a plan and makes it known to everybody.
func (e *emulation) open(ctx context.Context, p *plan) (*node.Node, error) {
	options := node.Options{
		Config: p.config, Logger: e.log.logger, Events: e.log.events, Color: e.options.Color, EventLines: true,
		Listen: e.doors.Listen, Patience: patience, Observer: e.log.stories,
	}
	e.disturb(&options)
	opened, err := node.Open(ctx, options)
	if err != nil {
		return nil, errors.Join(ExplainPorts(p.config, err))
	}
	e.mu.Lock()
	e.runtime, e.plan = opened, p
	e.mu.Unlock()
	for _, status := range e.board.all() {
		e.hurry(status.Status)
	}
	if moved := p.doors.open(opened.Endpoints()); moved {
		e.group.Restart(supervise.Cause{Why: "angz listens elsewhere now", At: time.Now()})
	}
	return opened, nil
}

// patience is how long a call waits for a service that is being built or started
// again.
const patience = 30 * time.Second

// announceWhenUp prints where everything is as soon as that is known.
func (e *emulation) announceWhenUp(ctx context.Context, opened *node.Node) {
	if !e.board.await(ctx, opened.Ready()) {
		return
	}
	if err := sow(ctx, opened.Gateway(), e.seeds, func(text string) { e.log.angz.Info(text) }); err != nil && ctx.Err() == nil {
		e.log.angz.Error(err.Error())
	}
	e.mu.Lock()
	e.ready = true
	e.mu.Unlock()
	e.board.touch()
	e.announce(ctx, time.Since(e.began))
}

// announce prints where everything is. took is how long it took to get there, 0
// if that was long ago.
func (e *emulation) announce(ctx context.Context, took time.Duration) {
	p := e.current()
	announce(ctx, e.options.Stdout, announcement{plan: p, statuses: e.board.all(), endpoints: p.doors.all(), took: took})
}

// changed takes note of how a service is doing.
func (e *emulation) changed(status supervise.Status) {
	e.board.set(status)
	e.log.report(status)
	e.hurry(status)
	if watcher := e.watching(); watcher != nil && status.State == supervise.Starting {
		watcher.Started(status.Name)
	}
}

// hurry has the runtime, once there is one, connect to a service that has just
// become ready: its own attempts pause longer and longer.
func (e *emulation) hurry(status supervise.Status) {
	e.mu.Lock()
	runtime := e.runtime
	e.mu.Unlock()
	if runtime != nil && status.State.Serves() {
		runtime.Hurry(status.Address)
	}
}
