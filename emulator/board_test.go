package emulator

import (
	"context"
	"testing"

	"github.com/angz-dev/angz/emulator/supervise"
)

func TestTheTableWaitsUntilItIsKnownWhatBecameOfEachService(t *testing.T) {
	t.Parallel()
	b := newBoard(2)
	b.set(supervise.Status{Index: 0, State: supervise.Building})
	b.set(supervise.Status{Index: 1, State: supervise.Ready})
	ended, end := context.WithCancel(t.Context())
	end()
	if b.await(ended, nil) {
		t.Error("a service is still being built, but the table would be shown")
	}
	b.set(supervise.Status{Index: 0, State: supervise.BuildFailed})
	if !b.await(t.Context(), nil) {
		t.Error("everything is known, but the table would not be shown")
	}
	b.set(supervise.Status{Index: 0, State: supervise.Ready})
	if b.await(ended, nil) {
		t.Error("the runtime has not reached the services, but the table would be shown")
	}
	reached := make(chan struct{})
	close(reached)
	if !b.await(t.Context(), reached) {
		t.Error("everything is up, but the table would not be shown")
	}
}

func TestNoServicesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	close(reached)
	if !newBoard(0).await(t.Context(), reached) {
		t.Error("the table would not be shown")
	}
}
