package control_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
)

// one returns a project with one service.
func one(service control.Service) control.Status {
	service.Name = "order"
	return control.Status{Project: "shop", Ready: service.State == supervise.Ready, Services: []control.Service{service}}
}

func TestReadinessIsWaitedFor(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		steps []control.Service
		want  string // of the error
	}{
		"at once":            {steps: []control.Service{{State: supervise.Ready}}},
		"built and started":  {steps: []control.Service{{State: supervise.Building}, {State: supervise.Starting, Starts: 1}, {State: supervise.Ready, Starts: 1}}},
		"after two deaths":   {steps: []control.Service{{State: supervise.Died, Starts: 1}, {State: supervise.Died, Starts: 2}, {State: supervise.Ready, Starts: 3}}},
		"after a long while": {steps: []control.Service{{State: supervise.NotReady, Starts: 1, Problem: "not ready after 1m0s"}, {State: supervise.Ready, Starts: 1}}},
		"one that cannot be built": {
			steps: []control.Service{{State: supervise.Building}, {State: supervise.BuildFailed, Problem: "exit status 1", Tail: []string{"main.go:1: no"}}},
			want:  "order is not ready: build failed: exit status 1\n  | main.go:1: no",
		},
		"one that dies again and again": {
			steps: []control.Service{{State: supervise.Died, Starts: 3, Problem: "exit status 3", Tail: []string{"no", "luck"}}},
			want:  "order is not ready: died, started 3 times: exit status 3\n  | no\n  | luck",
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			emulator, client := newWorld(t).start(t, "shop", one(c.steps[0]))
			step := 0
			awaited := make(chan error, 1)
			go func() { _, err := client.AwaitReady(within(t)); awaited <- err }()
			for step++; step < len(c.steps); step++ {
				emulator.Change(func(s *control.Status) { *s = one(c.steps[step]) })
			}
			err := <-awaited
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTheTimeForReadinessIsUp(t *testing.T) {
	t.Parallel()
	_, client := newWorld(t).start(t, "shop", control.Status{Services: []control.Service{
		{Name: "order", State: supervise.Ready},
		{Name: "far", State: supervise.Waiting, Elsewhere: true, Address: "localhost:1"},
		{Name: "slow", State: supervise.Starting, Starts: 1},
	}})
	if _, err := client.Status(within(t)); err != nil { // it is there
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	_, err := client.AwaitReady(ctx)
	const want = "far is not ready: waiting: you start it, and nothing answers at localhost:1\nslow is not ready: starting"
	unready := new(control.Unready)
	if !errors.As(err, &unready) || !unready.Late || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestARestartIsWaitedFor(t *testing.T) {
	t.Parallel()
	at := time.Now()
	later := at.Add(time.Second)
	for title, c := range map[string]struct {
		before control.Service
		steps  []control.Service
		want   string
	}{
		"a good one": {
			before: control.Service{State: supervise.Ready, Starts: 1, Since: at},
			steps:  []control.Service{{State: supervise.Rebuilding, Starts: 1, Since: at}, {State: supervise.Starting, Starts: 2, Since: later}, {State: supervise.Ready, Starts: 2, Since: later}},
		},
		"one so fast that nobody saw it": {
			before: control.Service{State: supervise.Ready, Starts: 1, Since: at},
			steps:  []control.Service{{State: supervise.Ready, Starts: 2, Since: later}},
		},
		"a build that fails": {
			before: control.Service{State: supervise.Ready, Starts: 1, Since: at},
			steps:  []control.Service{{State: supervise.Outdated, Starts: 1, Since: later, Problem: "the build failed: exit status 1", Tail: []string{"no"}}},
			want:   "order goes on with the code from before: the build failed: exit status 1\n  | no",
		},
		"a build that fails again": {
			before: control.Service{State: supervise.BuildFailed, Since: at, Problem: "exit status 1"},
			steps:  []control.Service{{State: supervise.BuildFailed, Since: later, Problem: "exit status 1"}},
			want:   "order is not ready: build failed: exit status 1",
		},
		"a build that no longer fails": {
			before: control.Service{State: supervise.BuildFailed, Since: at, Problem: "exit status 1"},
			steps:  []control.Service{{State: supervise.Building, Since: later}, {State: supervise.Ready, Since: later, Starts: 1}},
		},
		"one that crashes": {
			before: control.Service{State: supervise.Ready, Starts: 5, Since: at},
			steps:  []control.Service{{State: supervise.Died, Starts: 6, Since: later}, {State: supervise.Died, Starts: 8, Since: later.Add(1), Problem: "exit status 3"}},
			want:   "order is not ready: died, started 8 times: exit status 3",
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			begin := one(c.before)
			begin.Services = append(begin.Services, control.Service{Name: "other", State: supervise.BuildFailed}, control.Service{Name: "far", Elsewhere: true})
			emulator, client := newWorld(t).start(t, "shop", begin)
			before, err := client.Status(within(t))
			if err != nil {
				t.Fatal(err)
			}
			awaited := make(chan error, 1)
			go func() { _, err := client.AwaitRestarted(within(t), before, []string{"order"}); awaited <- err }()
			for _, step := range c.steps {
				emulator.Change(func(s *control.Status) { s.Services[0] = one(step).Services[0] })
			}
			err = <-awaited
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestNobodyWaitsForAnEmulatorThatEnds(t *testing.T) {
	t.Parallel()
	emulator, client := newWorld(t).start(t, "shop", one(control.Service{State: supervise.Starting}))
	if _, err := client.Status(within(t)); err != nil {
		t.Fatal(err)
	}
	awaited := make(chan error, 1)
	go func() { _, err := client.AwaitReady(within(t)); awaited <- err }()
	emulator.End()
	err := <-awaited
	if !errors.Is(err, control.ErrEnded) && (err == nil || client.AwaitGone(within(t)) != nil) {
		t.Errorf("got %v", err)
	}
}
