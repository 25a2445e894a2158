package inspect_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// office answers one list of subscriptions after the other, the last one for ever,
// and decides as it is told.
type office struct {
	pb.UnimplementedAdminServer
	lists   []*pb.SubscriptionList
	letters []*pb.DeadLetter
	decided []string
}

func (o *office) ListSubscriptions(context.Context, *pb.SubscriptionQuery) (*pb.SubscriptionList, error) {
	list := o.lists[0]
	if len(o.lists) > 1 {
		o.lists = o.lists[1:]
	}
	return list, nil
}

func (o *office) ListDeadLetters(context.Context, *pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
	return &pb.DeadLetterPage{DeadLetters: o.letters}, nil
}

func (o *office) decide(what, component, by, note string) (*pb.SubscriptionControl, error) {
	o.decided = append(o.decided, what+" "+component+" "+by+" "+note)
	if component == "nobody" {
		return nil, status.Error(codes.NotFound, "there is nobody")
	}
	return &pb.SubscriptionControl{Component: "projector/" + component}, nil
}

func (o *office) Pause(_ context.Context, d *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	return o.decide("pause", d.Component, d.By, d.Note)
}

func (o *office) Resume(_ context.Context, d *pb.SubscriptionDecision) (*pb.SubscriptionControl, error) {
	return o.decide("resume", d.Component, d.By, d.Note)
}

func (o *office) Rewind(_ context.Context, r *pb.SubscriptionRewind) (*pb.SubscriptionControl, error) {
	what := "reset"
	if r.Clear {
		what = "rebuild"
	}
	return o.decide(what, r.Component, r.By, r.Note)
}

// standing is where a projector stands in a log of 9 events.
func standing(positions ...uint64) *pb.SubscriptionList {
	list := &pb.SubscriptionList{Head: 9}
	for i, position := range positions {
		list.Slices = append(list.Slices, &pb.SubscriptionSlice{
			Component: "projector/receipt", Slice: uint32(i), Slices: uint32(len(positions)), Position: position, Lag: 9 - position,
			Holder: "h", UpdatedAt: timestamppb.New(noon.Add(time.Duration(position) * time.Minute)),
		})
	}
	return list
}

func under(list *pb.SubscriptionList, control *pb.SubscriptionControl) *pb.SubscriptionList {
	control.Component = "projector/receipt"
	list.Controls = []*pb.SubscriptionControl{control, {Component: "projector/of-another-time"}}
	return list
}

