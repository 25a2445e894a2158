package saga_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/saga"
)

// count returns how many commands went to an aggregate.
func (w *world) count(domain, id string) (count int) {
	for _, command := range w.targets.seen() {
		if command.Cover.Domain == domain && (id == "" || command.Cover.AggregateId == id) {
			count++
		}
	}
	return count
}

// until receives what the targets are told until there has been enough.
func (w *world) until(what string, enough func() bool) {
	w.Helper()
	for !enough() {
		select {
		case <-w.targets.told:
		case <-w.Context().Done():
			w.Fatalf("%s: never happened", what)
		}
	}
}

// letters lists the dead letters of a subscription as "state attempts reason".
func (w *world) letters(subscription string) (lines []eventstore.Parked) {
	w.Helper()
	found, err := w.store.Parked(w.Context(), eventstore.ParkedQuery{Subscription: subscription, Limit: 10})
	if err != nil {
		w.Fatal(err)
	}
	return found
}

func TestARefusedCommandIsNotSentAgainWithItsBook(t *testing.T) {
	t.Parallel()
	refusals, away := 1, 3
	w := newWorld(t, always(command("p1"), command("p2")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		switch {
		case c.Cover.AggregateId == "p1" && refusals > 0:
			refusals--
			return nil, status.Error(codes.FailedPrecondition, rejected)
		case c.Cover.AggregateId == "p2" && away > 0:
			away--
			return nil, status.Error(codes.Unavailable, "away")
		}
		return accepted(c), nil
	}, asItIs)
	if _, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
		t.Fatal(err)
	}
	// The stock would take it by now, but it has been compensated for.
	if p1, p2, revoked := w.count("stock", "p1"), w.count("stock", "p2"), w.count("order", ""); p1 != 1 || p2 != 4 || revoked != 1 {
		t.Errorf("p1 was sent %d times, p2 %d, compensated %d times", p1, p2, revoked)
	}
}

func TestARefusalOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	var away, accepts atomic.Bool
	away.Store(true)
	w := newWorld(t, always(command("p1"), command("p2")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		switch {
		case c.Cover.AggregateId == "p1" && !accepts.Load():
			return nil, status.Error(codes.FailedPrecondition, "no\n\"p1\"")
		case c.Cover.AggregateId == "p2" && away.Load():
			return nil, status.Error(codes.Unavailable, "away")
		}
		return accepted(c), nil
	}, func(o *saga.Options) {
		o.Delivery.Absent = func(err error) bool { return status.Code(err) == codes.Unavailable }
		o.Delivery.Grace = 10 * time.Millisecond
	})
	w.append(0, "x/Placed")
	w.until("p2 was tried twice", func() bool { return w.count("stock", "p2") > 1 })
	w.stop()
	accepts.Store(true)
	away.Store(false)
	before := w.count("stock", "p2")
	w.start()
	w.until("p2 was accepted", func() bool { return w.count("stock", "p2") > before })
	w.stop()
	if sent := w.count("stock", "p1"); sent != 1 {
		t.Errorf("the refused command was sent %d times", sent)
	}
	var reasons []string
	for _, c := range w.targets.seen() {
		if revoke := new(pb.RevokeEventCommand); c.Cover.Domain == "order" && c.Pages[0].Command.UnmarshalTo(revoke) == nil {
			reasons = append(reasons, revoke.RejectionReason)
		}
	}
	// What is done about it is repeated after the restart, under the same id.
	w.same("compensated for", []string{"no\n\"p1\"", "no\n\"p1\""}, reasons)
	kept := w.letters("saga/reserve/refused")
	if len(kept) != 1 || kept[0].Reason != `command 0 refused: "no\n\"p1\""` || kept[0].State != eventstore.StateResolved || kept[0].Key != key || kept[0].Position != 1 {
		t.Errorf("kept %+v", kept)
	}
}

func TestABookHandedOverWithoutPositionIsKnownAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, always(command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		if c.Cover.Domain == "stock" {
			return nil, status.Error(codes.FailedPrecondition, "")
		}
		return accepted(c), nil
	}, asItIs)
	events := w.append(0, "x/Placed", "x/Paid")
	events.Position = 0
	if _, err := w.handle(events, pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
		t.Fatal(err)
	}
	if kept := w.letters("saga/reserve/refused"); len(kept) != 1 || kept[0].Position != 2 || kept[0].Reason != `command 0 refused: "FailedPrecondition"` {
		t.Errorf("kept %+v", kept)
	}
}

