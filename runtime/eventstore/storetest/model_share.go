package storetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// sharedOut is the model of one subscription.
type sharedOut struct {
	members  map[uuid.UUID]membership
	slices   []modelSlice
	control  eventstore.Control // zero when nobody decided anything
	rewinder uuid.UUID          // who does the rewind; may have gone
}

type membership struct {
	address string
	until   time.Duration
}

// modelSlice is a slice as it was last listed. Its Member stays in it after the
// lease, until the slice is given back or taken.
type modelSlice struct {
	eventstore.Slice
	last uuid.UUID // who held it last
	held uint64    // the epoch under which it was held last
}

// share holds an answer against what it may be, and takes over what the contract
// leaves open: which of the free slices are handed out, and where epochs begin.
func (m *model) share(request eventstore.Share, answer eventstore.Shared) error {
	subscription := m.subscriptions[request.Name]
	if subscription == nil {
		subscription = &sharedOut{members: make(map[uuid.UUID]membership), slices: make([]modelSlice, request.Slices)}
		for i := range subscription.slices {
			subscription.slices[i].Number = i
		}
		m.subscriptions[request.Name] = subscription
	}
	subscription.arrive(request, m.now)
	if len(answer.Slices) != len(subscription.slices) {
		return fmt.Errorf("%d slices are listed", len(answer.Slices))
	}
	taken, surplus := subscription.due(request)
	for i := range subscription.slices {
		got, err := subscription.slices[i].follow(request, answer.Slices[i], subscription.members)
		if err != nil {
			return fmt.Errorf("slice %d: %w", i, err)
		}
		if got {
			taken--
		}
	}
	if taken != 0 || surplus != answer.Surplus {
		return fmt.Errorf("%d more slices were due, and a surplus of %d", taken, surplus)
	}
	return subscription.heed(request, answer)
}

// heed holds what an answer says of people's decisions against what was decided.
func (s *sharedOut) heed(request eventstore.Share, answer eventstore.Shared) error {
	want := eventstore.Shared{Slices: answer.Slices, Surplus: answer.Surplus, Paused: s.control.Paused}
	if want.Paused {
		want.Note = s.control.Note
	}
	if s.rewinds(request) {
		s.rewinder = request.Member
		want.Rewind = &eventstore.Rewinding{Number: s.control.Number, To: s.control.To, Clear: s.control.Clear}
	}
	if !cmp.Equal(want, answer) {
		return fmt.Errorf("it says of decisions: %s", cmp.Diff(want, answer))
	}
	return nil
}

// rewinds reports whether it is for the member that asks to do a rewind.
func (s *sharedOut) rewinds(request eventstore.Share) bool {
	if !s.control.Rewinding || request.Leave {
		return false
	}
	for i := range s.slices {
		if _, alive := s.members[s.slices[i].Member]; alive {
			return false
		}
	}
	_, busy := s.members[s.rewinder]
	return !busy || s.rewinder == request.Member
}

// controls lists what has been decided.
func (m *model) controls() (controls []eventstore.Control) {
	for _, name := range slices.Sorted(maps.Keys(m.subscriptions)) {
		if control := m.subscriptions[name].control; control.Name != "" {
			controls = append(controls, control)
		}
	}
	return controls
}

// pause returns whether there is such a subscription.
func (m *model) pause(pause eventstore.Pause) bool {
	subscription := m.subscriptions[pause.Name]
	if subscription != nil {
		control := &subscription.control
		control.Name, control.Paused, control.Note = pause.Name, pause.Paused, pause.Note
	}
	return subscription != nil
}

// rewind returns whether there is such a subscription.
func (m *model) rewind(rewind eventstore.Rewind) bool {
	subscription := m.subscriptions[rewind.Name]
	if subscription != nil {
		control := &subscription.control
		*control = eventstore.Control{
			Name: rewind.Name, Paused: control.Paused, Note: rewind.Note, Rewinding: true, Number: control.Number + 1, To: rewind.To, Clear: rewind.Clear,
		}
		subscription.rewinder = uuid.Nil
	}
	return subscription != nil
}

