// Package emulator is angz dev: the production runtime in one process on a
// developer's machine, together with the user's services, which it builds,
// starts and keeps up. It adds nothing to how commands and events are handled.
package emulator

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// Options say what is run and where it is told.
type Options struct {
	Config  *config.Config
	Environ []string // what the services inherit, as os.Environ returns it
	// Stdout gets the table of what runs where, Stderr the log.
	Stdout, Stderr io.Writer
	Terminal       bool // whether Stderr is a terminal
	Color          bool // whether Stderr may be coloured
	Quiet          bool // whether only warnings are logged, and nothing of the services
	// Guard is the command line of a process that calls supervise.Guard.
	Guard []string
}

// Run runs the project until the context ends or the runtime fails, and returns
// when nothing of it is left. A service that cannot be built or started is
// reported and does not stop the others.
func Run(ctx context.Context, options Options) error {
	began := time.Now()
	if _, err := project.MakeFolder(options.Config.Dir); err != nil {
		return err
	}
	plan, err := newPlan(options.Config, options.Environ)
	if err != nil {
		return err
	}
	log, err := newLog(options, plan.names())
	if err != nil {
		return err
	}
	e := &emulation{options: options, plan: plan, log: log, board: newBoard(len(plan.services)), began: began}
	group := supervise.New(supervise.Options{
		Environ: plan.environ, Guard: options.Guard, Sockets: plan.sockets(), Logger: log.angz, Lines: log.line, OnChange: e.changed,
	})
	// The services outlive ctx: they are needed until the runtime has come to rest.
	serving, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	served := make(chan error, 1)
	go func() { served <- group.Run(serving, plan.specs()) }()

	err = e.runNode(ctx)
	stopServices()
	return errors.Join(err, <-served)
}

// emulation is one run of a project.
type emulation struct {
	options Options
	plan    *plan
	log     *log
	board   *board
	began   time.Time
	runtime atomic.Pointer[node.Node] // nil until it is open
}

// runNode opens the runtime, while the services are built, and runs it.
func (e *emulation) runNode(ctx context.Context) error {
	opened, err := node.Open(ctx, node.Options{Config: e.plan.config, Logger: e.log.logger, Events: e.log.events, Color: e.options.Color})
	if err != nil {
		return ExplainPorts(e.plan.config, err)
	}
	e.runtime.Store(opened)
	for _, status := range e.board.all() {
		e.hurry(status)
	}
	e.plan.open(opened.Endpoints())
	announcing, stop := context.WithCancel(ctx)
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		if e.board.await(announcing, opened.Ready()) {
			announce(announcing, e.options.Stdout, announcement{
				plan: e.plan, statuses: e.board.all(), endpoints: opened.Endpoints(), took: time.Since(e.began),
			})
		}
	}()
	err = opened.Run(ctx)
	stop()
	<-announced
	return err
}

// changed takes note of how a service is doing.
func (e *emulation) changed(status supervise.Status) {
	e.board.set(status)
	e.log.report(status)
	e.hurry(status)
}

// hurry has the runtime, once there is one, connect to a service that has just
// become ready: its own attempts pause longer and longer.
func (e *emulation) hurry(status supervise.Status) {
	if runtime := e.runtime.Load(); runtime != nil && status.State == supervise.Ready {
		runtime.Hurry(status.Address)
	}
}