// decide is what a person does, through an admin service elsewhere.
func (w *world) decide(position uint64) {
	w.Helper()
	decision := eventstore.Decision{Subscription: "saga/reserve/compensation", Position: position, From: []eventstore.State{eventstore.StateParked}, To: eventstore.StateRetry}
	if err := w.store.Decide(w.Context(), decision); err != nil {
		w.Fatal(err)
	}
	w.coordinator.Decided()
}

func TestARetriedDeadLetterSendsWhatWasRefusedAnew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second error // of the refused command
		state  eventstore.State
		reason string
		kept   string
		failed int // compensations that were asked for
	}{
		"accepted": {nil, eventstore.StateResolved, "command rejected: sold out; not compensated: too late", "", 1},
		"refused again": {status.Error(codes.FailedPrecondition, "still sold out"), eventstore.StateParked,
			"command rejected: still sold out; not compensated: too late", `command 1 refused: "still sold out"`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			w := newWorld(t, always(command("p1"), command("p2")), func(book *pb.CommandBook) (*pb.CommandResponse, error) {
				switch {
				case book.Cover.Domain == "order":
					return nil, rpcerr.Revoked(&pb.RevocationResponse{SendToDeadLetterQueue: true, Reason: "too late"})
				case book.Cover.AggregateId == "p2":
					if asked++; asked == 1 {
						return nil, status.Error(codes.FailedPrecondition, "sold out")
					}
					if c.second != nil {
						return nil, c.second
					}
				}
				return accepted(book), nil
			}, asItIs)
			events := w.append(0, "x/Placed")
			w.until("it was compensated for", func() bool { return w.count("order", "") == 1 })
			w.stop() // so that the dead letter is recorded
			w.start()
			w.decide(1)
			w.until("the command was sent anew", func() bool { return w.count("stock", "p2") == 2 })
			w.stop()
			letters := w.letters("saga/reserve/compensation")
			if len(letters) != 1 || letters[0].State != c.state || letters[0].Reason != c.reason || letters[0].Attempts != 2 {
				t.Errorf("left %+v", letters)
			}
			if kept := w.letters("saga/reserve/refused"); len(kept) != 1 || kept[0].Reason != c.kept {
				t.Errorf("kept %+v", kept)
			}
			if asked := w.count("order", ""); asked != c.failed {
				t.Errorf("asked for compensation %d times", asked)
			}
			if blocked, err := w.store.Blocked(t.Context(), "saga/reserve"); err != nil || len(blocked) > 0 {
				t.Errorf("blocks %v, %v", blocked, err)
			}
			if id, _ := book.KeyOf(events.Cover); letters[0].Key != id {
				t.Error(letters[0].Key)
			}
		})
	}
}

func TestACommandThatIsStoredIsNotCompensatedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string // what a caller who waits is told
	}{
		"a follower aborts":     {rpcerr.Stored(rpcerr.Abort("saga ship: no")), "saga ship: no"},
		"a follower has failed": {rpcerr.Stored(status.Error(codes.FailedPrecondition, "dead letters")), ""},
		"a follower is slow":    {rpcerr.Stored(status.Error(codes.DeadlineExceeded, "slow")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, always(command("p1")), func(*pb.CommandBook) (*pb.CommandResponse, error) { return nil, c.err }, asItIs)
			_, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE)
			if (err != nil) != (c.want != "") || err != nil && (status.Convert(err).Message() != c.want || rpcerr.Retryable(err)) {
				t.Errorf("told %v, want %q", err, c.want)
			}
			w.same("sent", []*pb.CommandBook{sent(command("p1"), 0, 0)}, w.targets.seen())
		})
	}
}