// rewound returns whether the rewind was the member's to end.
func (m *model) rewound(rewound eventstore.Rewound) bool {
	subscription := m.subscriptions[rewound.Name]
	if subscription == nil || !subscription.control.Rewinding || subscription.control.Number != rewound.Number || subscription.rewinder != rewound.Member {
		return false
	}
	subscription.control.Rewinding, subscription.control.Failed, subscription.rewinder = false, rewound.Failed, uuid.Nil
	if rewound.Failed != "" {
		return true
	}
	for i := range subscription.slices {
		slice := &subscription.slices[i]
		slice.Position, slice.Member = min(slice.Position, subscription.control.To), uuid.Nil
		slice.Epoch++
		slice.held = slice.Epoch
	}
	maps.DeleteFunc(m.place(rewound.Name), func(position uint64, _ eventstore.Parked) bool { return position > subscription.control.To })
	return true
}

// arrive notes who is there and what is given back.
func (s *sharedOut) arrive(request eventstore.Share, now time.Duration) {
	for id, member := range s.members {
		if member.until <= now {
			delete(s.members, id)
		}
	}
	s.members[request.Member] = membership{address: request.Address, until: now + request.Lease}
	if request.Leave {
		delete(s.members, request.Member)
	}
	for i := range s.slices {
		slice := &s.slices[i]
		returned := request.Leave
		for _, number := range request.Return {
			returned = returned || number == slice.Number
		}
		if returned && slice.Member == request.Member {
			slice.Member = uuid.Nil
		}
	}
}

// due returns how many free slices a member has to get, and how many it has too
// many.
func (s *sharedOut) due(request eventstore.Share) (taken, surplus int) {
	if request.Leave {
		return 0, 0
	}
	held, free := 0, 0
	for _, slice := range s.slices {
		if slice.Member == request.Member {
			held++
		} else if _, alive := s.members[slice.Member]; !alive {
			free++
		}
	}
	fair := 0
	if !s.control.Paused && !s.control.Rewinding {
		fair = (len(s.slices) + len(s.members) - 1) / len(s.members)
	}
	return max(0, min(fair-held, free)), max(0, held-fair)
}

// follow holds what was answered of a slice against what it may be, and reports
// whether the member has got it.
func (s *modelSlice) follow(request eventstore.Share, answer eventstore.Slice, members map[uuid.UUID]membership) (bool, error) {
	if answer.Number != s.Number || answer.Position != s.Position || answer.Address != members[answer.Member].address {
		return false, fmt.Errorf("it is %+v, want position %d and its holder's address", answer, s.Position)
	}
	_, alive := members[s.Member]
	if alive {
		if answer.Member != s.Member || answer.Epoch != s.Epoch {
			return false, fmt.Errorf("it went to %s with epoch %d while %s held it with %d", answer.Member, answer.Epoch, s.Member, s.Epoch)
		}
		return false, nil
	}
	same, raised := answer.Epoch == s.held, answer.Epoch == s.held+1
	known := s.last != uuid.Nil
	s.Epoch = answer.Epoch
	switch {
	case answer.Member == uuid.Nil:
		if known && !same && !raised {
			return false, fmt.Errorf("its epoch went from %d to %d while nobody held it", s.held, answer.Epoch)
		}
		return false, nil
	case answer.Member != request.Member:
		return false, fmt.Errorf("it went to %s, who did not ask", answer.Member)
	case known && !raised && (!same || s.last != request.Member):
		return false, fmt.Errorf("its epoch went from %d, of %s, to %d", s.held, s.last, answer.Epoch)
	}
	s.Member, s.last, s.held = answer.Member, answer.Member, answer.Epoch
	return true, nil
}
