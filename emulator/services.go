package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/generate"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// ServicesOptions say which services are started.
type ServicesOptions struct {
	Config  *config.Config
	Environ []string // what the services inherit
	Guard   []string // see Options
	// Lines gets what services print, a line at a time, from many goroutines; nil
	// means nobody does.
	Lines func(service string, line []byte)
	// Saves, if there are any, are told which code is generated for the services.
	Saves *Saves
}

// Services are a project's services without a runtime around them: "angz test"
// gives them many, one after the other and side by side.
type Services struct {
	Config *config.Config // with an address for every service

	stop  context.CancelFunc
	group *supervise.Group
	done  sync.WaitGroup
	err   error // how the group ended
	data  string
}

// StartServices generates the code, builds and starts the services on ports of
// their own, and returns when all of them are ready. A service that cannot be
// built or started is an error with its last lines.
func StartServices(ctx context.Context, options ServicesOptions) (*Services, error) {
	if len(options.Config.Generate) > 0 {
		if err := options.generate(ctx); err != nil {
			return nil, err
		}
	}
	data, err := os.MkdirTemp("", "angz-test")
	if err != nil {
		return nil, err
	}
	plan, err := newPlanWith(options.Config, options.Environ, nil, data)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	plan.doors.open([]node.Endpoint{}) // there is no runtime that they could call
	s := &Services{Config: plan.config, data: data}
	lines := &tail{forward: options.Lines, last: map[string][]string{}}
	board := newBoard(plan.names())
	s.group = supervise.New(supervise.Options{
		Environ: plan.environ, Guard: options.Guard, Logger: slog.New(slog.DiscardHandler), Lines: lines.add,
		OnChange: board.set,
	})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.err = s.group.Run(running, plan.specs()) })
	select {
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.Close())
	case <-board.settled:
	}
	if options.Saves != nil {
		for _, name := range plan.names() {
			options.Saves.watcher.Started(name)
		}
	}
	if names := board.unready(); len(names) > 0 {
		return nil, errors.Join(lines.explain(names), s.Close())
	}
	return s, nil
}

// generate brings the project's code up to date.
func (o ServicesOptions) generate(ctx context.Context) error {
	work, err := Generation(o.Config)
	if err != nil {
		return err
	}
	result, err := generate.Run(ctx, work)
	if err != nil {
		return &Mistake{err}
	}
	if o.Saves != nil {
		o.Saves.code.generated(o.Config.Dir, result)
	}
	return nil
}

// Close stops the services and removes what they have kept.
func (s *Services) Close() error {
	s.stop()
	s.done.Wait()
	return errors.Join(s.err, os.RemoveAll(s.data))
}

// tail remembers the last lines of each service.
type tail struct {
	forward func(service string, line []byte)

	mu   sync.Mutex
	last map[string][]string
}

const tailLines = 20

func (t *tail) add(service string, line []byte) {
	t.mu.Lock()
	kept := append(t.last[service], strings.TrimRight(string(line), "\n"))
	t.last[service] = kept[max(0, len(kept)-tailLines):]
	t.mu.Unlock()
	if t.forward != nil {
		t.forward(service, line)
	}
}

func (t *tail) explain(names []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("%s is not ready; its last lines:\n  %s", name, strings.Join(t.last[name], "\n  ")))
	}
	return errors.Join(errs...)
}

var _ io.Closer = (*Services)(nil)
