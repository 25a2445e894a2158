package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/gherkin"
)

// watchedTest runs features whenever something that matters for them is saved.
type watchedTest struct {
	o        *testOptions
	asked    []string // the features that were named
	saves    *emulator.Saves
	services *emulator.Services // nil when they have to be started first
	said     *sayings
}

// keepRunning runs the features now and after every save, until the context ends.
func (o *testOptions) keepRunning(ctx context.Context, asked []string) (err error) {
	options, err := o.load(asked)
	if err != nil {
		return err
	}
	w := &watchedTest{o: o, asked: asked}
	if w.saves, err = emulator.NewSaves(options.Config, options.Features, slog.New(slog.NewTextHandler(o.s.err, nil))); err != nil {
		return err
	}
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(w.saves.Run(watching)) }()
	defer func() { err = errors.Join(err, w.stop()) }()
	for {
		if err := w.round(watching); err != nil && !errors.Is(err, gherkin.ErrFailed) && watching.Err() == nil {
			fmt.Fprintln(o.s.err, "error:", err)
		}
		if watching.Err() == nil {
			fmt.Fprintln(o.s.err, "waiting until something is saved; Ctrl-C ends")
		}
		saved, err := w.saves.Wait(watching)
		if err != nil {
			return endOf(ctx, watching)
		}
		fmt.Fprintf(o.s.err, "\n%s was saved\n", printable(saved.What))
		if saved.Project {
			if err := w.stop(); err != nil {
				return err
			}
		}
	}
}

// endOf returns why the watching ended, unless a person has ended it.
func endOf(asked, watching context.Context) error {
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(watching)
}

// round runs the features once, with the project as it is now.
func (w *watchedTest) round(ctx context.Context) error {
	options, err := w.o.load(w.asked)
	if err != nil {
		return err
	}
	if err := w.saves.Follow(options.Config, options.Features); err != nil {
		return err
	}
	if err := gherkin.Check(ctx, options); err != nil {
		return err
	}
	if w.services == nil {
		w.said = &sayings{}
		if w.services, err = w.o.start(ctx, options, w.said, w.saves); err != nil {
			return err
		}
	}
	options.Config, options.Said = w.services.Config, w.said.since
	return w.o.report(ctx, options)
}

func (w *watchedTest) stop() error {
	if w.services == nil {
		return nil
	}
	services := w.services
	w.services = nil
	return services.Close()
}
