package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
)

// settle shows what a command leads to until all of it is done.
func (o *sendOptions) settle(ctx context.Context, s streams, system *asking, sent inspect.Sent) error {
	text := !o.output.forPrograms()
	if text {
		if err := writeSent(s.out, newPainter(s.out, s.environ), sent); err != nil {
			return err
		}
	}
	began, shown := time.Now(), map[string]bool{}
	var last inspect.Effects
	var failed error
	for effects, err := range system.Settle(ctx, sent.CorrelationID) {
		if failed = err; err != nil {
			break
		}
		last = effects
		if own := stepOf(effects.Trace.Steps, sent); own != nil && text {
			if failed = writeNewSteps(s, own, shown); failed != nil {
				return failed
			}
		}
		if len(effects.Behind) > 0 && slices.Equal(effects.Behind, effects.Paused) {
			break // it would never come to an end
		}
	}
	unsettled := status.Code(failed) == codes.DeadlineExceeded
	if failed != nil && !unsettled {
		return system.explain(failed)
	}
	if !text {
		if err := o.output.write(s.out, settledDocument(sent, last, !unsettled && last.Settled())); err != nil {
			return err
		}
	} else if last.Settled() && len(last.Letters) == 0 && !unsettled {
		fmt.Fprintln(s.err, "everything is done after "+took(time.Since(began)))
	}
	return o.outcome(last, unsettled)
}

// outcome returns why a command is not settled as one wishes, nil when it is.
func (o *sendOptions) outcome(last inspect.Effects, unsettled bool) error {
	switch {
	case len(last.Paused) > 0 && slices.Equal(last.Behind, last.Paused):
		return fmt.Errorf("%s paused: see \"angz projections\"", areOrIs(last.Paused))
	case unsettled && len(last.Behind) > 0:
		return fmt.Errorf("not everything is done after %s: %s still working on it; see \"angz projections\", or give more time with --timeout", o.timeout, areOrIs(last.Behind))
	case unsettled:
		return fmt.Errorf("nobody knows after %s whether everything is done; see \"angz trace\", or give more time with --timeout", o.timeout)
	case len(last.Letters) > 0:
		letter := last.Letters[0]
		return fmt.Errorf("%s could not be handled: %s\nsee \"angz dlq show %s\"", counted(len(last.Letters), "book"), printable(letter.Reason), printable(letter.Place()))
	}
	return nil
}

// areOrIs begins a sentence about components.
func areOrIs(names []string) string {
	verb := " is"
	if len(names) > 1 {
		verb = " are"
	}
	return printable(strings.Join(names, ", ")) + verb
}

// stepOf returns the step of a trace that a command is, nil when it is not there.
func stepOf(steps []*inspect.Step, sent inspect.Sent) *inspect.Step {
	for _, step := range steps {
		for _, event := range step.Events {
			if len(sent.Events) > 0 && event.Domain == sent.Domain && event.Root == sent.Events[0].Root && event.Sequence == sent.Events[0].Sequence {
				return step
			}
		}
		if found := stepOf(step.Steps, sent); found != nil {
			return found
		}
	}
	return nil
}

// writeNewSteps prints what a step has led to and has not been shown yet.
func writeNewSteps(s streams, of *inspect.Step, shown map[string]bool) error {
	d := drawing{paint: newPainter(s.out, s.environ), width: widthOf(s.out, s.environ)}
	d.newSteps(of, shown)
	_, err := s.out.Write([]byte(d.text.String()))
	return err
}

func (d *drawing) newSteps(of *inspect.Step, shown map[string]bool) {
	for _, step := range of.Steps {
		if !shown[step.CommandID] {
			shown[step.CommandID] = true
			d.text.WriteString(d.head(step) + "\n")
			for _, event := range step.Events {
				d.event(event, "  ")
			}
		}
		d.newSteps(step, shown)
	}
}

func settledDocument(sent inspect.Sent, effects inspect.Effects, settled bool) sentResult {
	document := sentDocument(sent)
	document.Settled, document.Behind = &settled, effects.Behind
	if own := stepOf(effects.Trace.Steps, sent); own != nil {
		document.Effects = stepDocuments(own.Steps)
	}
	for _, letter := range effects.Letters {
		document.DeadLetters = append(document.DeadLetters, letter.Place())
	}
	return document
}
