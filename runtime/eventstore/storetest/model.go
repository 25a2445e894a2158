package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// model is a store so simple that it is plainly right: slices and maps, in one
// goroutine.
type model struct {
	events        []eventstore.Event
	names         map[book.Key]string
	snapshots     map[book.Key]eventstore.Snapshot
	subscriptions map[string]eventstore.Claim
	parked        map[string]map[uint64]eventstore.Parked
}

func newModel() *model {
	return &model{
		names: make(map[book.Key]string), snapshots: make(map[book.Key]eventstore.Snapshot),
		subscriptions: make(map[string]eventstore.Claim), parked: make(map[string]map[uint64]eventstore.Parked),
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

func (m *model) advance(advance eventstore.Advance) bool {
	claim, ok := m.subscriptions[advance.Name]
	if !ok || claim.Epoch != advance.Epoch || claim.Position != advance.From {
		return false
	}
	claim.Position = advance.To
	m.subscriptions[advance.Name] = claim
	for _, parked := range advance.Park {
		parked.Subscription = advance.Name
		if old, ok := m.parked[advance.Name][parked.Position]; ok {
			parked.FirstAt, parked.Key, parked.Sequence = old.FirstAt, old.Key, old.Sequence
		}
		if m.parked[advance.Name] == nil {
			m.parked[advance.Name] = make(map[uint64]eventstore.Parked)
		}
		m.parked[advance.Name][parked.Position] = parked
	}
	return true
}

func (m *model) waiting(subscription string) []eventstore.Parked {
	var waiting []eventstore.Parked
	for _, parked := range m.parked[subscription] {
		if parked.State == eventstore.StateParked {
			waiting = append(waiting, parked)
		}
	}
	slices.SortFunc(waiting, func(a, b eventstore.Parked) int { return int(a.Position) - int(b.Position) })
	return waiting
}

// machine does the same to a store and to the model.
type machine struct {
	ctx    context.Context
	open   Open
	store  eventstore.Store
	epoch  uuid.UUID
	model  *model
	keys   []book.Key
	claims []eventstore.Claim // all that were ever given
}

func behavesLikeModel(t *testing.T, driver Driver) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{ctx: t.Context(), open: driver.New(t), model: newModel()}
		for i := range 4 {
			m.keys = append(m.keys, book.Key{Domain: []string{"order", "customer"}[i%2], Root: uuid.UUID{15: byte(i)}})
		}
		m.start(rt)
		m.epoch = m.store.Epoch()
		defer func() { m.stop(rt) }()
		actions := map[string]func(*rapid.T){
			"append": m.append, "append more": m.append, "save snapshot": m.saveSnapshot, "read aggregate": m.readAggregate,
			"read log": m.readLog, "read index": m.readIndex, "claim": m.claim, "advance": m.advance, "park": m.setParked,
			"read subscriptions": m.readSubscriptions,
		}
		if driver.Durable {
			actions["open again"] = func(rt *rapid.T) { m.stop(rt); m.start(rt) }
		}
		actions[""] = func(rt *rapid.T) {
			if m.store.Head() != uint64(len(m.model.events)) || m.store.Epoch() != m.epoch {
				rt.Fatalf("head %d and epoch %s, want %d and %s", m.store.Head(), m.store.Epoch(), len(m.model.events), m.epoch)
			}
		}
		rt.Repeat(actions)
	})
}

func (m *machine) start(rt *rapid.T) {
	store, err := m.open()
	if err != nil {
		rt.Fatalf("open: %v", err)
	}
	m.store = store
}

func (m *machine) stop(rt *rapid.T) {
	if err := m.store.Close(); err != nil {
		rt.Fatalf("close: %v", err)
	}
}

func (m *machine) key(rt *rapid.T) book.Key { return rapid.SampledFrom(m.keys).Draw(rt, "key") }

