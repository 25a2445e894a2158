package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// How long a process rests between notifications. One costs the server and every
// process that listens about as much as ten appends, so on a busy log they are
// rarer: the rest grows with the events that it brings.
const (
	shortestRest = time.Millisecond
	restForEvent = 250 * time.Microsecond
	longestRest  = 5 * time.Millisecond
)

// news is what processes know of how far the log has grown. It is safe for
// concurrent use.
type news struct {
	changed chan struct{} // has an element when there may be something to tell

	mu   sync.Mutex
	head uint64    // of the newest event of this process
	told uint64    // what everybody has been told, by whichever process
	rest time.Time // when the next notification may go
}

// grown says that this process has appended up to a position.
func (n *news) grown(head uint64) {
	n.mu.Lock()
	n.head = max(n.head, head)
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// heard says that everybody has been told, or is about to be.
func (n *news) heard(head uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if head <= n.told {
		return
	}
	rest := min(shortestRest+restForEvent*time.Duration(min(head-n.told, 100)), longestRest)
	// Processes that rest for the same time would all speak at its end.
	n.rest = time.Now().Add(rest + rand.N(rest/2))
	n.told = head
}

// due returns the position to tell of, 0 for none, and for how long not to.
func (n *news) due() (head uint64, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.head <= n.told {
		return 0, 0
	}
	return n.head, time.Until(n.rest)
}

// tellOthers lets other processes know how far the log has grown, unless another
// one has told as much. It is a hint: who misses it asks within a moment. It goes by
// a connection of its own and is not waited for, since a notification inside the
// append would take a lock of the whole cluster.
func (s *Store) tellOthers(ctx context.Context) {
	for {
		select {
		case <-s.news.changed:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			head, wait := s.news.due()
			if head == 0 {
				break
			}
			if wait > 0 {
				pause(ctx, wait)
				continue
			}
			s.news.heard(head)
			s.tell(ctx, head)
		}
	}
}

func (s *Store) tell(ctx context.Context, head uint64) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	_, _ = s.pool.Exec(ctx, `SELECT pg_notify('angz', $1)`, fmt.Sprint(head)) // who misses it asks
}

// pause waits, but not beyond the context's end.
func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
