package inspect

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Effects is what a command has led to so far.
type Effects struct {
	Trace  Trace
	Behind []string // projectors and sagas, in full, that have events of it still to handle
	Paused []string // those of them that somebody has paused
	// Letters are the dead letters that its events have become. They are looked for
	// when nobody is behind any more.
	Letters []DeadLetter
}

// Settled reports whether all that the command leads to has happened.
func (e *Effects) Settled() bool { return len(e.Behind) == 0 }

// Effects says what the commands of a correlation have led to so far.
func (c *Client) Effects(ctx context.Context, correlationID string) (Effects, error) {
	topology, err := c.Topology(ctx)
	if err != nil {
		return Effects{}, err
	}
	return c.effects(ctx, correlationID, topology)
}

// effects asks how far everybody is before it reads the trace: what they had not
// seen by then counts as not handled.
func (c *Client) effects(ctx context.Context, correlationID string, topology Topology) (effects Effects, err error) {
	list, err := c.admin.ListSubscriptions(ctx, &pb.SubscriptionQuery{})
	if err != nil {
		return effects, err
	}
	if effects.Trace, err = c.Trace(ctx, correlationID); err != nil {
		return effects, err
	}
	events := eventsOf(effects.Trace.Steps)
	for _, component := range topology.Components {
		name := component.Kind + "/" + component.Name
		if (component.Kind == "projector" || component.Kind == "saga") && component.behind(name, list.Slices, events) {
			effects.Behind = append(effects.Behind, name)
		}
	}
	for _, control := range list.Controls {
		if control.Paused && slices.Contains(effects.Behind, control.Component) {
			effects.Paused = append(effects.Paused, control.Component)
		}
	}
	if effects.Settled() {
		effects.Letters, err = c.lettersOf(ctx, correlationID, events)
	}
	return effects, err
}

// eventsOf returns all events of a trace.
func eventsOf(steps []*Step) (events []Event) {
	for _, step := range steps {
		events = append(append(events, step.Events...), eventsOf(step.Steps)...)
	}
	return events
}

// behind reports whether a component has any of the events still to handle. Only the
// slices of their aggregates count: others are recorded now and then only.
func (c *Component) behind(name string, stands []*pb.SubscriptionSlice, events []Event) bool {
	for _, event := range events {
		if !c.wants(event.Domain) {
			continue
		}
		root, err := uuid.Parse(event.Root)
		if err != nil {
			continue
		}
		key := book.Key{Domain: event.Domain, Root: root}
		done := slices.ContainsFunc(stands, func(s *pb.SubscriptionSlice) bool {
			return s.Component == name && key.Slice(int(max(1, s.Slices))) == int(s.Slice) && s.Position >= event.Position
		})
		if !done {
			return true
		}
	}
	return false
}

// wants reports whether a projector or saga gets the events of a domain.
func (c *Component) wants(domain string) bool {
	if len(c.From) == 0 {
		return !strings.HasPrefix(domain, "_")
	}
	return slices.Contains(c.From, domain)
}

// lettersOf returns the dead letters of a correlation among those of the aggregates
// that its events belong to.
func (c *Client) lettersOf(ctx context.Context, correlationID string, events []Event) (letters []DeadLetter, err error) {
	type aggregate struct{ domain, root string }
	seen := map[aggregate]bool{}
	for _, event := range events {
		one := aggregate{event.Domain, event.Root}
		if seen[one] {
			continue
		}
		seen[one] = true
		for letter, err := range c.DeadLetters(ctx, DeadLetterSelection{Domain: event.Domain, ID: event.Root}) {
			if err != nil {
				return letters, err
			}
			if letter.CorrelationID == correlationID {
				letters = append(letters, letter)
			}
		}
	}
	return letters, nil
}

// How often it is looked whether a command's effects are done: at first so often
// that most are seen at once, later so that waiting costs next to nothing.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// Settle yields what a correlation has led to whenever that has changed, until it is
// settled: the last one yielded says so. It ends with an error when the system cannot
// be asked or the context ends.
func (c *Client) Settle(ctx context.Context, correlationID string) iter.Seq2[Effects, error] {
	return func(yield func(Effects, error) bool) {
		topology, err := c.Topology(ctx)
		if err != nil {
			yield(Effects{}, err)
			return
		}
		var before Effects
		for pause := firstLook; ; pause = min(lastLook, pause*3/2) {
			now, err := c.effects(ctx, correlationID, topology)
			changed := now.Trace.Events != before.Trace.Events || !slices.Equal(now.Behind, before.Behind) || !slices.Equal(now.Paused, before.Paused)
			if (err != nil || changed || now.Settled()) && !yield(now, err) || err != nil || now.Settled() {
				return
			}
			before = now
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				yield(now, status.FromContextError(ctx.Err()).Err())
				return
			}
		}
	}
}
