package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
)

// Live follows the log from where it ends now and keeps no place: what is
// appended while it does not run, it never sees.
type Live struct {
	Name   string // of who follows, for errors; the subscription itself has none
	Bus    bus.Subscriber
	Log    Log
	Logger *slog.Logger
	// Ready, if not nil, is called when nothing will be missed any more.
	Ready func()
}

// Run calls handle for every book from now on, once and in order, until the
// context ends, and returns nil then. It returns an error when handle fails or
// the bus or the log is closed.
func (l Live) Run(ctx context.Context, handle func(*pb.EventBook) error) error {
	// Read before subscribing: what is appended in between comes from the log.
	from := l.Log.Head()
	subscription, err := l.Bus.Subscribe(ctx, "")
	if err != nil && ctx.Err() != nil {
		return nil // stopped before the bus was there
	}
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", l.Name, err)
	}
	if l.Ready != nil {
		l.Ready()
	}
	err = Follow(ctx, subscription, l.Log, from, l.Logger, func(_ context.Context, events *pb.EventBook) error {
		return handle(events)
	})
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, subscription.Close())
}
