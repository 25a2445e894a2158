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
	mu      sync.Mutex
	names   []string // of the services, in the order in which they are shown
	entries map[string]entry
	settled chan struct{} // closed when it is known of each service whether it runs
	changed chan struct{} // closed at the next change
}

// entry is what the board knows of a service.
type entry struct {
	supervise.Status
	since  time.Time // when it came into this state
	paused bool      // changes of files do not restart it
}

func newBoard(names []string) *board {
	b := &board{settled: make(chan struct{}), changed: make(chan struct{}), entries: map[string]entry{}}
	b.rename(names)
	return b
}

// rename says which services there are now.
func (b *board) rename(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = names
	b.look()
}

func (b *board) set(status supervise.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[status.Name] = entry{status, time.Now(), b.entries[status.Name].paused}
	b.look()
}

// pause says whether changes of files restart these services, all if none is
// named.
func (b *board) pause(paused bool, names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range b.names {
		if len(names) == 0 || slices.Contains(names, name) {
			changed := b.entries[name]
			changed.paused = paused
			b.entries[name] = changed
		}
	}
	b.look()
}

// isPaused reports whether changes of files do not restart a service.
func (b *board) isPaused(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[name].paused
}

// look tells of a change, and when it is known how each service is doing. The
// caller holds the lock.
func (b *board) look() {
	close(b.changed)
	b.changed = make(chan struct{})
	select {
	case <-b.settled:
		return
	default:
	}
	for _, name := range b.names {
		switch b.entries[name].State {
		case "", supervise.Building, supervise.Starting, supervise.Waiting:
			return
		}
	}
	close(b.settled)
}

// touch tells of a change that is not a service's.
func (b *board) touch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
}

// watch returns a channel that is closed at the next change.
func (b *board) watch() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// all returns what is known of each service.
func (b *board) all() []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]entry, len(b.names))
	for i, name := range b.names {
		all[i] = b.entries[name]
		all[i].Name = name
	}
	return all
}

// unready lists the services that do not serve.
func (b *board) unready() (names []string) {
	for _, each := range b.all() {
		if !each.State.Serves() {
			names = append(names, each.Name)
		}
	}
	return names
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
	if len(b.unready()) > 0 {
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
