// Package controltest plays an emulator for tests of what talks to one: it is
// what the test says it is, behind the real socket, lock and records.
package controltest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/angz-dev/angz/emulator/control"
)

// Emulator is an emulator without services. Its fields are set before it is
// started.
type Emulator struct {
	// OnRestart, if not nil, is called by Restart; the test has the status change
	// there or later.
	OnRestart func(names []string, reason string) error
	// OnStop, if not nil, is called by the first Stop; without it, stopping ends
	// what Start began.
	OnStop func()

	mu      sync.Mutex
	status  control.Status
	lines   []control.LogLine
	changed chan struct{} // closed at the next change of the status or the lines
	stop    func()
	stopped sync.Once
	done    chan struct{}
}

var _ control.Emulator = (*Emulator)(nil)

// New returns an emulator that is like this.
func New(status control.Status) *Emulator {
	return &Emulator{status: status, changed: make(chan struct{})}
}

// Start claims the project in self.Dir for the emulator and serves it until the
// test ends or somebody stops it.
func (e *Emulator) Start(t testing.TB, self control.Self) *control.Claim {
	t.Helper()
	claim, err := control.Acquire(self)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := claim.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	e.stop, e.done = stop, make(chan struct{})
	go func() {
		defer close(e.done)
		if err := listener.Serve(ctx, e, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-e.done
	})
	return claim
}

// Change changes the status.
func (e *Emulator) Change(change func(*control.Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Services = slices.Clone(e.status.Services)
	change(&e.status)
	e.tell()
}

// Log adds a line to the log.
func (e *Emulator) Log(lines ...control.LogLine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, lines...)
	e.tell()
}

func (e *Emulator) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Status implements control.Emulator.
func (e *Emulator) Status() control.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

// Changed implements control.Emulator.
func (e *Emulator) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Restart implements control.Emulator.
func (e *Emulator) Restart(_ context.Context, names []string, reason string) error {
	if e.OnRestart == nil {
		return nil
	}
	return e.OnRestart(names, reason)
}

// Pause implements control.Emulator.
func (e *Emulator) Pause(names ...string) error { return e.pause(true, names) }

// Resume implements control.Emulator.
func (e *Emulator) Resume(names ...string) error { return e.pause(false, names) }

func (e *Emulator) pause(paused bool, names []string) error {
	e.Change(func(s *control.Status) {
		for i := range s.Services {
			if len(names) == 0 || slices.Contains(names, s.Services[i].Name) {
				s.Services[i].Paused = paused
			}
		}
	})
	return nil
}

// Stop implements control.Emulator.
func (e *Emulator) Stop() {
	e.stopped.Do(func() {
		if e.OnStop != nil {
			e.OnStop()
			return
		}
		e.stop()
	})
}

// End ends the emulator and waits until it is gone.
func (e *Emulator) End() {
	e.stop()
	<-e.done
}

// Logs implements control.Emulator.
func (e *Emulator) Logs(ctx context.Context, filter control.LogFilter, each func(control.LogLine) error) error {
	next := 0
	for first := true; ; first = false {
		e.mu.Lock()
		lines, changed := e.lines[next:], e.changed
		next = len(e.lines)
		e.mu.Unlock()
		lines = slices.DeleteFunc(slices.Clone(lines), func(line control.LogLine) bool { return !filter.Accepts(line) })
		if first && filter.Tail >= 0 && len(lines) > filter.Tail {
			lines = lines[len(lines)-filter.Tail:]
		}
		for _, line := range lines {
			if err := each(line); err != nil {
				return err
			}
		}
		if !filter.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
