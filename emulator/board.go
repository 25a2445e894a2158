package emulator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/angz-dev/angz/emulator/supervise"
)

// board knows how every service is doing.
type board struct {
	mu       sync.Mutex
	statuses []supervise.Status
	settled  chan struct{} // closed when it is known of each service whether it runs
}

func newBoard(services int) *board {
	b := &board{statuses: make([]supervise.Status, services), settled: make(chan struct{})}
	if services == 0 {
		close(b.settled)
	}
	return b
}

func (b *board) set(status supervise.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statuses[status.Index] = status
	select {
	case <-b.settled:
		return
	default:
	}
	for _, each := range b.statuses {
		switch each.State {
		case "", supervise.Building, supervise.Starting, supervise.Waiting:
			return
		}
	}
	close(b.settled)
}

// all returns the newest status of each service.
func (b *board) all() []supervise.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.statuses)
}

// reachTime is how long the runtime may take to connect to services that are
// ready, before people are told where everything is all the same.
const reachTime = 3 * time.Second

// await waits until it is known whether each service runs and, if all do, until
// the runtime has reached them. It reports whether it came to that before the
// context ended.
func (b *board) await(ctx context.Context, reached <-chan struct{}) bool {
	select {
	case <-b.settled:
	case <-ctx.Done():
		return false
	}
	if slices.ContainsFunc(b.all(), func(s supervise.Status) bool { return s.State != supervise.Ready }) {
		return true
	}
	patience := time.NewTimer(reachTime)
	defer patience.Stop()
	select {
	case <-reached:
	case <-patience.C:
	case <-ctx.Done():
		return false
	}
	return true
}
