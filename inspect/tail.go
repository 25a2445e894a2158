package inspect

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"

	"github.com/google/uuid"
)

// Cause is the event because of which a command was sent.
type Cause struct {
	By       string // the saga, or what else acted
	Domain   string
	ID       string // human name of the aggregate; empty where angz knows none
	Root     string // UUID text
	Sequence uint32
}

// Stored is what one command stored.
type Stored struct {
	Events    []Event // none in an answer that only says how far the log was looked at
	CommandID string  // UUID text
	Cause     *Cause  // nil for a command of a client's
	Skipped   uint64  // positions of the log that were left out before this
	Position  uint64  // up to which the log was looked at
	Head      uint64  // position of the newest event by then
}

// TailRequest says what of the log is wanted: that for which everything that is
// set holds.
type TailRequest struct {
	// After is the position of the log above which to begin. With Last, that many
	// of the newest events come first instead.
	After         uint64
	Last          int
	FromHere      bool // instead of either: only what is stored from now on
	Domains       []string
	Types         []string // full or short names
	Domain, ID    string   // only of this aggregate
	CorrelationID string
	Sample        bool // leave events out rather than fall behind
	Once          bool // end with what is stored at the time of the call
}

func (r TailRequest) wire() *pb.TailQuery {
	query := &pb.TailQuery{Domains: r.Domains, Types: r.Types, CorrelationId: r.CorrelationID, Sample: r.Sample, Once: r.Once}
	switch {
	case r.Last > 0:
		query.From = &pb.TailQuery_Last{Last: uint32(r.Last)}
	case !r.FromHere:
		query.From = &pb.TailQuery_After{After: r.After}
	}
	if r.ID != "" {
		root := book.Root(r.Domain, r.ID)
		query.Domains, query.Root = []string{r.Domain}, &pb.UUID{Value: root[:]}
	}
	return query
}

// Tail reads the log from a place on, and then what is stored as it is stored,
// until the caller stops ranging or the connection is lost, which is an error.
func (c *Client) Tail(ctx context.Context, request TailRequest) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.explorer.Tail(ctx, request.wire())
		c.storedBooks(stream, err, yield)
	}
}

// storedBooks ranges over a stream of stored books.
func (c *Client) storedBooks(stream interface {
	Recv() (*pb.StoredBook, error)
}, err error, yield func(Stored, error) bool) {
	for err == nil {
		var received *pb.StoredBook
		if received, err = stream.Recv(); err != nil {
			break
		}
		var stored Stored
		if stored, err = c.stored(received); err == nil && !yield(stored, nil) {
			return
		}
	}
	if !errors.Is(err, io.EOF) {
		yield(Stored{}, err)
	}
}

func (c *Client) stored(received *pb.StoredBook) (Stored, error) {
	events, err := c.events(received.GetEvents())
	if err != nil {
		return Stored{}, err
	}
	stored := Stored{Events: events, Skipped: received.Skipped, Position: received.Position, Head: received.Head}
	if id, err := uuid.FromBytes(received.CommandId); err == nil {
		stored.CommandID = id.String()
	}
	if cause := received.Cause; cause != nil {
		stored.Cause = &Cause{
			By: cause.By, Domain: cause.GetCover().GetDomain(), ID: cause.GetCover().GetAggregateId(), Root: rootText(cause.GetCover().GetRoot()), Sequence: cause.Sequence,
		}
	}
	return stored, nil
}

// Followed is something new from a Follow.
type Followed struct {
	Stored       // when Err is nil
	Err    error // the connection was lost: a gRPC status. It will be tried again after Wait
	Wait   time.Duration
}

// Follow is Tail without an end: a lost connection is told, and tried again with
// growing pauses from where it broke off, so that nothing comes twice and, without
// Sample, nothing is missing. It ends when the caller stops ranging, when the
// context ends, or with an error that repeating cannot help, which is told with no
// Wait.
func (c *Client) Follow(ctx context.Context, request TailRequest) iter.Seq[Followed] {
	return func(yield func(Followed) bool) {
		pause := backoff.NewExponentialBackOff()
		pause.InitialInterval, pause.MaxInterval = 250*time.Millisecond, 5*time.Second
		for ctx.Err() == nil {
			var lost error
			for stored, err := range c.Tail(ctx, request) {
				if lost = err; err != nil {
					break
				}
				pause.Reset()
				request.After, request.Last, request.FromHere = max(request.After, stored.Position), 0, false
				if !yield(Followed{Stored: stored}) {
					return
				}
			}
			if ctx.Err() != nil || lost == nil {
				return
			}
			wait := time.Duration(0)
			if passes(lost) {
				wait = pause.NextBackOff()
			}
			if !yield(Followed{Err: lost, Wait: wait}) || wait == 0 {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
}

// passes reports whether a stream that ended so may be tried again.
func passes(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.OutOfRange, codes.DataLoss:
		return false
	}
	return true
}
