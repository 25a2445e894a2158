// Package discovery finds the instance of a role that a call goes to, where
// several of them do the same work. Calls about one aggregate go to one instance
// as long as it is there, because its cache holds the aggregate and its queue
// keeps the aggregate's commands in order; a call that lands elsewhere costs a
// read or a conflict, never a wrong answer.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Member is a connection to one instance.
type Member interface {
	grpc.ClientConnInterface
	// Address returns where the instance is. It decides which aggregates it
	// gets, so it has to be the same in every process.
	Address() string
	// Connected reports whether the connection stands now.
	Connected() bool
}

// Ring is a connection to whichever of several instances a call is for. It is
// safe for concurrent use.
type Ring struct {
	members     []Member
	unreachable func(error) bool
	turn        atomic.Uint64
}

// NewRing returns a ring of at least one member. unreachable tells whether an
// error says that an instance has not seen the call, so that another one may
// have it.
func NewRing(unreachable func(error) bool, members ...Member) *Ring {
	return &Ring{members: members, unreachable: unreachable}
}

// Members returns the ring's members, not to be changed.
func (r *Ring) Members() []Member { return r.members }

// Invoke calls a method on the instance that the request is for, or on another
// one if that is not there.
func (r *Ring) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	return r.try(ctx, request, func(to Member) error {
		return to.Invoke(ctx, method, request, response, options...)
	})
}

// NewStream begins a stream. What it will be about is not known then, so the
// instances take turns.
func (r *Ring) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (stream grpc.ClientStream, err error) {
	err = r.try(ctx, nil, func(to Member) error {
		stream, err = to.NewStream(ctx, desc, method, options...)
		return err
	})
	return stream, err
}

// try makes a call on one member after the other until one has seen it. Waiting
// for an absent instance takes seconds, so after the first one only those are
// asked that are known to be there.
func (r *Ring) try(ctx context.Context, request any, call func(Member) error) error {
	var failed error
	for i, member := range r.order(request) {
		if i > 0 && !member.Connected() {
			continue
		}
		err := call(member)
		if err == nil || !r.unreachable(err) || ctx.Err() != nil {
			return err
		}
		failed = errors.Join(failed, err)
	}
	return firstOf(failed)
}

// firstOf returns the first of joined errors: one status tells a caller more
// than several in one.
func firstOf(failed error) error {
	if many, ok := failed.(interface{ Unwrap() []error }); ok {
		return firstOf(many.Unwrap()[0])
	}
	return failed
}

// order returns the members in the order in which they are to be asked: those
// that are there before the others, and among them by the aggregate.
func (r *Ring) order(request any) []Member {
	if len(r.members) == 1 {
		return r.members
	}
	type ranked struct {
		Member
		absent bool
		score  uint64
	}
	key, known := keyOf(request)
	turn := r.turn.Add(1)
	ranks := make([]ranked, len(r.members))
	for i, member := range r.members {
		ranks[i] = ranked{member, !member.Connected(), (turn + uint64(i)) % uint64(len(r.members))}
		if known {
			ranks[i].score = score(member, key)
		}
	}
	slices.SortFunc(ranks, func(a, b ranked) int {
		if a.absent != b.absent {
			if a.absent {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.score, a.score)
	})
	order := make([]Member, len(ranks))
	for i := range ranks {
		order[i] = ranks[i].Member
	}
	return order
}

// score says how much a member is meant for an aggregate: when a member comes or
// goes, only its own aggregates move.
func score(member Member, key book.Key) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(member.Address()))
	_, _ = hash.Write([]byte{0})
	_, _ = hash.Write([]byte(key.Domain))
	_, _ = hash.Write(key.Root[:])
	return mix(hash.Sum64())
}

// mix spreads a hash whose inputs differ little over all its bits.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// keyOf returns the aggregate that a request is about.
func keyOf(request any) (key book.Key, ok bool) {
	var cover *pb.Cover
	switch request := request.(type) {
	case *pb.CommandBook:
		cover = request.GetCover()
	case *pb.SyncCommandBook:
		cover = request.GetCommand().GetCover()
	case *pb.EventBook:
		cover = request.GetCover()
	case *pb.SyncEventBook:
		cover = request.GetEvents().GetCover()
	case *pb.Query:
		cover = &pb.Cover{Domain: request.GetDomain(), Root: request.GetRoot(), AggregateId: request.GetAggregateId()}
	default:
		return book.Key{}, false
	}
	key, err := book.KeyOf(cover)
	return key, err == nil
}
