package aggregate

import (
	"context"
	"math"

	"github.com/maypok86/otter/v2"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// state is what is known of an aggregate between two commands. It is never
// changed: the next state shares the pages it keeps.
type state struct {
	next     uint32 // number of the next event
	name     string
	snapshot *pb.Snapshot    // nil when pages holds the whole history
	pages    []*pb.EventPage // history, or what follows the snapshot
	bytes    int             // estimate of what this takes in memory
}

const stateOverhead = 300 // bytes of the struct, its key and the cache's entry

// history returns the state as the book that the service decides on.
func (s *state) history(key book.Key, correlation string) *pb.EventBook {
	return &pb.EventBook{Cover: key.Cover(s.name), Snapshot: s.snapshot, Pages: s.pages, CorrelationId: correlation}
}

// with returns the state after more pages. Appending to the shared slice is
// safe because one aggregate's states follow one another in its queue, and a
// reader of an older state does not look behind its own length.
func (s *state) with(pages []*pb.EventPage) *state {
	return &state{
		next: s.next + uint32(len(pages)), name: s.name, snapshot: s.snapshot,
		pages: append(s.pages, pages...), bytes: s.bytes + size(pages),
	}
}

// at returns the state when its whole history is in a snapshot.
func (s *state) at(snapshot *eventstore.Snapshot) *state {
	return &state{next: s.next, name: s.name, snapshot: wireSnapshot(snapshot), bytes: stateOverhead + len(snapshot.State)}
}

// states keeps the aggregates in use in memory and reads the others.
type states struct {
	store     Store
	snapshots bool // snapshots may stand for history
	cache     *otter.Cache[book.Key, *state]
	metrics   *observe.Metrics
}

func newStates(store Store, bytes int, snapshots bool, metrics *observe.Metrics) *states {
	return &states{store: store, snapshots: snapshots, metrics: metrics, cache: otter.Must(&otter.Options[book.Key, *state]{
		MaximumWeight: uint64(bytes),
		Weigher: func(_ book.Key, s *state) uint32 {
			return uint32(min(s.bytes, math.MaxUint32))
		},
	})}
}

// get returns an aggregate's state, from memory if it is there.
func (s *states) get(ctx context.Context, key book.Key) (*state, error) {
	known, ok := s.cache.GetIfPresent(key)
	s.metrics.Cache(ok)
	if ok {
		return known, nil
	}
	return s.read(ctx, key)
}

// read returns an aggregate's state from the store.
func (s *states) read(ctx context.Context, key book.Key) (*state, error) {
	info, events, err := s.store.Load(ctx, key, s.snapshots)
	if err != nil {
		return nil, err
	}
	read := &state{next: info.Next, name: info.Name, pages: eventstore.Pages(events), bytes: stateOverhead}
	if s.snapshots && info.Snapshot != nil {
		read.snapshot = wireSnapshot(info.Snapshot)
		read.bytes += len(info.Snapshot.State)
	}
	read.bytes += size(read.pages)
	s.put(key, read)
	return read, nil
}

func (s *states) put(key book.Key, current *state) { s.cache.Set(key, current) }

func (s *states) forget(key book.Key) { s.cache.Invalidate(key) }
