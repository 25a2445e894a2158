package stream

import (
	"slices"
	"sync"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// registry knows who waits for which correlation.
type registry struct {
	mu       sync.RWMutex
	watchers map[string][]*watcher // the slices are replaced, never changed in place
}

// watcher is one subscriber.
type watcher struct {
	correlation string
	books       chan *pb.EventBook // bounded: what it cannot hold ends the subscription
	dropped     chan struct{}      // closed when a book did not fit
	once        sync.Once          // closes dropped
}

// offer hands a book over without waiting and reports whether it fitted. After
// one that did not fit none is taken, so that nobody sees a gap.
func (w *watcher) offer(events *pb.EventBook) bool {
	select {
	case <-w.dropped:
		return true // said so before
	default:
	}
	select {
	case w.books <- events:
		return true
	default:
		w.once.Do(func() { close(w.dropped) })
		return false
	}
}

func (r *registry) add(correlation string, buffer int) *watcher {
	w := &watcher{correlation: correlation, books: make(chan *pb.EventBook, buffer), dropped: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[correlation] = append(slices.Clip(r.watchers[correlation]), w)
	return w
}

// remove is safe to call for a watcher that has been removed already.
func (r *registry) remove(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(r.watchers[w.correlation]), func(other *watcher) bool { return other == w })
	if len(rest) == 0 {
		delete(r.watchers, w.correlation)
		return
	}
	r.watchers[w.correlation] = rest
}

// find returns the watchers of a correlation. The result must not be changed.
func (r *registry) find(correlation string) []*watcher {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.watchers[correlation]
}