func (m *machine) append(rt *rapid.T) {
	key := m.key(rt)
	next := len(m.model.of(key))
	if rapid.IntRange(0, 4).Draw(rt, "wrong place") == 0 {
		next = rapid.IntRange(0, next+2).Draw(rt, "next")
	}
	payloads := rapid.SliceOfN(rapid.StringN(0, 8, 32), 1, 3).Draw(rt, "payloads")
	request := command(key, uint32(next), payloads...)
	request.CorrelationID = rapid.SampledFrom([]string{"one", "two", "three"}).Draw(rt, "correlation")
	request.Name = rapid.SampledFrom([]string{"", "", "alice", "bob"}).Draw(rt, "name")
	request.Repeatable = rapid.Bool().Draw(rt, "repeatable")
	if old := m.model.of(key); len(old) > 0 && rapid.IntRange(0, 4).Draw(rt, "repeated") == 0 {
		request.CommandID = rapid.SampledFrom(old).Draw(rt, "command").CommandID
		request.Repeatable = true
	}
	if rapid.IntRange(0, 2).Draw(rt, "with snapshot") == 0 {
		request.Snapshot = &eventstore.Snapshot{
			Key: key, Sequence: request.Next + uint32(len(payloads)) - 1, TypeURL: "State", State: []byte(payloads[0]),
		}
	}
	want, conflict := m.model.append(request)
	answer, err := m.store.Append(m.ctx, request)
	var refused *eventstore.Conflict
	if conflict != errors.As(err, &refused) || !conflict && err != nil {
		rt.Fatalf("Append: %v, want a conflict: %t", err, conflict)
	}
	if conflict {
		same(rt, "conflict", eventstore.Conflict{Key: key, Want: request.Next, Next: uint32(len(m.model.of(key)))}, *refused)
	}
	same(rt, "Append", want, answer)
}

func (m *machine) saveSnapshot(rt *rapid.T) {
	key := m.key(rt)
	sequence := rapid.Uint32Range(0, uint32(len(m.model.of(key)))).Draw(rt, "sequence")
	snapshot := eventstore.Snapshot{Key: key, Sequence: sequence, TypeURL: "State", State: []byte(fmt.Sprint(sequence))}
	err := m.store.SaveSnapshot(m.ctx, snapshot)
	if fits := int(sequence) < len(m.model.of(key)); fits != (err == nil) {
		rt.Fatalf("SaveSnapshot of event %d of %d: %v", sequence, len(m.model.of(key)), err)
	}
	if err == nil {
		m.model.saveSnapshot(snapshot)
	}
}

func (m *machine) readAggregate(rt *rapid.T) {
	key := m.key(rt)
	same(rt, "Aggregate", m.model.info(key), got(m.store.Aggregate(m.ctx, key))(rt))

	all := m.model.of(key)
	wanted := eventstore.Range{
		From: rapid.Uint32Range(0, uint32(len(all))).Draw(rt, "from"), To: rapid.Uint32Range(0, uint32(len(all))).Draw(rt, "to"),
		Limit: rapid.IntRange(0, 3).Draw(rt, "limit"),
	}
	want := slices.DeleteFunc(all, func(e eventstore.Event) bool { return e.Sequence < wanted.From || e.Sequence > wanted.To })
	if wanted.Limit > 0 && len(want) > wanted.Limit {
		want = want[:wanted.Limit]
	}
	same(rt, "Events", want, got(m.store.Events(m.ctx, key, wanted))(rt))

	position := rapid.Uint64Range(0, uint64(len(m.model.events))+1).Draw(rt, "position")
	next := m.model.where(func(e eventstore.Event) bool { return e.Key == key && e.Position <= position })
	if n := got(m.store.NextAt(m.ctx, key, position))(rt); int(n) != len(next) {
		rt.Fatalf("NextAt %d: got %d, want %d", position, n, len(next))
	}
}

func (m *machine) readLog(rt *rapid.T) {
	all := m.model.where(func(eventstore.Event) bool { return true })
	limit := rapid.IntRange(1, 5).Draw(rt, "limit")
	same(rt, "the log", all, got(wholeLog(m.ctx, m.store, limit))(rt))
	after := rapid.Uint64Range(0, uint64(len(all))+1).Draw(rt, "after")
	checkPage(rt, all, after, limit, got(m.store.ReadLog(m.ctx, after, limit))(rt))
}

