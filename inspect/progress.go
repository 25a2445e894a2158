package inspect

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Progress is how far a projector or saga has come with all its slices, and what
// people have decided about it.
type Progress struct {
	Name      string // in full, such as "projector/receipt"
	Position  uint64 // in the log, of the slice that is furthest behind; everything up to here is done
	Head      uint64 // of the log
	Lag       uint64 // positions between the two
	Slices    uint32
	Held      uint32    // slices that an instance works on
	UpdatedAt time.Time // when it last recorded how far it is

	Paused    bool
	Rewinding bool
	Note      string // who decided last and why, empty when nobody did
	DecidedAt time.Time
	Rewinds   uint64 // how many were ever wanted
	After     uint64 // of the newest rewind
	Failed    string // why the newest rewind was given up
}

// The states of a component.
const (
	ComponentRunning   = "running"
	ComponentPaused    = "paused"
	ComponentRewinding = "rewinding"
	ComponentIdle      = "idle" // no instance works on it
)

// ComponentStates are all states of components.
var ComponentStates = []string{ComponentRunning, ComponentPaused, ComponentRewinding, ComponentIdle}

// State says in one word how a component is.
func (p *Progress) State() string {
	switch {
	case p.Rewinding:
		return ComponentRewinding
	case p.Paused:
		return ComponentPaused
	case p.Held == 0:
		return ComponentIdle
	}
	return ComponentRunning
}

// Progress says how far a component, named in full or by its plain name, or all
// with an empty name, have come, in the order of their names.
func (c *Client) Progress(ctx context.Context, name string) ([]Progress, error) {
	list, err := c.admin.ListSubscriptions(ctx, &pb.SubscriptionQuery{Component: name})
	if err != nil {
		return nil, err
	}
	var all []Progress
	for _, slice := range list.Slices {
		at := slices.IndexFunc(all, func(p Progress) bool { return p.Name == slice.Component })
		if at < 0 {
			at, all = len(all), append(all, Progress{Name: slice.Component, Position: slice.Position, Head: list.Head, Slices: slice.Slices})
		}
		all[at].add(slice)
	}
	for _, control := range list.Controls {
		if at := slices.IndexFunc(all, func(p Progress) bool { return p.Name == control.Component }); at >= 0 {
			all[at].decide(control)
		}
	}
	return all, nil
}

// add takes a slice into account.
func (p *Progress) add(slice *pb.SubscriptionSlice) {
	if slice.Holder != "" {
		p.Held++
	}
	if slice.Position <= p.Position {
		p.Position, p.Lag = slice.Position, slice.Lag
	}
	if updated := moment(slice.UpdatedAt); updated.After(p.UpdatedAt) {
		p.UpdatedAt = updated
	}
}

// decide takes people's decisions into account.
func (p *Progress) decide(control *pb.SubscriptionControl) {
	p.Paused, p.Rewinding, p.Note, p.DecidedAt = control.Paused, control.Rewinding, control.Note, moment(control.DecidedAt)
	p.Rewinds, p.After, p.Failed = control.Rewinds, control.After, control.Failed
}

// Pause lets a projector or saga rest until Resume, and returns how it is then.
func (c *Client) Pause(ctx context.Context, component string, by Decision) (Progress, error) {
	control, err := c.admin.Pause(ctx, &pb.SubscriptionDecision{Component: component, By: by.By, Note: by.Note})
	return c.decided(ctx, control, err)
}

// Resume lets a paused projector or saga go on, and returns how it is then.
func (c *Client) Resume(ctx context.Context, component string, by Decision) (Progress, error) {
	control, err := c.admin.Resume(ctx, &pb.SubscriptionDecision{Component: component, By: by.By, Note: by.Note})
	return c.decided(ctx, control, err)
}

// Rewind says which events a projector is to get again.
type Rewind struct {
	Component string
	After     uint64 // those behind this position of the log
	Clear     bool   // its service is to clear its read model away before
}

// Rewind has a projector get events again, and returns how it is then; Rewound
// tells how it goes on.
func (c *Client) Rewind(ctx context.Context, rewind Rewind, by Decision) (Progress, error) {
	control, err := c.admin.Rewind(ctx, &pb.SubscriptionRewind{
		Component: rewind.Component, After: rewind.After, Clear: rewind.Clear, By: by.By, Note: by.Note,
	})
	return c.decided(ctx, control, err)
}

// decided returns the component that was decided about.
func (c *Client) decided(ctx context.Context, control *pb.SubscriptionControl, err error) (Progress, error) {
	if err != nil {
		return Progress{}, err
	}
	all, err := c.Progress(ctx, control.Component)
	if at := slices.IndexFunc(all, func(p Progress) bool { return p.Name == control.Component }); at >= 0 {
		return all[at], err
	}
	return Progress{Name: control.Component}, err
}

// watched is how often a component that catches up is looked at: for a person's
// eye, at the cost of one small query.
const watched = 200 * time.Millisecond

// CatchUp yields how far a component is, again and again, until no rewind is under
// way and everything up to the end of the log as it was at first is done, or the
// newest rewind has failed, or it is paused, in which case nothing more can come. The
// last one yielded says which. It ends with an error when the system cannot be
// asked or the context ends.
func (c *Client) CatchUp(ctx context.Context, component Progress) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		for {
			now, err := c.decided(ctx, &pb.SubscriptionControl{Component: component.Name}, nil)
			if err != nil {
				yield(now, err)
				return
			}
			over := now.Rewinds != component.Rewinds || !now.Rewinding && (now.Failed != "" || now.Paused || now.Position >= component.Head)
			now.Head = max(component.Head, now.After)
			if !yield(now, nil) || over {
				return
			}
			select {
			case <-time.After(watched):
			case <-ctx.Done():
				yield(now, status.FromContextError(ctx.Err()).Err())
				return
			}
		}
	}
}

// PlainName is a component's name without its kind.
func (p *Progress) PlainName() string {
	_, name, found := strings.Cut(p.Name, "/")
	if !found {
		return p.Name
	}
	return name
}
