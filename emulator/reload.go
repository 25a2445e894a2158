package emulator

import (
	"context"
	"fmt"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// wantReload has the configuration read again.
func (e *emulation) wantReload() {
	select {
	case e.reload <- struct{}{}:
	default:
	}
}

// reloaded reads the configuration again and applies what it says about the
// services. It returns the plan if the runtime has to be replaced for it. With a
// mistake in it everything stays as it is.
func (e *emulation) reloaded(ctx context.Context) *plan {
	before := e.current()
	loaded, err := e.options.Reload()
	if err == nil {
		err = loaded.CheckDrivers(node.Stores, node.Buses)
	}
	if err != nil {
		e.log.mistakes(before.config.File, err)
		return nil
	}
	next, err := newPlan(loaded, e.options.Environ, before)
	if err != nil {
		e.log.mistakes(before.config.File, err)
		return nil
	}
	e.generate(ctx, next) // for services that are new
	if before.config.SameRuntime(next.config) {
		e.log.angz.Info(config.FileName+" was saved", "effect", "services whose entries were changed are started again")
		e.mu.Lock()
		e.plan = next
		e.mu.Unlock()
		e.apply(next)
		return nil
	}
	return next
}

// apply has the services run as the plan says.
func (e *emulation) apply(p *plan) {
	e.log.add(p.names())
	e.board.rename(p.names())
	if err := e.group.Apply(p.specs()); err != nil {
		e.log.angz.Error("the services cannot be changed", "error", err)
	}
	e.watchPlan(p)
}

// replace opens the runtime that a new plan wants in the place of the one that has
// ended, or if that fails once more the one before. Clients wait meanwhile.
func (e *emulation) replace(ctx context.Context, next *plan) (*node.Node, error) {
	before := e.current()
	if err := e.doors.Change(); err != nil {
		return nil, err
	}
	opened, err := e.open(ctx, next)
	if err != nil {
		e.log.mistakes(next.config.File, err)
		if err := e.doors.Change(); err != nil {
			return nil, err
		}
		if opened, err = e.open(ctx, before); err != nil {
			return nil, fmt.Errorf("go on as before: %w", err)
		}
		return opened, e.doors.Prune()
	}
	e.log.angz.Info(config.FileName+" was saved", "effect", "angz runs as it says now; services whose entries are the same were left alone")
	e.apply(next)
	return opened, e.doors.Prune()
}