func (m *machine) readIndex(rt *rapid.T) {
	if len(m.model.events) > 0 {
		id := rapid.SampledFrom(m.model.events).Draw(rt, "command").CommandID
		same(rt, "ByCommand", m.model.byCommand(id), got(m.store.ByCommand(m.ctx, id))(rt))
	}
	correlation := rapid.SampledFrom([]string{"one", "two", "none"}).Draw(rt, "correlation")
	after := rapid.Uint64Range(0, uint64(len(m.model.events))+1).Draw(rt, "after")
	limit := rapid.IntRange(1, 5).Draw(rt, "limit")
	want := m.model.where(func(e eventstore.Event) bool { return e.CorrelationID == correlation && e.Position > after })
	checkPage(rt, want, 0, limit, got(m.store.ByCorrelation(m.ctx, correlation, after, limit))(rt))

	roots := m.model.roots()
	from := rapid.IntRange(0, len(roots)).Draw(rt, "root")
	start := book.Key{}
	if from > 0 {
		start = roots[from-1].Key
	}
	same(rt, "Roots", roots[from:min(from+limit, len(roots))], got(m.store.Roots(m.ctx, start, limit))(rt))
}

func (m *machine) claim(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"saga", "projector"}).Draw(rt, "name")
	want, known := m.model.subscriptions[name]
	claim := got(m.store.Claim(m.ctx, name))(rt)
	want.Name, want.Epoch = name, want.Epoch+1
	if !known {
		want.Epoch = claim.Epoch // where epochs begin is the driver's affair
	}
	same(rt, "Claim", want, claim)
	m.model.subscriptions[name] = claim
	m.claims = append(m.claims, claim)
}

func (m *machine) advance(rt *rapid.T) {
	if len(m.claims) == 0 {
		rt.Skip("nothing has been claimed")
	}
	claim := rapid.SampledFrom(m.claims).Draw(rt, "claim")
	if rapid.IntRange(0, 3).Draw(rt, "current") > 0 {
		claim = m.model.subscriptions[claim.Name]
	}
	advance := move(&claim, claim.Position+rapid.Uint64Range(0, 3).Draw(rt, "by"))
	for range rapid.IntRange(0, 2).Draw(rt, "parked") {
		// What is at a position never changes, so its aggregate does not either.
		position := rapid.Uint64Range(1, 6).Draw(rt, "position")
		parked := parkedAt(m.keys[position%4], position)
		parked.Attempts = rapid.IntRange(0, 9).Draw(rt, "attempts")
		parked.FirstAt = created.Add(time.Duration(parked.Attempts) * time.Second)
		advance.Park = append(advance.Park, parked)
	}
	err := m.store.Advance(m.ctx, advance)
	if moved := m.model.advance(advance); moved != (err == nil) || !moved && !errors.Is(err, eventstore.ErrFenced) {
		rt.Fatalf("Advance %+v: %v, want it to move: %t", advance, err, moved)
	}
}

func (m *machine) setParked(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"saga", "projector"}).Draw(rt, "name")
	position := rapid.Uint64Range(1, 6).Draw(rt, "position")
	state := rapid.SampledFrom([]eventstore.State{
		eventstore.StateParked, eventstore.StateResolved, eventstore.StateSkipped,
	}).Draw(rt, "state")
	parked, known := m.model.parked[name][position]
	err := m.store.SetParked(m.ctx, name, position, state)
	if known != (err == nil) || !known && !errors.Is(err, eventstore.ErrNotParked) {
		rt.Fatalf("SetParked: %v, want it to be known: %t", err, known)
	}
	if known {
		parked.State = state
		m.model.parked[name][position] = parked
	}
}

func (m *machine) readSubscriptions(rt *rapid.T) {
	var want []eventstore.Position
	for name, claim := range m.model.subscriptions {
		want = append(want, eventstore.Position{Name: name, Position: claim.Position, Epoch: claim.Epoch})
	}
	slices.SortFunc(want, func(a, b eventstore.Position) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	positions := got(m.store.Positions(m.ctx))(rt)
	for i := range positions {
		positions[i].UpdatedAt = time.Time{}
	}
	same(rt, "Positions", want, positions)

	name := rapid.SampledFrom([]string{"saga", "projector"}).Draw(rt, "name")
	waiting := m.model.waiting(name)
	var blocked []book.Key
	for _, parked := range waiting {
		blocked = append(blocked, parked.Key)
	}
	same(rt, "Blocked", keySet(blocked), keySet(got(m.store.Blocked(m.ctx, name))(rt)))
	after, limit := rapid.Uint64Range(0, 7).Draw(rt, "after"), rapid.IntRange(1, 4).Draw(rt, "limit")
	waiting = slices.DeleteFunc(waiting, func(p eventstore.Parked) bool { return p.Position <= after })
	same(rt, "Parked", waiting[:min(limit, len(waiting))], got(m.store.Parked(m.ctx, name, after, limit))(rt))
}
