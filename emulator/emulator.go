// Package emulator is angz dev: the production runtime in one process on a
// developer's machine, together with the user's services, which it builds,
// starts and keeps up. It adds nothing to how commands and events are handled.
package emulator

import (
	"context"
	"errors"
	"io"
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
	board := newBoard(len(plan.services))
	group := supervise.New(supervise.Options{
		Environ: plan.environ, Guard: options.Guard, Sockets: plan.sockets(), Logger: log.angz,
		Lines:    log.line,
		OnChange: func(status supervise.Status) { board.set(status); log.report(status) },
	})
	// The services outlive ctx: they are needed until the runtime has come to rest.
	serving, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	served := make(chan error, 1)
	go func() { served <- group.Run(serving, plan.specs()) }()

	err = runNode(ctx, options, plan, log, board, began)
	stopServices()
	return errors.Join(err, <-served)
}

// runNode opens the runtime, while the services are built, and runs it.
func runNode(ctx context.Context, options Options, plan *plan, log *log, board *board, began time.Time) error {
	opened, err := node.Open(ctx, node.Options{Config: plan.config, Logger: log.logger, Events: log.events, Color: options.Color})
	if err != nil {
		return ExplainPorts(plan.config, err)
	}
	plan.open(opened.Endpoints())
	announcing, stop := context.WithCancel(ctx)
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		if board.await(announcing, opened.Ready()) {
			announce(announcing, options.Stdout, announcement{plan: plan, statuses: board.all(), endpoints: opened.Endpoints(), took: time.Since(began)})
		}
	}()
	err = opened.Run(ctx)
	stop()
	<-announced
	return err
}
