// Package tui is the terminal program in which people look at a running system all
// day: its aggregates and their events, what led to what, how far everything is,
// and what went wrong. It is a client of package inspect and knows nothing else, so
// that it shows a laptop and production alike.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/angz-dev/angz/inspect"
)

// System is what the program asks of a system. *inspect.Client is one.
type System interface {
	Domains(ctx context.Context) ([]inspect.Domain, uint64, error)
	Summaries(ctx context.Context, request inspect.SummariesRequest) (inspect.Summaries, error)
	Summary(ctx context.Context, domain, id string) (inspect.Summary, error)
	Events(ctx context.Context, request inspect.EventsRequest) iter.Seq2[inspect.Event, error]
	Follow(ctx context.Context, request inspect.TailRequest) iter.Seq[inspect.Followed]
	Trace(ctx context.Context, correlationID string) (inspect.Trace, error)
	State(ctx context.Context, domain, id string, sequence *uint32) (inspect.State, error)
	Topology(ctx context.Context) (inspect.Topology, error)
	Progress(ctx context.Context, component string) ([]inspect.Progress, error)
	Pause(ctx context.Context, component string, decision inspect.Decision) (inspect.Progress, error)
	Resume(ctx context.Context, component string, decision inspect.Decision) (inspect.Progress, error)
	Rewind(ctx context.Context, rewind inspect.Rewind, decision inspect.Decision) (inspect.Progress, error)
	Effects(ctx context.Context, correlationID string) (inspect.Effects, error)
	DeadLetters(ctx context.Context, selection inspect.DeadLetterSelection, states ...inspect.DeadLetterState) iter.Seq2[inspect.DeadLetter, error]
	DeadLetter(ctx context.Context, component string, position uint64) (inspect.DeadLetter, error)
	Retry(ctx context.Context, selection inspect.DeadLetterSelection, decision inspect.Decision) ([]inspect.DeadLetter, error)
	Skip(ctx context.Context, selection inspect.DeadLetterSelection, decision inspect.Decision) ([]inspect.DeadLetter, error)
	Send(ctx context.Context, request inspect.SendRequest) (inspect.Sent, error)
}

// Options say what is shown, and where.
type Options struct {
	System System
	// Forms knows the commands that can be sent; nil when nothing is known of them.
	Forms Forms
	// Name is what people call the system, such as its address.
	Name string
	// By says who decides about dead letters and components; empty for nobody who is known.
	By string
	// Flags are written behind the command lines that are copied, such as --address
	// with its value.
	Flags []string
	// ReadOnly refuses whatever would change the system.
	ReadOnly bool
	// Mouse has the mouse choose and scroll from the start. The terminal does not
	// select text with it then.
	Mouse bool
	// History is the file in which the commands that are sent are kept for the next
	// time; empty keeps them in memory only.
	History string
	// Keys replaces the keys of actions; see Actions for their names.
	Keys map[string][]string
	// Explain turns an error of the system into what people are told; nil leaves it
	// as it is.
	Explain func(error) error
	Input   io.Reader
	Output  io.Writer
	Environ []string
}

// Run shows the program until the person ends it or the context does. The terminal
// is as before when it returns.
func Run(ctx context.Context, options Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	model, err := newModel(ctx, options)
	if err != nil {
		return err
	}
	settings := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithInput(options.Input), tea.WithOutput(options.Output), tea.WithEnvironment(options.Environ),
	}
	if file, ok := options.Output.(*os.File); ok {
		settings = append(settings, tea.WithColorProfile(colorprofile.Detect(file, options.Environ)))
	}
	_, err = tea.NewProgram(model, settings...).Run()
	switch {
	case errors.Is(err, tea.ErrProgramPanic):
		return fmt.Errorf("angz tui broke down, which is a mistake of its own: %w", err)
	case errors.Is(err, tea.ErrInterrupted), errors.Is(err, tea.ErrProgramKilled):
		return nil // somebody wanted it to end
	}
	return err
}
