package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Pause lets a component rest.
func (s *Server) Pause(ctx context.Context, request *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	control, err := s.pause(ctx, request, true)
	return control, rpcerr.Status(err)
}

// Resume lets a component go on.
func (s *Server) Resume(ctx context.Context, request *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	control, err := s.pause(ctx, request, false)
	return control, rpcerr.Status(err)
}

func (s *Server) pause(ctx context.Context, request *pb.SubscriptionDecision, paused bool) (*pb.SubscriptionControl, error) {
	name, err := s.component(ctx, request.GetComponent())
	if err != nil {
		return nil, err
	}
	verb := "pause"
	if !paused {
		verb = "resume"
		// Only what is paused can go on, so that no other decision's note is replaced.
		if control, err := s.control(ctx, name); err != nil || !control.Paused {
			return controlOf(control), err
		}
	}
	note := s.note(ctx, verb, request.GetBy(), request.GetNote())
	return s.steer(ctx, verb, name, note, func() error {
		return s.options.Store.Pause(ctx, eventstore.Pause{Name: name, Paused: paused, Note: note})
	})
}

// Rewind has a projector get events again.
func (s *Server) Rewind(ctx context.Context, request *pb.SubscriptionRewind) (*pb.SubscriptionControl, error) {
	control, err := s.rewind(ctx, request)
	return control, rpcerr.Status(err)
}

func (s *Server) rewind(ctx context.Context, request *pb.SubscriptionRewind) (*pb.SubscriptionControl, error) {
	if request.GetClear() && request.After > 0 {
		return nil, &book.Invalid{Field: "after", Found: fmt.Sprint(request.After), Want: "0 together with clear: what is cleared away has to be made of all events"}
	}
	name, err := s.component(ctx, request.GetComponent())
	if err != nil {
		return nil, err
	}
	if saga, isSaga := strings.CutPrefix(name, sagas); isSaga {
		return nil, status.Errorf(codes.FailedPrecondition, "saga %s cannot get events again: it would send its commands again; only projectors can", saga)
	}
	if head := s.options.Store.Head(); request.GetAfter() > 0 && request.After >= head {
		return nil, &book.Invalid{Field: "after", Found: fmt.Sprint(request.After), Want: fmt.Sprintf("a position before the newest event, which is at %d", head)}
	}
	note := s.note(ctx, "rewind", request.GetBy(), request.GetNote())
	return s.steer(ctx, "rewind", name, note, func() error {
		return s.options.Store.Rewind(ctx, eventstore.Rewind{Name: name, To: request.GetAfter(), Clear: request.GetClear(), Note: note})
	})
}

// steer notes a decision about a component down and tells who works on it here.
func (s *Server) steer(ctx context.Context, verb, name, note string, decide func() error) (*pb.SubscriptionControl, error) {
	if err := decide(); err != nil {
		if errors.Is(err, eventstore.ErrNoSubscription) {
			return nil, unknown(name, nil)
		}
		return nil, err
	}
	s.options.Decided(name)
	s.options.Logger.Info("somebody has decided about a component", "decision", verb, "component", name, "note", note)
	control, err := s.control(ctx, name)
	return controlOf(control), err
}

// The kinds of components that people decide about, as their names begin.
const (
	projectors = "projector/"
	sagas      = "saga/"
)

// component returns the full name of the projector or saga that somebody means.
func (s *Server) component(ctx context.Context, meant string) (string, error) {
	if meant == "" {
		return "", &book.Invalid{Field: "component", Found: "nothing", Want: `a projector or saga, such as "projector/receipt"`}
	}
	positions, err := s.options.Store.Positions(ctx)
	if err != nil {
		return "", err
	}
	var known, found []string
	for _, position := range positions {
		name := position.Name
		if position.Slice > 0 || !strings.HasPrefix(name, projectors) && !strings.HasPrefix(name, sagas) {
			continue
		}
		known = append(known, name)
		if name == meant || name == projectors+meant || name == sagas+meant {
			found = append(found, name)
		}
	}
	switch {
	case slices.Contains(found, meant):
		return meant, nil
	case len(found) == 0:
		return "", unknown(meant, known)
	case len(found) > 1:
		return "", &book.Invalid{Field: "component", Found: fmt.Sprintf("%q", meant), Want: "one of " + strings.Join(found, " and ")}
	}
	return found[0], nil
}

// unknown says which components there are.
func unknown(meant string, known []string) error {
	there := "there are none yet"
	if len(known) > 0 {
		there = "there are " + strings.Join(known, ", ")
	}
	return status.Errorf(codes.NotFound, "no projector or saga %q has ever run here; %s", meant, there)
}

// control returns what has been decided about a component, nothing but its name
// when that is nothing.
func (s *Server) control(ctx context.Context, name string) (eventstore.Control, error) {
	controls, err := s.options.Store.Controls(ctx)
	if i := slices.IndexFunc(controls, func(c eventstore.Control) bool { return c.Name == name }); i >= 0 {
		return controls[i], err
	}
	return eventstore.Control{Name: name}, err
}

func controlOf(control eventstore.Control) *pb.SubscriptionControl {
	return &pb.SubscriptionControl{
		Component: control.Name, Paused: control.Paused, Note: control.Note, DecidedAt: stamp(control.At), Rewinds: control.Number,
		Rewinding: control.Rewinding, After: control.To, Clear: control.Clear, Failed: control.Failed,
	}
}
