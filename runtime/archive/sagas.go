package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// lease is how long sagas that take imported events as done are kept from
// starting. Nobody else works on the store meanwhile; it only has to be long.
const lease = 24 * time.Hour

// prepare makes sure that no saga acts while the import is under way. The caller
// must call end, which says whether everything was stored.
func (s *Server) prepare(ctx context.Context, options *pb.ImportOptions) (end func(done bool) error, err error) {
	nothing := func(bool) error { return nil }
	if options.DryRun && !options.History {
		return nothing, nil
	}
	if err := s.checkElsewhere(ctx, options); err != nil || options.DryRun {
		return nothing, err
	}
	if s.options.Hold != nil {
		release := s.options.Hold()
		return func(bool) error { release(); return nil }, nil
	}
	if !options.History {
		return nothing, nil
	}
	claims, err := s.claimSagas(ctx)
	if err != nil {
		return nothing, errors.Join(err, s.leave(ctx, claims))
	}
	return func(done bool) error {
		// What was stored is stored, also when the caller has left since.
		ctx := context.WithoutCancel(ctx)
		var moved error
		if done {
			moved = s.advance(ctx, claims)
		}
		return errors.Join(moved, s.leave(ctx, claims))
	}, nil
}

// checkElsewhere refuses when sagas run that cannot be held.
func (s *Server) checkElsewhere(ctx context.Context, options *pb.ImportOptions) error {
	if options.History && s.options.Hold != nil {
		return status.Error(codes.FailedPrecondition, "sagas run here, so they cannot take the imported events as done: stop the system, and import while it does not run")
	}
	positions, err := s.options.Store.Positions(ctx)
	if err != nil {
		return err
	}
	for _, position := range positions {
		if !strings.HasPrefix(position.Name, sagaPrefix) || position.Member == uuid.Nil || s.options.Hold != nil && position.Address == s.options.Address {
			continue
		}
		where := "in another process"
		if position.Address != "" {
			where = "at " + position.Address
		}
		return status.Errorf(codes.FailedPrecondition, "%s runs %s and would act on half of what is imported: stop the processes of sagas until the import is done", position.Name, where)
	}
	return nil
}

// claim is the right to move a saga.
type claim struct {
	name   string
	member uuid.UUID
	slices []eventstore.Slice
}

// claimSagas takes over all sagas, none of which may have anything left to do.
func (s *Server) claimSagas(ctx context.Context) (claims []claim, err error) {
	counts, err := s.sagaSlices(ctx)
	if err != nil {
		return nil, err
	}
	for name, count := range counts {
		c := claim{name: name, member: uuid.New()}
		shared, err := s.options.Store.Share(ctx, eventstore.Share{Name: name, Member: c.member, Slices: count, Lease: lease})
		if err != nil {
			return claims, err
		}
		c.slices = shared.Slices
		claims = append(claims, c)
		if shared.Paused {
			return claims, status.Errorf(codes.FailedPrecondition, "%s is paused, so nobody can tell whether it has handled everything: resume it, let it finish, then import", name)
		}
		for _, slice := range c.slices {
			if slice.Member != c.member {
				return claims, status.Errorf(codes.FailedPrecondition, "%s runs in another process: stop it until the import is done", name)
			}
			if err := s.checkIdle(ctx, name, slice, count); err != nil {
				return claims, err
			}
		}
	}
	return claims, nil
}

// sagaSlices returns the subscriptions of all sagas, configured or seen, with the
// number of their slices.
func (s *Server) sagaSlices(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	for name := range s.options.Sagas {
		counts[sagaPrefix+name] = s.options.Slices
	}
	positions, err := s.options.Store.Positions(ctx)
	for _, position := range positions {
		if name, isSaga := strings.CutPrefix(position.Name, sagaPrefix); isSaga && !strings.Contains(name, "/") {
			counts[position.Name] = position.Slices
		}
	}
	return counts, err
}

// checkIdle refuses when a saga has events left to handle, since they could not
// be told from imported ones.
func (s *Server) checkIdle(ctx context.Context, name string, slice eventstore.Slice, count int) error {
	domains := s.options.Sagas[strings.TrimPrefix(name, sagaPrefix)]
	for after, head := slice.Position, s.options.Store.Head(); after < head; {
		events, err := s.options.Store.ReadLog(ctx, after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		for i := range events {
			event := &events[i]
			wanted := len(domains) == 0 && !strings.HasPrefix(event.Key.Domain, "_") || slices.Contains(domains, event.Key.Domain)
			if wanted && eventstore.SliceOf(event.Key, count) == slice.Number {
				return status.Errorf(codes.FailedPrecondition, "%s has not handled event %d of %s yet: start the system once and let it finish, then import", name, event.Sequence, event.Key)
			}
		}
		after = events[len(events)-1].Position
	}
	return nil
}

// advance moves the sagas behind everything that is stored.
func (s *Server) advance(ctx context.Context, claims []claim) error {
	head := s.options.Store.Head()
	for _, c := range claims {
		var moves []eventstore.Move
		for _, slice := range c.slices {
			moves = append(moves, eventstore.Move{Slice: slice.Number, Epoch: slice.Epoch, From: slice.Position, To: head})
		}
		if err := s.options.Store.Advance(ctx, eventstore.Advance{Name: c.name, Moves: moves}); err != nil {
			return fmt.Errorf("the events are imported, but %s does not take them as done: %w", c.name, err)
		}
	}
	return nil
}

// leave lets the sagas start.
func (s *Server) leave(ctx context.Context, claims []claim) (all error) {
	for _, c := range claims {
		_, err := s.options.Store.Share(ctx, eventstore.Share{Name: c.name, Member: c.member, Slices: len(c.slices), Lease: lease, Leave: true})
		all = errors.Join(all, err)
	}
	return all
}
