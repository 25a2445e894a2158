package storetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// model is a store so simple that it is plainly right: slices and maps, in one
// goroutine.
type model struct {
	events        []eventstore.Event
	names         map[book.Key]string
	snapshots     map[book.Key]eventstore.Snapshot
	subscriptions map[string]*sharedOut
	parked        map[string]map[uint64]eventstore.Parked
	now           time.Duration // by which leases are measured
}

func newModel() *model {
	return &model{
		names: make(map[book.Key]string), snapshots: make(map[book.Key]eventstore.Snapshot),
		subscriptions: make(map[string]*sharedOut), parked: make(map[string]map[uint64]eventstore.Parked),
	}
}

// where returns the events that a condition holds for, with the names of now.
func (m *model) where(condition func(eventstore.Event) bool) []eventstore.Event {
	var found []eventstore.Event
	for _, event := range m.events {
		if condition(event) {
			event.Name = m.names[event.Key]
			found = append(found, event)
		}
	}
	return found
}

func (m *model) of(key book.Key) []eventstore.Event {
	return m.where(func(e eventstore.Event) bool { return e.Key == key })
}

func (m *model) byCommand(id uuid.UUID) []eventstore.Event {
	return m.where(func(e eventstore.Event) bool { return e.CommandID == id })
}

// append returns what an append has to be answered with, and whether it is a
// conflict.
func (m *model) append(request eventstore.Append) (eventstore.Appended, bool) {
	next := uint32(len(m.of(request.Key)))
	if old := m.byCommand(request.CommandID); len(old) > 0 {
		return eventstore.Appended{Next: next, Last: old[len(old)-1].Position, Duplicate: true, Events: old}, false
	}
	if request.Next != next {
		return eventstore.Appended{}, true
	}
	m.events = append(m.events, stored(request, uint64(len(m.events)+1))...)
	if m.names[request.Key] == "" {
		m.names[request.Key] = request.Name
	}
	if request.Snapshot != nil {
		m.saveSnapshot(*request.Snapshot)
	}
	return eventstore.Appended{Next: next + uint32(len(request.Events)), Last: uint64(len(m.events))}, false
}

func (m *model) saveSnapshot(snapshot eventstore.Snapshot) {
	if old, ok := m.snapshots[snapshot.Key]; !ok || snapshot.Sequence >= old.Sequence {
		m.snapshots[snapshot.Key] = snapshot
	}
}

func (m *model) info(key book.Key) eventstore.Info {
	info := eventstore.Info{Next: uint32(len(m.of(key))), Name: m.names[key]}
	if snapshot, ok := m.snapshots[key]; ok {
		info.Snapshot = &snapshot
	}
	return info
}

func (m *model) roots() []eventstore.Root {
	var roots []eventstore.Root
	for key, name := range m.names {
		roots = append(roots, eventstore.Root{Key: key, Name: name})
	}
	slices.SortFunc(roots, func(a, b eventstore.Root) int { return compareKeys(a.Key, b.Key) })
	return roots
}

func (m *model) summary(key book.Key) eventstore.Summary {
	all := m.of(key)
	if len(all) == 0 {
		return eventstore.Summary{}
	}
	summary := summaryOf(all, m.names[key])
	_, summary.Snapshot = m.snapshots[key]
	return summary
}

// summaries returns the aggregates that a condition holds for.
func (m *model) summaries(condition func(eventstore.Summary) bool) (found []eventstore.Summary) {
	for _, root := range m.roots() {
		if summary := m.summary(root.Key); condition(summary) {
			found = append(found, summary)
		}
	}
	return found
}

// place returns what is parked of a subscription.
func (m *model) place(subscription string) map[uint64]eventstore.Parked {
	if m.parked[subscription] == nil {
		m.parked[subscription] = make(map[uint64]eventstore.Parked)
	}
	return m.parked[subscription]
}

// advance returns the slices because of which it is refused.
func (m *model) advance(advance eventstore.Advance) (refused []int) {
	subscription := m.subscriptions[advance.Name]
	for _, move := range advance.Moves {
		slice := subscription.slices[move.Slice]
		if slice.Epoch != move.Epoch || slice.Position != move.From {
			refused = append(refused, move.Slice)
		}
	}
	if len(refused) > 0 {
		return refused
	}
	for _, move := range advance.Moves {
		subscription.slices[move.Slice].Position = move.To
	}
	for _, parked := range advance.Park {
		parked.Subscription = cmp.Or(parked.Subscription, advance.Name)
		place := m.place(parked.Subscription)
		if old, ok := place[parked.Position]; ok {
			parked.FirstAt, parked.Key, parked.Sequence, parked.Note = old.FirstAt, old.Key, old.Sequence, old.Note
		}
		place[parked.Position] = parked
	}
	return nil
}

// decide reports whether there was anything to decide.
func (m *model) decide(decision eventstore.Decision) bool {
	parked, known := m.place(decision.Subscription)[decision.Position]
	if !known || len(decision.From) > 0 && !slices.Contains(decision.From, parked.State) {
		return false
	}
	parked.State = decision.To
	if decision.Attempts > 0 {
		parked.LastAt = time.Time{} // what the store's clock says
	}
	parked.Attempts += decision.Attempts
	parked.Reason = cmp.Or(decision.Reason, parked.Reason)
	parked.Note = cmp.Or(decision.Note, parked.Note)
	m.place(decision.Subscription)[decision.Position] = parked
	return true
}

func (m *model) parkedWhere(query eventstore.ParkedQuery) []eventstore.Parked {
	var found []eventstore.Parked
	for subscription, place := range m.parked {
		for _, parked := range place {
			before := compareParked(parked, eventstore.Parked{Subscription: query.AfterSubscription, Position: query.AfterPosition}) <= 0
			if before || query.Subscription != "" && subscription != query.Subscription ||
				len(query.States) > 0 && !slices.Contains(query.States, parked.State) ||
				query.Key != (book.Key{}) && parked.Key != query.Key {
				continue
			}
			found = append(found, parked)
		}
	}
	slices.SortFunc(found, compareParked)
	return found[:min(query.Limit, len(found))]
}

func compareParked(a, b eventstore.Parked) int {
	return cmp.Or(cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Position, b.Position))
}

func (m *model) blocked(subscription string) []book.Key {
	var keys []book.Key
	for _, parked := range m.parked[subscription] {
		if parked.State == eventstore.StateParked || parked.State == eventstore.StateRetry {
			keys = append(keys, parked.Key)
		}
	}
	return keys
}

func (m *model) positions() []eventstore.Position {
	var positions []eventstore.Position
	for name, subscription := range m.subscriptions {
		for _, slice := range subscription.slices {
			position := eventstore.Position{
				Name: name, Slice: slice.Number, Slices: len(subscription.slices), Position: slice.Position, Epoch: slice.Epoch,
			}
			if member, alive := subscription.members[slice.Member]; alive && member.until > m.now {
				position.Member, position.Address = slice.Member, member.address
			}
			positions = append(positions, position)
		}
	}
	slices.SortFunc(positions, func(a, b eventstore.Position) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Slice, b.Slice))
	})
	return positions
}