func TestProgressJoinsSlicesAndDecisions(t *testing.T) {
	t.Parallel()
	list := under(standing(5, 3, 9), &pb.SubscriptionControl{
		Paused: true, Note: "pause by alice", DecidedAt: timestamppb.New(noon), Rewinds: 2, After: 1, Failed: "no",
	})
	list.Slices[1].Holder = ""
	list.Slices = append(list.Slices, &pb.SubscriptionSlice{Component: "saga/loyalty", Slices: 1})
	c := follow(t, &guide{}, &office{lists: []*pb.SubscriptionList{list}})
	got, err := c.Progress(t.Context(), "")
	want := []inspect.Progress{
		{
			Name: "projector/receipt", Position: 3, Head: 9, Lag: 6, Slices: 3, Held: 2, UpdatedAt: noon.Add(9 * time.Minute),
			Paused: true, Note: "pause by alice", DecidedAt: noon, Rewinds: 2, After: 1, Failed: "no",
		},
		{Name: "saga/loyalty", Head: 9, Slices: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for state, progress := range map[string]inspect.Progress{
		inspect.ComponentRewinding: {Rewinding: true, Paused: true}, inspect.ComponentPaused: {Paused: true, Held: 1},
		inspect.ComponentIdle: {}, inspect.ComponentRunning: {Held: 1},
	} {
		if got := progress.State(); got != state || !slices.Contains(inspect.ComponentStates, state) {
			t.Errorf("%+v is %s, want %s", progress, got, state)
		}
	}
}

func TestDecisionsAreToldAndAnswered(t *testing.T) {
	t.Parallel()
	o := &office{lists: []*pb.SubscriptionList{standing(4)}}
	c := follow(t, &guide{}, o)
	by := inspect.Decision{By: "alice", Note: "why"}
	for what, decide := range map[string]func(name string) (inspect.Progress, error){
		"pause":  func(name string) (inspect.Progress, error) { return c.Pause(t.Context(), name, by) },
		"resume": func(name string) (inspect.Progress, error) { return c.Resume(t.Context(), name, by) },
		"reset": func(name string) (inspect.Progress, error) {
			return c.Rewind(t.Context(), inspect.Rewind{Component: name}, by)
		},
		"rebuild": func(name string) (inspect.Progress, error) {
			return c.Rewind(t.Context(), inspect.Rewind{Component: name, Clear: true}, by)
		},
	} {
		o.decided = nil
		now, err := decide("receipt")
		if err != nil || now.Position != 4 || now.Name != "projector/receipt" {
			t.Errorf("%s: %+v, %v", what, now, err)
		}
		if _, err := decide("nobody"); status.Code(err) != codes.NotFound {
			t.Errorf("%s nobody: %v", what, err)
		}
		if want := []string{what + " receipt alice why", what + " nobody alice why"}; !slices.Equal(o.decided, want) {
			t.Errorf("asked was %q, want %q", o.decided, want)
		}
	}
}

func TestCatchUpTellsHowItEnds(t *testing.T) {
	t.Parallel()
	rewinding := &pb.SubscriptionControl{Rewinds: 1, Rewinding: true}
	for name, c := range map[string]struct {
		lists []*pb.SubscriptionList
		want  []uint64 // positions
		state string
		ended inspect.Progress // fields of the last one
	}{
		"it catches up": {
			lists: []*pb.SubscriptionList{under(standing(9), rewinding), under(standing(2), &pb.SubscriptionControl{Rewinds: 1}), under(standing(9), &pb.SubscriptionControl{Rewinds: 1})},
			want:  []uint64{9, 2, 9}, state: inspect.ComponentRunning,
		},
		"it cannot be cleared": {
			lists: []*pb.SubscriptionList{under(standing(9), rewinding), under(standing(9), &pb.SubscriptionControl{Rewinds: 1, Failed: "no"})},
			want:  []uint64{9, 9}, state: inspect.ComponentRunning, ended: inspect.Progress{Failed: "no"},
		},
		"it is paused": {
			lists: []*pb.SubscriptionList{under(standing(0), &pb.SubscriptionControl{Rewinds: 1, Paused: true})},
			want:  []uint64{0}, state: inspect.ComponentPaused,
		},
		"somebody wants another one": {
			lists: []*pb.SubscriptionList{under(standing(3), &pb.SubscriptionControl{Rewinds: 2, Rewinding: true})},
			want:  []uint64{3}, state: inspect.ComponentRewinding,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := follow(t, &guide{}, &office{lists: c.lists})
			var positions []uint64
			var last inspect.Progress
			for now, err := range client.CatchUp(t.Context(), inspect.Progress{Name: "projector/receipt", Head: 9, Rewinds: 1}) {
				if err != nil {
					t.Fatal(err)
				}
				positions, last = append(positions, now.Position), now
			}
			if !slices.Equal(positions, c.want) || last.State() != c.state || last.Failed != c.ended.Failed {
				t.Errorf("it went by %v and ended with %+v", positions, last)
			}
		})
	}
	// Who does not want to wait any more is told so.
	client := follow(t, &guide{}, &office{lists: []*pb.SubscriptionList{standing(1)}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range client.CatchUp(ctx, inspect.Progress{Name: "projector/receipt", Head: 9}) {
		if cancel(); err != nil && status.Code(err) != codes.Canceled {
			t.Error(err)
		}
	}
}
