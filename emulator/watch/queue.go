package watch

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// mostEvents are kept until they are looked at. More mean that everything is
// looked at anew, which costs less.
const mostEvents = 1 << 16

// queue takes the events from fsnotify as they come. fsnotify holds its lock
// while it hands over some errors, and so nobody who adds a watch may be the one
// who takes them.
type queue struct {
	notify *fsnotify.Watcher
	limit  int
	logger *slog.Logger
	ready  chan struct{} // has one element when there is something to take
	ended  chan struct{}

	mu     sync.Mutex
	events []fsnotify.Event
	lost   bool // events are missing
}

func newQueue(limit int, logger *slog.Logger) (*queue, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, limitError(err, "")
	}
	q := &queue{notify: notify, limit: limit, logger: logger, ready: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q, nil
}

func (q *queue) run() {
	defer close(q.ended)
	for {
		select {
		case event, ok := <-q.notify.Events:
			if !ok {
				return
			}
			q.put(event)
		case err, ok := <-q.notify.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				q.lose()
				continue
			}
			q.logger.Debug("watch files", "error", err) // such as a watch that ended by itself
		}
	}
}

// put keeps an event, unless it says nothing new: a file that is written comes
// once for every few kilobytes, and permissions are no content.
func (q *queue) put(event fsnotify.Event) {
	if event.Op&^fsnotify.Chmod == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.events); q.lost || n > 0 && q.events[n-1] == event {
		return
	}
	if len(q.events) >= q.limit {
		q.events, q.lost = nil, true
	} else {
		q.events = append(q.events, event)
	}
	signal(q.ready)
}

func (q *queue) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events, q.lost = nil, true
	signal(q.ready)
}

// take returns the events in their order, or that some are missing.
func (q *queue) take() (events []fsnotify.Event, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events, q.events = q.events, nil
	return events, q.lost
}

// close ends all watches and returns when nothing of them is left.
func (q *queue) close() {
	_ = q.notify.Close() // there is nothing to be done about it
	<-q.ended
}
