package explore

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

const (
	// replayPage is how many events a service is given at once, and replayBytes
	// about how many bytes of them. A longer history is replayed in parts, each on
	// the state of the one before.
	replayPage  = 2_000
	replayBytes = 1 << 20
)

// GetState answers with an aggregate's state after one of its events.
func (s *Server) GetState(ctx context.Context, query *pb.StateQuery) (*pb.StateAnswer, error) {
	cover := query.GetCover()
	key, err := book.KeyFrom(cover.GetDomain(), cover.GetRoot(), cover.GetAggregateId())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	answer, err := s.state(ctx, key, query.Sequence)
	return answer, rpcerr.Status(err)
}

func (s *Server) state(ctx context.Context, key book.Key, wanted *uint32) (*pb.StateAnswer, error) {
	info, err := s.options.Store.Aggregate(ctx, key)
	if err != nil {
		return nil, err
	}
	if info.Next == 0 {
		return &pb.StateAnswer{Cover: key.Cover("")}, nil
	}
	last := info.Next - 1
	if wanted != nil && *wanted > last {
		return nil, status.Errorf(codes.OutOfRange, "%s has events up to number %d, and %d was asked for", key, last, *wanted)
	}
	if wanted != nil {
		last = *wanted
	}
	snapshot := info.Snapshot
	if snapshot != nil && snapshot.Sequence > last {
		snapshot = nil
	}
	r := &replay{server: s, key: key, name: info.Name, last: last}
	if snapshot != nil {
		r.snapshot = &pb.Snapshot{Sequence: snapshot.Sequence, State: &anypb.Any{TypeUrl: snapshot.TypeURL, Value: snapshot.State}}
	}
	state, err := r.run(ctx)
	if err == nil {
		return &pb.StateAnswer{Cover: key.Cover(info.Name), State: state, Sequence: last}, nil
	}
	if status.Code(err) != codes.Unimplemented {
		return nil, err
	}
	if snapshot == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%s; and no snapshot of %s is as old as event %d", status.Convert(err).Message(), key, last)
	}
	return &pb.StateAnswer{Cover: key.Cover(info.Name), State: r.snapshot.State, Sequence: snapshot.Sequence, Snapshot: true}, nil
}

// replay has a service make a state of a history.
type replay struct {
	server   *Server
	key      book.Key
	name     string
	last     uint32       // number of the last event that counts
	snapshot *pb.Snapshot // to begin with; nil for the beginning
}

// run returns the state. UNIMPLEMENTED says that nobody can make one.
func (r *replay) run(ctx context.Context) (*anypb.Any, error) {
	domain, known := r.server.options.Domains[r.key.Domain]
	if !known {
		return nil, status.Errorf(codes.Unimplemented, "no service for %s can be asked here", r.key.Domain)
	}
	snapshot, next := r.snapshot, uint64(0)
	if snapshot != nil {
		next = uint64(snapshot.Sequence) + 1
	}
	for first := true; first || next <= uint64(r.last); first = false {
		pages, err := r.pages(ctx, next)
		if err != nil {
			return nil, err
		}
		state, err := r.ask(ctx, domain, &pb.EventBook{Cover: r.key.Cover(r.name), Snapshot: snapshot, Pages: pages})
		if err != nil {
			return nil, err
		}
		next += uint64(len(pages))
		snapshot = &pb.Snapshot{Sequence: uint32(next - 1), State: state}
	}
	return snapshot.State, nil
}

// pages reads the next part of the history.
func (r *replay) pages(ctx context.Context, next uint64) ([]*pb.EventPage, error) {
	if next > uint64(r.last) {
		return nil, nil
	}
	events, err := r.server.options.Store.Events(ctx, r.key, eventstore.Range{From: uint32(next), To: r.last, Limit: replayPage})
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("event %d of %s is not in the store any more", next, r.key)
	}
	size, count := 0, 0
	for count < len(events) && (count == 0 || size+len(events[count].Payload) <= replayBytes) {
		size += len(events[count].Payload)
		count++
	}
	return eventstore.Pages(events[:count]), nil
}

func (r *replay) ask(ctx context.Context, domain Domain, events *pb.EventBook) (*anypb.Any, error) {
	timeout := domain.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := domain.Service.Replay(ctx, &pb.ReplayRequest{Events: events})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil, status.Errorf(codes.Unimplemented, "%s does not offer Replay", domain.Label)
	case err != nil:
		return nil, fmt.Errorf("replay %s: %w", r.key, rpcerr.Status(err))
	case answer.GetState() == nil:
		return nil, status.Errorf(codes.Internal, "%s answered Replay of %s without a state", domain.Label, r.key)
	}
	return answer.State, nil
}
