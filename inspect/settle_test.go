package inspect_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

func TestEffectsAreFollowedUntilNobodyIsBehind(t *testing.T) {
	t.Parallel()
	topology := &pb.Topology{Components: []*pb.Component{
		{Kind: pb.ComponentKind_COMPONENT_KIND_DOMAIN, Name: "customer"},
		{Kind: pb.ComponentKind_COMPONENT_KIND_PROJECTOR, Name: "receipt", From: []string{"order"}},
		{Kind: pb.ComponentKind_COMPONENT_KIND_PROJECTOR, Name: "elsewhere", From: []string{"stock"}}, // never begun
		{Kind: pb.ComponentKind_COMPONENT_KIND_SAGA, Name: "all"},
	}}
	// Only the slices of the aggregate count; the others lag for ever.
	ours := book.Key{Domain: "order", Root: book.Root("order", "alice")}.Slice(4)
	slice, other := uint32(ours), uint32((ours+1)%4)
	at := func(receipt, saga uint64, controls ...*pb.SubscriptionControl) *pb.SubscriptionList {
		return &pb.SubscriptionList{Head: 9, Controls: controls, Slices: []*pb.SubscriptionSlice{
			{Component: "projector/receipt", Slice: slice, Slices: 4, Position: receipt}, {Component: "projector/receipt", Slice: other, Slices: 4},
			{Component: "saga/all", Slices: 1, Position: saga},
		}}
	}
	letter := wireLetter(4, pb.DeadLetterState_DEAD_LETTER_STATE_PARKED, 1)
	foreign := wireLetter(5, pb.DeadLetterState_DEAD_LETTER_STATE_PARKED, 1)
	foreign.CorrelationId = "c-2"
	paused := &pb.SubscriptionControl{Component: "projector/receipt", Paused: true}
	o := &office{lists: []*pb.SubscriptionList{at(0, 0), at(0, 0), at(3, 4), at(3, 4, paused), at(4, 4)}, letters: []*pb.DeadLetter{letter, foreign}}
	c := follow(t, &guide{topology: topology, trace: []*pb.StoredBook{stored(4, "alice", 0, 0, "")}}, o)
	var behind [][]string
	var last inspect.Effects
	for effects, err := range c.Settle(t.Context(), "c-1") {
		if err != nil {
			t.Fatal(err)
		}
		behind, last = append(behind, effects.Behind), effects
		if len(effects.Paused) > 0 != (len(behind) == 3) {
			t.Errorf("paused after %d are %q", len(behind), effects.Paused)
		}
	}
	want := [][]string{{"projector/receipt", "saga/all"}, {"projector/receipt"}, {"projector/receipt"}, nil}
	if !slices.EqualFunc(behind, want, slices.Equal) || !last.Settled() {
		t.Errorf("behind were %q, want %q", behind, want)
	}
	if len(last.Letters) != 1 || last.Letters[0].Position != 4 {
		t.Errorf("the dead letters are %+v", last.Letters)
	}
	if now, err := c.Effects(t.Context(), "c-1"); err != nil || !now.Settled() || now.Trace.Events != 1 {
		t.Errorf("asked once: %+v, %v", now, err)
	}
}

func TestWaitingForEffectsEndsWithTheContext(t *testing.T) {
	t.Parallel()
	topology := &pb.Topology{Components: []*pb.Component{{Kind: pb.ComponentKind_COMPONENT_KIND_SAGA, Name: "all"}}}
	c := follow(t, &guide{topology: topology, trace: []*pb.StoredBook{stored(4, "alice", 0, 0, "")}}, &office{lists: []*pb.SubscriptionList{{}}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var codesSeen []codes.Code
	for _, err := range c.Settle(ctx, "c-1") {
		codesSeen = append(codesSeen, status.Code(err))
	}
	if last := codesSeen[len(codesSeen)-1]; last != codes.DeadlineExceeded {
		t.Errorf("it ended with %v", codesSeen)
	}
}
