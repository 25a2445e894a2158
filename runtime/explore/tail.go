package explore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

const (
	// tailPage is about how many events one read of the log returns. A page of
	// large events is let go before the next one is read.
	tailPage = 200
	// mostLast bounds with how many of the newest events a tail may begin.
	mostLast = 10_000
	// mostBehind is how many positions a sampled tail may be behind before some are
	// left out, and goOnBehind how far behind it goes on then.
	mostBehind, goOnBehind = 5_000, 500
)

// Tail streams the log from a place on.
func (s *Server) Tail(query *pb.TailQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	t := &tail{server: s, query: query, stream: stream}
	if err := t.begin(); err != nil {
		return rpcerr.Status(err)
	}
	return rpcerr.Status(t.run())
}

// tail is one call of Tail.
type tail struct {
	server   *Server
	query    *pb.TailQuery
	stream   grpc.ServerStreamingServer[pb.StoredBook]
	root     uuid.UUID // of the only aggregate that is wanted, uuid.Nil for all
	position uint64    // up to which the log has been looked at
	skipped  uint64    // positions left out and not told yet
	reached  bool      // the end of the log was reached, and that was told
}

func (t *tail) begin() error {
	head := t.server.options.Store.Head()
	switch from := t.query.From.(type) {
	case *pb.TailQuery_After:
		t.position = min(from.After, head)
	case *pb.TailQuery_Last:
		if from.Last > mostLast {
			return &book.Invalid{Field: "last", Found: fmt.Sprint(from.Last), Want: fmt.Sprintf("at most %d", mostLast)}
		}
		t.position = head - min(head, uint64(from.Last))
	default:
		t.position = head
	}
	if t.query.Root == nil {
		return nil
	}
	if len(t.query.Domains) != 1 {
		return &book.Invalid{Field: "domains", Found: fmt.Sprintf("%d names", len(t.query.Domains)), Want: "the one domain of the root"}
	}
	key, err := book.KeyFrom(t.query.Domains[0], t.query.Root, "")
	t.root = key.Root
	return err
}

func (t *tail) run() error {
	store, ctx := t.server.options.Store, t.stream.Context()
	for {
		changed, head := store.Changed(), store.Head()
		t.sample(head)
		events, err := store.ReadLog(ctx, t.position, tailPage)
		if err != nil {
			return err
		}
		if err := t.send(events, head); err != nil {
			return err
		}
		if t.position < head {
			continue
		}
		if err := t.sayReached(head); err != nil || t.query.Once {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sample leaves out what a caller who cannot keep up would only see too late.
func (t *tail) sample(head uint64) {
	if behind := head - min(head, t.position); t.query.Sample && t.reached && behind > mostBehind {
		t.skipped += behind - goOnBehind
		t.position = head - goOnBehind
	}
}

// send sends what is wanted of some events.
func (t *tail) send(events []eventstore.Event, head uint64) error {
	for len(events) > 0 {
		command := commandOf(events)
		events = events[len(command):]
		t.position = command[len(command)-1].Position
		if !t.wants(command) {
			continue
		}
		stored := storedBook(command)
		stored.Skipped, stored.Head = t.skipped, max(head, t.position)
		t.skipped = 0
		if err := t.stream.Send(stored); err != nil {
			return err
		}
	}
	return nil
}

// sayReached tells, once, that everything that was stored has been looked at.
func (t *tail) sayReached(head uint64) error {
	if t.reached {
		return nil
	}
	t.reached = true
	return t.stream.Send(&pb.StoredBook{Position: t.position, Head: head})
}

func (t *tail) wants(command []eventstore.Event) bool {
	first := &command[0]
	switch {
	case len(t.query.Domains) > 0 && !slices.Contains(t.query.Domains, first.Key.Domain):
		return false
	case t.query.Root != nil && first.Key.Root != t.root:
		return false
	case t.query.CorrelationId != "" && first.CorrelationID != t.query.CorrelationId:
		return false
	}
	return len(t.query.Types) == 0 || slices.ContainsFunc(command, func(event eventstore.Event) bool { return t.isWantedType(event.TypeURL) })
}

func (t *tail) isWantedType(typeURL string) bool {
	return slices.ContainsFunc(t.query.Types, func(wanted string) bool {
		return wanted == book.TypeName(typeURL) || wanted == book.ShortName(typeURL)
	})
}

// commandOf returns the events of the first command.
func commandOf(events []eventstore.Event) []eventstore.Event {
	n := 1
	for n < len(events) && events[n].CommandID == events[0].CommandID && events[n].Key == events[0].Key {
		n++
	}
	return events[:n]
}

func storedBook(command []eventstore.Event) *pb.StoredBook {
	first, position := &command[0], command[len(command)-1].Position
	return &pb.StoredBook{Events: eventstore.Book(command), CommandId: first.CommandID[:], Cause: cause(first.Causation), Position: position}
}

// cause reads what the store keeps of it: "saga DOMAIN/ROOT/NUMBER".
func cause(text string) *pb.Cause {
	if text == "" {
		return nil
	}
	by, event, found := strings.Cut(text, " ")
	if !found {
		return &pb.Cause{By: text}
	}
	rest, number := cutLast(event)
	domain, root := cutLast(rest)
	id, err := uuid.Parse(root)
	sequence, numberErr := strconv.ParseUint(number, 10, 32)
	if err != nil || numberErr != nil {
		return &pb.Cause{By: text}
	}
	return &pb.Cause{By: by, Cover: book.Key{Domain: domain, Root: id}.Cover(""), Sequence: uint32(sequence)}
}

// cutLast cuts a text at its last slash.
func cutLast(text string) (before, after string) {
	at := strings.LastIndexByte(text, '/')
	return text[:max(at, 0)], text[at+1:]
}

// Trace streams what is stored of a correlation.
func (s *Server) Trace(query *pb.TraceQuery, stream grpc.ServerStreamingServer[pb.StoredBook]) error {
	if query.GetCorrelationId() == "" {
		return rpcerr.Status(&book.Invalid{Field: "correlation_id", Found: "nothing", Want: "a correlation, as every command's answer has it"})
	}
	position := uint64(0)
	for {
		events, err := s.options.Store.ByCorrelation(stream.Context(), query.CorrelationId, position, tailPage)
		if err != nil || len(events) == 0 {
			return rpcerr.Status(err)
		}
		position = events[len(events)-1].Position
		for len(events) > 0 {
			command := commandOf(events)
			events = events[len(command):]
			stored := storedBook(command)
			stored.Head = s.options.Store.Head()
			if err := s.nameCause(stream, stored.Cause); err != nil {
				return rpcerr.Status(err)
			}
			if err := stream.Send(stored); err != nil {
				return err
			}
		}
	}
}

// nameCause gives a cause's aggregate its human name.
func (s *Server) nameCause(stream grpc.ServerStreamingServer[pb.StoredBook], cause *pb.Cause) error {
	if cause.GetCover() == nil {
		return nil
	}
	key, err := book.KeyOf(cause.Cover)
	if err != nil {
		return nil // what cannot be named is shown as it is
	}
	info, err := s.options.Store.Aggregate(stream.Context(), key)
	cause.Cover = key.Cover(info.Name)
	return err
}
