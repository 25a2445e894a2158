package storetest

import (
	"cmp"
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

// machine does the same to a store and to the model.
type machine struct {
	ctx   context.Context
	open  Open
	store eventstore.Store
	epoch uuid.UUID
	model *model
	keys  []book.Key

	driver  Driver
	members []eventstore.Share
	claims  []claim              // all that were ever given
	rewinds []eventstore.Rewound // all that were ever to be done
}

// claim is a slice as it was handed to a member.
type claim struct {
	name  string
	slice eventstore.Slice
}

func behavesLikeModel(t *testing.T, driver Driver) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{ctx: t.Context(), open: driver.New(t), model: newModel(), driver: driver}
		for i := range 4 {
			m.keys = append(m.keys, book.Key{Domain: []string{"order", "customer"}[i%2], Root: uuid.UUID{15: byte(i)}})
		}
		for i := range 3 {
			m.members = append(m.members, eventstore.Share{
				Member: uuid.UUID{0: 1, 15: byte(i)}, Address: []string{"", "one:1313", "two:1313"}[i],
			})
		}
		m.start(rt)
		m.epoch = m.store.Epoch()
		defer func() { m.stop(rt) }()
		actions := map[string]func(*rapid.T){
			"append": m.append, "append more": m.append, "save snapshot": m.saveSnapshot, "read aggregate": m.readAggregate,
			"read log": m.readLog, "survey": m.survey, "read index": m.readIndex, "share": m.share, "share more": m.share, "advance": m.advance, "decide": m.decide,
			"pause": m.pause, "rewind": m.rewind, "rewound": m.rewound,
			"read subscriptions": m.readSubscriptions, "read parked": m.readParked,
		}
		if driver.Durable {
			actions["open again"] = m.openAgain
		}
		if driver.Pass != nil {
			actions["wait"] = func(rt *rapid.T) {
				length := time.Duration(rapid.IntRange(1, 3).Draw(rt, "minutes")) * time.Minute
				driver.Pass(t, m.store, length)
				m.model.now += length
			}
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

func (m *machine) openAgain(rt *rapid.T) {
	m.stop(rt)
	m.start(rt)
	if m.driver.Shared {
		return
	}
	for _, subscription := range m.model.subscriptions {
		clear(subscription.members)
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
	request.Trace = rapid.SampledFrom([]string{"", "00-a-b-01"}).Draw(rt, "trace")
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

func (m *machine) survey(rt *rapid.T) {
	same(rt, "Domains", counted(m.model.events), got(m.store.Domains(m.ctx))(rt))
	key := m.key(rt)
	same(rt, "Summary", m.model.summary(key), got(m.store.Summary(m.ctx, key))(rt))

	limit := rapid.IntRange(1, 5).Draw(rt, "limit")
	query := eventstore.SummaryQuery{Domain: key.Domain, ByRoot: rapid.Bool().Draw(rt, "by root"), Limit: limit}
	order := byRoot
	if !query.ByRoot {
		order, query.Prefix = byName, rapid.SampledFrom([]string{"", "a", "bo", "x"}).Draw(rt, "prefix")
	}
	page := m.model.summaries(func(s eventstore.Summary) bool {
		return s.Key.Domain == key.Domain && (query.ByRoot || query.Has(s.Name))
	})
	slices.SortFunc(page, order)
	if from := rapid.IntRange(0, len(page)).Draw(rt, "from"); from > 0 {
		query.After, page = &page[from-1].Root, page[from:]
	}
	same(rt, "Summaries", page[:min(limit, len(page))], got(m.store.Summaries(m.ctx, query))(rt))

	before := rapid.Uint64Range(0, uint64(len(m.model.events))+1).Draw(rt, "before")
	newest := m.model.summaries(func(s eventstore.Summary) bool { return s.Position < before })
	slices.SortFunc(newest, func(a, b eventstore.Summary) int { return cmp.Compare(b.Position, a.Position) })
	found, next, err := m.store.Latest(m.ctx, eventstore.LatestQuery{Before: before, Look: len(m.model.events) + 1, Limit: limit})
	same(rt, "Latest", newest[:min(limit, len(newest))], got(found, err)(rt))
	if len(found) < limit && next != 0 {
		rt.Fatalf("Latest goes on at %d where there is nothing", next)
	}
}

// sliceCounts says how many slices the subscriptions have.
var sliceCounts = map[string]int{"saga": 3, "projector": 1}

func subscriptionName(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"saga", "projector"}).Draw(rt, "name")
}

func (m *machine) share(rt *rapid.T) {
	request := rapid.SampledFrom(m.members).Draw(rt, "member")
	request.Name = subscriptionName(rt)
	request.Slices = sliceCounts[request.Name]
	request.Lease = time.Duration(rapid.IntRange(1, 5).Draw(rt, "lease")) * time.Minute
	if m.driver.Pass == nil {
		request.Lease = long
	}
	switch rapid.IntRange(0, 7).Draw(rt, "kind") {
	case 0:
		request.Leave = true
	case 1, 2, 3:
		request.Return = rapid.SliceOfN(rapid.IntRange(0, 2), 0, 2).Draw(rt, "return")
	case 4:
		if m.model.subscriptions[request.Name] != nil {
			request.Slices++
			if _, err := m.store.Share(m.ctx, request); !errors.Is(err, eventstore.ErrSlices) {
				rt.Fatalf("Share %+v: %v, want ErrSlices", request, err)
			}
			return
		}
	}
	shared := got(m.store.Share(m.ctx, request))(rt)
	if err := m.model.share(request, shared); err != nil {
		rt.Fatalf("Share %+v: %+v: %v", request, shared, err)
	}
	for _, slice := range shared.Slices {
		if slice.Member == request.Member {
			m.claims = append(m.claims, claim{request.Name, slice})
		}
	}
	if shared.Rewind != nil {
		m.rewinds = append(m.rewinds, eventstore.Rewound{Name: request.Name, Number: shared.Rewind.Number, Member: request.Member})
	}
}

func (m *machine) pause(rt *rapid.T) {
	pause := eventstore.Pause{Name: subscriptionName(rt), Paused: rapid.Bool().Draw(rt, "paused"), Note: rapid.SampledFrom([]string{"", "alice"}).Draw(rt, "note")}
	m.checkDecided(rt, m.model.pause(pause), m.store.Pause(m.ctx, pause))
}

func (m *machine) rewind(rt *rapid.T) {
	rewind := eventstore.Rewind{
		Name: subscriptionName(rt), To: rapid.Uint64Range(0, 4).Draw(rt, "to"), Clear: rapid.Bool().Draw(rt, "clear"),
		Note: rapid.SampledFrom([]string{"", "bob"}).Draw(rt, "note"),
	}
	m.checkDecided(rt, m.model.rewind(rewind), m.store.Rewind(m.ctx, rewind))
}

func (m *machine) checkDecided(rt *rapid.T, there bool, err error) {
	if there != (err == nil) || !there && !errors.Is(err, eventstore.ErrNoSubscription) {
		rt.Fatalf("%v, and the subscription is there: %t", err, there)
	}
}

func (m *machine) rewound(rt *rapid.T) {
	if len(m.rewinds) == 0 {
		rt.Skip("there was nothing to rewind")
	}
	rewound := m.rewinds[len(m.rewinds)-1]
	if rapid.IntRange(0, 3).Draw(rt, "an older one") == 0 {
		rewound = rapid.SampledFrom(m.rewinds).Draw(rt, "rewind")
	}
	rewound.Failed = rapid.SampledFrom([]string{"", "", "cannot be cleared"}).Draw(rt, "failed")
	err := m.store.Rewound(m.ctx, rewound)
	if done := m.model.rewound(rewound); done != (err == nil) || !done && !errors.Is(err, eventstore.ErrFenced) {
		rt.Fatalf("Rewound %+v: %v, want it to be done: %t", rewound, err, done)
	}
}

func (m *machine) advance(rt *rapid.T) {
	if len(m.claims) == 0 {
		rt.Skip("nothing has been claimed")
	}
	first := rapid.SampledFrom(m.claims).Draw(rt, "claim")
	advance := eventstore.Advance{Name: first.name}
	held := m.model.subscriptions[first.name].slices
	for i := range held {
		old, current := first.slice, held[i].Slice
		switch rapid.IntRange(0, 4).Draw(rt, "which") {
		case 0:
			if old.Number == i {
				advance.Moves = append(advance.Moves, advanceBy("", []eventstore.Slice{old}, 1).Moves...)
			}
		case 1, 2, 3:
			by := rapid.Uint64Range(0, 3).Draw(rt, "by")
			advance.Moves = append(advance.Moves, advanceBy("", []eventstore.Slice{current}, by).Moves...)
		}
	}
	if len(advance.Moves) == 0 {
		rt.Skip("nothing to move")
	}
	for range rapid.IntRange(0, 2).Draw(rt, "parked") {
		// What is at a position never changes, so its aggregate does not either.
		position := rapid.Uint64Range(1, 6).Draw(rt, "position")
		parked := parkedAt(m.keys[position%4], position)
		parked.Attempts = rapid.IntRange(0, 9).Draw(rt, "attempts")
		parked.FirstAt = created.Add(time.Duration(parked.Attempts) * time.Second)
		parked.Subscription = rapid.SampledFrom([]string{"", "", "projector"}).Draw(rt, "parked for")
		advance.Park = append(advance.Park, parked)
	}
	err := m.store.Advance(m.ctx, advance)
	var fenced *eventstore.Fenced
	switch refused := m.model.advance(advance); {
	case len(refused) == 0 && err != nil, len(refused) > 0 && !errors.As(err, &fenced):
		rt.Fatalf("Advance %+v: %v, want it to be refused for slices %v", advance, err, refused)
	case fenced != nil:
		slices.Sort(fenced.Slices)
		same(rt, "Fenced", eventstore.Fenced{Name: advance.Name, Slices: refused}, *fenced)
	}
}

var states = []eventstore.State{
	eventstore.StateParked, eventstore.StateRetry, eventstore.StateResolved, eventstore.StateSkipped,
}

func (m *machine) decide(rt *rapid.T) {
	decision := eventstore.Decision{
		Subscription: subscriptionName(rt),
		Position:     rapid.Uint64Range(1, 6).Draw(rt, "position"),
		To:           rapid.SampledFrom(states).Draw(rt, "state"),
		Attempts:     rapid.IntRange(0, 2).Draw(rt, "attempts"),
		Reason:       rapid.SampledFrom([]string{"", "because"}).Draw(rt, "reason"),
		Note:         rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(rt, "note"),
	}
	if rapid.Bool().Draw(rt, "depends") {
		decision.From = rapid.SliceOfN(rapid.SampledFrom(states), 1, 3).Draw(rt, "from")
	}
	err := m.store.Decide(m.ctx, decision)
	if done := m.model.decide(decision); done != (err == nil) || !done && !errors.Is(err, eventstore.ErrNotParked) {
		rt.Fatalf("Decide %+v: %v, want it to be done: %t", decision, err, done)
	}
}

func (m *machine) readSubscriptions(rt *rapid.T) {
	positions := got(m.store.Positions(m.ctx))(rt)
	for i := range positions {
		positions[i].UpdatedAt = time.Time{}
	}
	same(rt, "Positions", m.model.positions(), positions)

	controls := got(m.store.Controls(m.ctx))(rt)
	for i := range controls {
		if time.Since(controls[i].At).Abs() > time.Hour {
			rt.Fatalf("%+v was decided at %s", controls[i], controls[i].At)
		}
		controls[i].At = time.Time{}
	}
	same(rt, "Controls", m.model.controls(), controls)
}

func (m *machine) readParked(rt *rapid.T) {
	name := subscriptionName(rt)
	same(rt, "Blocked", keySet(m.model.blocked(name)), keySet(got(m.store.Blocked(m.ctx, name))(rt)))

	query := eventstore.ParkedQuery{
		States: rapid.SliceOfN(rapid.SampledFrom(states), 0, 2).Draw(rt, "states"),
		Limit:  rapid.IntRange(1, 4).Draw(rt, "limit"),
	}
	if rapid.Bool().Draw(rt, "of one") {
		query.Subscription = name
	}
	if rapid.Bool().Draw(rt, "of a key") {
		query.Key = m.key(rt)
	}
	if rapid.Bool().Draw(rt, "next page") {
		query.AfterSubscription, query.AfterPosition = name, rapid.Uint64Range(0, 7).Draw(rt, "after")
	}
	listed := got(m.store.Parked(m.ctx, query))(rt)
	for i := range listed {
		if m.model.parked[listed[i].Subscription][listed[i].Position].LastAt.IsZero() {
			listed[i].LastAt = time.Time{}
		}
	}
	same(rt, "Parked", m.model.parkedWhere(query), listed)
}
