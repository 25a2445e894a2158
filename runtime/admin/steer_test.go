package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/admin"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/transport"
)

// controls are what ListSubscriptions tells of decisions, without their times.
func (w *world) controls(component string) []*pb.SubscriptionControl {
	w.Helper()
	list, err := w.client.ListSubscriptions(w.Context(), &pb.SubscriptionQuery{Component: component})
	if err != nil {
		w.Fatal(err)
	}
	for _, control := range list.Controls {
		control.DecidedAt = nil
	}
	return list.Controls
}

// checkControl compares what was answered, without times, and what is listed.
func (w *world) checkControl(want, got *pb.SubscriptionControl, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	if time.Since(got.GetDecidedAt().AsTime()) > time.Hour {
		w.Errorf("it was decided at %s", got.GetDecidedAt().AsTime())
	}
	got.DecidedAt = nil
	// The note ends with the moment.
	if !strings.HasPrefix(got.Note, want.Note) {
		w.Errorf("the note is %q, want %q", got.Note, want.Note)
	}
	want.Note = got.Note
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.Errorf("the answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]*pb.SubscriptionControl{want}, w.controls(want.Component), protocmp.Transform()); diff != "" {
		w.Errorf("the list (-want +got):\n%s", diff)
	}
}

func TestComponentsArePausedAndGoOn(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{Caller: func(context.Context) string { return "alice" }})
	got, err := w.client.Pause(t.Context(), &pb.SubscriptionDecision{Component: "loyalty", By: "mallory", Note: "too many\npoints"})
	w.checkControl(&pb.SubscriptionControl{Component: "saga/loyalty", Paused: true, Note: "pause by alice at "}, got, err)
	if !strings.HasSuffix(got.Note, ": too many points") {
		t.Errorf("the note is %q", got.Note)
	}
	if told := w.nudged(); !cmp.Equal(told, []string{"saga/loyalty"}) {
		t.Errorf("consumers were told of %q", told)
	}
	got, err = w.client.Resume(t.Context(), &pb.SubscriptionDecision{Component: "saga/loyalty"})
	w.checkControl(&pb.SubscriptionControl{Component: "saga/loyalty", Note: "resume by alice at "}, got, err)

	w.nudged()
	got, err = w.client.Resume(t.Context(), &pb.SubscriptionDecision{Component: "receipt"})
	if err != nil || got.Component != "projector/receipt" || got.Note != "" || len(w.controls("receipt")) != 0 || len(w.nudged()) != 0 {
		t.Errorf("what is not paused goes on: %v, %v", got, err)
	}
}

func TestProjectorsAreRewound(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	got, err := w.client.Rewind(t.Context(), &pb.SubscriptionRewind{Component: "receipt", Clear: true, By: "bob", Note: "new columns"})
	w.checkControl(&pb.SubscriptionControl{Component: "projector/receipt", Rewinds: 1, Rewinding: true, Clear: true, Note: "rewind by bob at "}, got, err)
	got, err = w.client.Rewind(t.Context(), &pb.SubscriptionRewind{Component: "projector/receipt", After: 3})
	w.checkControl(&pb.SubscriptionControl{Component: "projector/receipt", Rewinds: 2, Rewinding: true, After: 3, Note: "rewind by somebody at "}, got, err)
	if told := w.nudged(); !cmp.Equal(told, []string{"projector/receipt", "projector/receipt"}) {
		t.Errorf("consumers were told of %q", told)
	}
}

func TestDecisionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	for _, name := range []string{"projector/loyalty", "relay/amqp"} {
		if _, err := w.store.Share(t.Context(), eventstore.Share{Name: name, Member: member, Slices: 2, Lease: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	pause := func(name string) func() error {
		return func() error {
			_, err := w.client.Pause(t.Context(), &pb.SubscriptionDecision{Component: name})
			return err
		}
	}
	rewind := func(request *pb.SubscriptionRewind) func() error {
		return func() error {
			_, err := w.client.Rewind(t.Context(), request)
			return err
		}
	}
	for name, c := range map[string]struct {
		do   func() error
		code codes.Code
		want string
	}{
		"nothing":        {pause(""), codes.InvalidArgument, "component"},
		"no such one":    {pause("recipe"), codes.NotFound, `no projector or saga "recipe" has ever run here; there are projector/loyalty, projector/receipt, saga/loyalty, saga/reserve`},
		"two of a name":  {pause("loyalty"), codes.InvalidArgument, "projector/loyalty and saga/loyalty"},
		"the relay":      {pause("relay/amqp"), codes.NotFound, "relay/amqp"},
		"dead letters":   {pause("saga/reserve/compensation"), codes.NotFound, "saga/reserve"},
		"a saga again":   {rewind(&pb.SubscriptionRewind{Component: "reserve"}), codes.FailedPrecondition, "would send its commands again"},
		"no events":      {rewind(&pb.SubscriptionRewind{Component: "receipt", After: 5}), codes.InvalidArgument, "a position before the newest event, which is at 5"},
		"half is lost":   {rewind(&pb.SubscriptionRewind{Component: "receipt", After: 2, Clear: true}), codes.InvalidArgument, "after"},
		"resume nothing": {func() error { _, err := w.client.Resume(t.Context(), &pb.SubscriptionDecision{}); return err }, codes.InvalidArgument, "component"},
	} {
		err := c.do()
		if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.want) {
			t.Errorf("%s: got %v, want %s and %q", name, err, c.code, c.want)
		}
	}
	if controls := w.controls(""); len(controls) != 0 {
		t.Errorf("decided is %v", controls)
	}
}

func TestDecisionsAtAnotherDoorAreSigned(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	conn := transport.NewMemory()
	pb.RegisterAdminServer(conn, admin.Forward(w.client, func(context.Context) string { return "carol" }))
	client := pb.NewAdminClient(conn)
	got, err := client.Pause(t.Context(), &pb.SubscriptionDecision{Component: "receipt", By: "mallory"})
	w.checkControl(&pb.SubscriptionControl{Component: "projector/receipt", Paused: true, Note: "pause by carol at "}, got, err)
	got, err = client.Resume(t.Context(), &pb.SubscriptionDecision{Component: "receipt", By: "mallory"})
	w.checkControl(&pb.SubscriptionControl{Component: "projector/receipt", Note: "resume by carol at "}, got, err)
	got, err = client.Rewind(t.Context(), &pb.SubscriptionRewind{Component: "receipt", By: "mallory"})
	w.checkControl(&pb.SubscriptionControl{Component: "projector/receipt", Rewinds: 1, Rewinding: true, Note: "rewind by carol at "}, got, err)
}
