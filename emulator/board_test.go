package emulator

import (
	"context"
	"testing"

	"github.com/angz-dev/angz/emulator/supervise"
)

func TestTheTableWaitsUntilItIsKnownWhatBecameOfEachService(t *testing.T) {
	t.Parallel()
	b := newBoard([]string{"a", "b"})
	b.set(supervise.Status{Name: "a", State: supervise.Building})
	b.set(supervise.Status{Name: "b", State: supervise.Ready})
	ended, end := context.WithCancel(t.Context())
	end()
	if b.await(ended, nil) {
		t.Error("a service is still being built, but the table would be shown")
	}
	b.set(supervise.Status{Name: "a", State: supervise.BuildFailed})
	if !b.await(t.Context(), nil) {
		t.Error("everything is known, but the table would not be shown")
	}
	b.set(supervise.Status{Name: "a", State: supervise.Ready})
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
	if !newBoard(nil).await(t.Context(), reached) {
		t.Error("the table would not be shown")
	}
}
