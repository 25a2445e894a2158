package emulator

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
)

// controlled is an emulation as other terminals see it.
type controlled struct{ *emulation }

// Status implements control.Emulator.
func (e controlled) Status() control.Status {
	e.mu.Lock()
	p, ready := e.plan, e.ready
	e.mu.Unlock()
	status := control.Status{
		Project: filepath.Base(p.config.Dir), Dir: p.config.Dir, File: p.config.File, PID: os.Getpid(), Since: e.began,
		Detached: e.options.Detached, Ready: ready && len(e.board.unready()) == 0, Store: store(p.config), OtherLogs: ownNames,
	}
	for _, endpoint := range p.doors.all() {
		status.Endpoints = append(status.Endpoints, control.Endpoint{Role: endpoint.Role, Address: reachable(endpoint.Address)})
	}
	services := map[string]plannedService{}
	for _, service := range p.services {
		services[service.label] = service
	}
	for _, each := range e.board.all() {
		planned, known := services[each.Name]
		if !known {
			continue // it is just coming or going
		}
		status.Services = append(status.Services, control.Service{
			Name: each.Name, Kind: kindNames[planned.kind], Language: planned.language, State: each.State, PID: each.PID,
			Address: planned.config.Address, Starts: each.Starts, Since: each.since, Problem: each.Problem, Tail: each.Tail,
			Cause: each.Cause, Elsewhere: planned.config.Run.IsZero(), Paused: each.paused,
		})
	}
	return status
}

// Restart implements control.Emulator.
func (e controlled) Restart(_ context.Context, names []string, reason string) error {
	e.group.Restart(supervise.Cause{Why: reason, At: time.Now()}, names...)
	return nil
}

// Pause implements control.Emulator.
func (e controlled) Pause(names ...string) error {
	e.board.pause(true, names...)
	return nil
}

// Resume implements control.Emulator.
func (e controlled) Resume(names ...string) error {
	e.board.pause(false, names...)
	return nil
}

// Stop implements control.Emulator.
func (e controlled) Stop() { e.stop() }

// Changed implements control.Emulator.
func (e controlled) Changed() <-chan struct{} { return e.board.watch() }
