package sqlite

import (
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
)

// knownStreams is how many aggregates the writer remembers at least; it
// remembers up to twice as many.
const knownStreams = 8192

// stream is what the writer knows of an aggregate.
type stream struct {
	id   int64  // 0 for one without events
	next uint32 // number of its next event
	name string
	last uuid.UUID // command of its newest event, zero when nobody has looked
}

// known remembers the aggregates used last, so that an append to one of them
// reads nothing. It keeps two generations: what is not used while the young one
// fills up is forgotten.
type known struct {
	young, old map[book.Key]*stream
}

func (k *known) get(key book.Key) *stream {
	if found, ok := k.young[key]; ok {
		return found
	}
	found, ok := k.old[key]
	if ok {
		k.put(key, found)
	}
	return found
}

func (k *known) put(key book.Key, s *stream) {
	if len(k.young) >= knownStreams {
		k.old, k.young = k.young, nil
	}
	if k.young == nil {
		k.young = make(map[book.Key]*stream)
	}
	k.young[key] = s
}

func (k *known) forget() { k.young, k.old = nil, nil }