func TestTheFlagsActInTheirOrder(t *testing.T) {
	t.Parallel()
	var order []string
	w := newWorld(t, always(command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		switch c.Cover.Domain {
		case "stock":
			return nil, status.Error(codes.FailedPrecondition, rejected)
		case "failures":
			order = append(order, "system revocation")
			return accepted(c), nil
		}
		return nil, rpcerr.Revoked(&pb.RevocationResponse{EmitSystemRevocation: true, SendToDeadLetterQueue: true, Escalate: true, Abort: true, Reason: "too late"})
	}, func(o *saga.Options) {
		o.Compensation.Queue = func(_ context.Context, failed *pb.SagaCompensationFailed) error {
			order = append(order, "dead letter "+failed.CompensationFailureReason)
			return errors.New("the broker is away")
		}
		o.Compensation.Escalate = func(_ context.Context, failed *pb.SagaCompensationFailed) error {
			order = append(order, "escalation "+failed.RejectionReason)
			return errors.New("the webhook answered 503 Service Unavailable")
		}
	})
	_, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE)
	if !rpcerr.IsAbort(err) || status.Code(err) != codes.Aborted {
		t.Errorf("told %v", err)
	}
	w.same("done", []string{"dead letter too late", "escalation " + rejected, "system revocation"}, order)
	w.same("left", []string{"command rejected: " + rejected + "; not compensated: too late; not handed on to the dead-letter queue: the broker is away; " +
		"nobody could be told: the webhook answered 503 Service Unavailable"}, w.parked("saga/reserve/compensation"))
}

func TestWhatNobodyCouldBeToldOfIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, always(command("p1")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		if c.Cover.Domain == "stock" {
			return nil, status.Error(codes.FailedPrecondition, rejected)
		}
		return &pb.CommandResponse{}, nil
	}, func(o *saga.Options) {
		o.Compensation.Fallback = &pb.RevocationResponse{Escalate: true}
		o.Compensation.Escalate = func(context.Context, *pb.SagaCompensationFailed) error { return errors.New("no route") }
	})
	if _, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
		t.Error(err)
	}
	w.same("left", []string{"command rejected: " + rejected + "; not compensated: the aggregate answered with nothing; nobody could be told: no route"},
		w.parked("saga/reserve/compensation"))
}

func TestAPersonIsToldOnceHoweverOftenTheBookIsTried(t *testing.T) {
	t.Parallel()
	told, queued, away := 0, 0, 4
	w := newWorld(t, always(command("p1"), command("p2")), func(c *pb.CommandBook) (*pb.CommandResponse, error) {
		switch {
		case c.Cover.Domain == "failures" && away == 4, c.Cover.AggregateId == "p2" && away > 0:
			away--
			return nil, status.Error(codes.Unavailable, "away")
		case c.Cover.AggregateId == "p1":
			return nil, status.Error(codes.FailedPrecondition, rejected)
		case c.Cover.Domain == "order":
			return &pb.CommandResponse{}, nil
		}
		return accepted(c), nil
	}, func(o *saga.Options) {
		o.Compensation.Fallback = &pb.RevocationResponse{Escalate: true, EmitSystemRevocation: true, SendToDeadLetterQueue: true}
		o.Compensation.Escalate = func(context.Context, *pb.SagaCompensationFailed) error { told++; return nil }
		o.Compensation.Queue = func(context.Context, *pb.SagaCompensationFailed) error { queued++; return nil }
	})
	if _, err := w.handle(w.append(0, "x/Placed"), pb.SyncMode_SYNC_MODE_SIMPLE); err != nil {
		t.Error(err)
	}
	if told != 1 || queued != 1 || away != 0 {
		t.Errorf("told %d times, queued %d times, %d to go", told, queued, away)
	}
}

func TestRefusalsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 2000)
	got := saga.ReadRefusals(saga.Refusals(map[uint32]string{0: "no", 7: "a\nb \"c\"\x00\xff", 4294967295: long}))
	if diff := cmp.Diff(map[uint32]string{0: "no", 7: "a\nb \"c\"\x00\xff", 4294967295: long[:2000] + "…"}, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "command", "command 1", "command x refused: \"no\"", "command 1 refused: no", "command 4294967296 refused: \"no\"", "\n\n"} {
		if got := saga.ReadRefusals(text); len(got) > 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzRefusals(f *testing.F) {
	f.Add(uint32(3), "sold out\n", "command 1 refused: \"x\"\nrest")
	f.Fuzz(func(t *testing.T, index uint32, reason, text string) {
		if len(reason) <= 2000 {
			if got := saga.ReadRefusals(saga.Refusals(map[uint32]string{index: reason})); len(got) != 1 || got[index] != reason {
				t.Errorf("%q came back as %v", reason, got)
			}
		}
		again := saga.ReadRefusals(text)
		for _, reason := range again {
			if len(reason) > 2000 {
				return
			}
		}
		if diff := cmp.Diff(again, saga.ReadRefusals(saga.Refusals(again))); diff != "" {
			t.Error(diff)
		}
	})
}
