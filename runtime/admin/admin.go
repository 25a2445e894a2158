// Package admin is the role for the people who run a system: it lists what the
// components could not handle, notes down what is to become of it, and says how
// far each component has come. It decides nothing by itself and handles nothing:
// whoever is responsible for an aggregate acts on what is noted down here.
package admin

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Store is the part of an event store that the role needs.
type Store interface {
	Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error)
	Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error)
	Parked(ctx context.Context, query eventstore.ParkedQuery) ([]eventstore.Parked, error)
	Decide(ctx context.Context, decision eventstore.Decision) error
	Positions(ctx context.Context) ([]eventstore.Position, error)
	Pause(ctx context.Context, pause eventstore.Pause) error
	Rewind(ctx context.Context, rewind eventstore.Rewind) error
	Controls(ctx context.Context) ([]eventstore.Control, error)
	Head() uint64
}

// Options describe the role.
type Options struct {
	Store Store
	// Decided is told which subscription somebody has decided about, or about whose
	// dead letters, so that a consumer in this process looks at once; nil when there are none. It must
	// not block.
	Decided func(subscription string)
	// Caller says who calls, empty when that is not known; nil when it never is.
	Caller func(ctx context.Context) string
	Logger *slog.Logger
}

// Server serves Admin. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedAdminServer
	options Options
}

// New returns a server over a store.
func New(options Options) *Server {
	if options.Decided == nil {
		options.Decided = func(string) {}
	}
	if options.Caller == nil {
		options.Caller = func(context.Context) string { return "" }
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{options: options}
}

// ListDeadLetters answers with one page of dead letters.
func (s *Server) ListDeadLetters(ctx context.Context, query *pb.DeadLetterQuery) (*pb.DeadLetterPage, error) {
	wish, err := readSelection(query.GetSelection())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	states, err := readStates(query.GetStates())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	limit := pageSize(query.GetLimit())
	page := &pb.DeadLetterPage{}
	for letter, err := range s.each(ctx, wish, states, query.GetAfter()) {
		if err != nil {
			return nil, rpcerr.Status(err)
		}
		if len(page.DeadLetters) == limit {
			page.Next = page.DeadLetters[limit-1].Place
			break
		}
		described, err := s.describe(ctx, letter)
		if err != nil {
			return nil, rpcerr.Status(err)
		}
		page.DeadLetters = append(page.DeadLetters, described)
	}
	return page, nil
}

// pageSize returns how many dead letters a page holds.
func pageSize(wanted uint32) int {
	const usual, most = 100, 1000
	if wanted == 0 {
		return usual
	}
	return int(min(wanted, most))
}

// GetDeadLetter answers with one dead letter and its events.
func (s *Server) GetDeadLetter(ctx context.Context, place *pb.DeadLetterPlace) (*pb.DeadLetter, error) {
	if place.GetComponent() == "" {
		return nil, rpcerr.Status(&book.Invalid{Field: "component", Found: "nothing", Want: `a component in full, such as "projector/receipt"`})
	}
	if place.Position == 0 {
		return nil, rpcerr.Status(&book.Invalid{Field: "position", Found: "0", Want: "the position of a dead letter, which is at least 1"})
	}
	letter, err := s.at(ctx, place.Component, place.Position)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	found, err := s.describe(ctx, letter)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	found.Events, err = s.eventsOf(ctx, letter)
	return found, rpcerr.Status(err)
}

// describe tells what a dead letter stands for.
func (s *Server) describe(ctx context.Context, letter eventstore.Parked) (*pb.DeadLetter, error) {
	events, err := s.options.Store.Events(ctx, letter.Key, eventstore.Range{From: letter.Sequence, To: letter.Sequence, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("read event %d of %s: %w", letter.Sequence, letter.Key, err)
	}
	described := &pb.DeadLetter{
		Place: placeOf(letter), Cover: letter.Key.Cover(""), Sequence: letter.Sequence, State: wireStates[letter.State], Reason: letter.Reason,
		Attempts: uint32(max(letter.Attempts, 0)), FirstAt: stamp(letter.FirstAt), LastAt: stamp(letter.LastAt), Note: letter.Note,
	}
	if len(events) > 0 { // else it was lost with a restore, and the letter says so by having no type
		first := &events[0]
		described.Cover = letter.Key.Cover(first.Name)
		described.Count, described.TypeUrl, described.CorrelationId = uint32(first.Count-first.Offset), first.TypeURL, first.CorrelationID
	}
	return described, nil
}

// eventsOf reads the events that a dead letter stands for.
func (s *Server) eventsOf(ctx context.Context, letter eventstore.Parked) (*pb.EventBook, error) {
	const most = 1000 // of one command
	events, err := s.options.Store.Events(ctx, letter.Key, eventstore.Range{From: letter.Sequence, To: eventstore.All.To, Limit: most})
	if err != nil {
		return nil, fmt.Errorf("read the events of %s from number %d: %w", letter.Key, letter.Sequence, err)
	}
	if len(events) == 0 {
		return &pb.EventBook{Cover: letter.Key.Cover("")}, nil
	}
	return eventstore.Books(events)[0], nil
}

// ListSubscriptions answers with how far every component has come.
func (s *Server) ListSubscriptions(ctx context.Context, query *pb.SubscriptionQuery) (*pb.SubscriptionList, error) {
	positions, err := s.options.Store.Positions(ctx)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	controls, err := s.options.Store.Controls(ctx)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	// The head is read after the positions, so that nothing seems to be ahead of it.
	list := &pb.SubscriptionList{Head: s.options.Store.Head()}
	for _, position := range positions {
		if !ofComponent(position.Name, query.GetComponent()) {
			continue
		}
		slice := &pb.SubscriptionSlice{
			Component: position.Name, Slice: uint32(position.Slice), Slices: uint32(position.Slices), Position: position.Position,
			Address: position.Address, Epoch: position.Epoch, UpdatedAt: stamp(position.UpdatedAt),
		}
		if position.Position < list.Head {
			slice.Lag = list.Head - position.Position
		}
		if position.Member != uuid.Nil {
			slice.Holder = position.Member.String()
		}
		list.Slices = append(list.Slices, slice)
	}
	for _, control := range controls {
		if ofComponent(control.Name, query.GetComponent()) {
			list.Controls = append(list.Controls, controlOf(control))
		}
	}
	return list, nil
}

// stamp returns a time as it is sent, nothing for the zero time.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}
