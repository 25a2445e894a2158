package stream

import (
	"context"
	"fmt"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/follow"
)

// Run takes books from the bus until the context ends, then ends all
// subscriptions and returns nil. It returns an error when the bus or the log has
// been closed. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopped)
	if s.options.Bus == nil {
		close(s.started)
		<-ctx.Done()
		return nil
	}
	live := follow.Live{
		Name: s.options.Name, Bus: s.options.Bus, Log: s.options.Log, Logger: s.options.Logger,
		Ready: func() { close(s.started) },
	}
	err := live.Run(ctx, func(events *pb.EventBook) error {
		s.dispatch(events)
		return nil
	})
	if err != nil {
		return fmt.Errorf("follow the events for subscribers: %w", err)
	}
	return nil
}
