package inspect

import (
	"context"
	"fmt"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Step is one command of a trace, what it stored and what that led to.
type Step struct {
	Stored
	After time.Duration // since the event that caused it; 0 for a client's command
	Steps []*Step       // the commands that its events led to, in the order of the log
}

// Trace is everything that one client's request led to.
type Trace struct {
	CorrelationID string
	Steps         []*Step // the commands of clients, and those whose cause is not of this correlation
	Commands      int     // how many steps there are altogether
	Events        int
	Took          time.Duration // from the first event to the last
}

// mostTraced bounds how many commands of a correlation are read into a tree.
const mostTraced = 10_000

// ErrLongTrace says that a correlation has more commands than a tree can hold.
var ErrLongTrace = fmt.Errorf("more than %d commands belong to the correlation; read them with angz events --correlation", mostTraced)

// Trace reads a correlation and joins its commands to a tree. A correlation that
// there is not has no steps.
func (c *Client) Trace(ctx context.Context, correlationID string) (Trace, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var steps []*Step
	var failed error
	stream, err := c.explorer.Trace(ctx, &pb.TraceQuery{CorrelationId: correlationID})
	c.storedBooks(stream, err, func(stored Stored, err error) bool {
		if failed = err; err == nil && len(stored.Events) > 0 {
			steps = append(steps, &Step{Stored: stored})
		}
		if len(steps) > mostTraced {
			failed = ErrLongTrace
		}
		return failed == nil
	})
	if failed != nil {
		return Trace{}, failed
	}
	return newTrace(correlationID, steps), nil
}

// place names one event.
type place struct {
	domain, root string
	sequence     uint32
}

// newTrace joins each step to the one whose event caused it. Causes come before
// what they cause in the log; what claims otherwise stays at the top.
func newTrace(correlationID string, steps []*Step) Trace {
	trace := Trace{CorrelationID: correlationID, Commands: len(steps)}
	made := map[place]*Step{}
	var first, last time.Time
	for _, step := range steps {
		trace.join(step, made)
		for _, event := range step.Events {
			made[place{event.Domain, event.Root, event.Sequence}] = step
			trace.Events++
			if first.IsZero() || event.CreatedAt.Before(first) {
				first = event.CreatedAt
			}
			if event.CreatedAt.After(last) {
				last = event.CreatedAt
			}
		}
	}
	trace.Took = last.Sub(first)
	return trace
}

func (t *Trace) join(step *Step, made map[place]*Step) {
	if step.Cause == nil {
		t.Steps = append(t.Steps, step)
		return
	}
	parent, known := made[place{step.Cause.Domain, step.Cause.Root, step.Cause.Sequence}]
	if !known {
		t.Steps = append(t.Steps, step)
		return
	}
	parent.Steps = append(parent.Steps, step)
	for _, event := range parent.Events {
		if event.Sequence == step.Cause.Sequence {
			step.After = max(0, step.Events[0].CreatedAt.Sub(event.CreatedAt))
		}
	}
}
