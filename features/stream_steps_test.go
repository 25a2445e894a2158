package features_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"
	"github.com/google/uuid"
	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	somebody = `(I|client "[^"]*")`
	whose    = `(my|client "[^"]*"'s)`
)

// streamSteps are the sentences about Execute and Subscribe.
func (w *world) streamSteps(steps *godog.ScenarioContext) {
	steps.Step(`^`+somebody+` executes? an? "([^"]*)" command for aggregate "([^"]*)"(.*)$`, w.execute)
	steps.Step(`^`+somebody+` subscribes? to correlation "([^"]*)"( without reading)?$`, w.subscribe)
	steps.Step(`^`+somebody+` leaves?$`, w.leave)
	steps.Step(`^`+somebody+` begins? to read$`, w.beginToRead)
	steps.Step(`^`+whose+` stream delivers:$`, w.delivers)
	steps.Step(`^`+whose+` stream ends with ([A-Z_]+)$`, w.endsWith)
	steps.Step(`^`+whose+` stream ends with ([A-Z_]+) and says "(.*)"$`, w.endsAndSays)
	steps.Step(`^other processes append (\d+) events of 1 KiB with correlation id "([^"]*)"$`, w.manyAppends)
}

// streamed is a stream of books that a client receives.
type streamed struct {
	cancel context.CancelFunc
	read   chan struct{} // closed when the client begins to read
	ended  chan struct{}
	spoken int // of how many books the scenario has spoken

	mu    sync.Mutex
	books []*pb.EventBook
	err   error // nil at the ordinary end
}

// client takes the name out of "I", "my", `client "A"` and `client "A"'s`.
func client(words string) string {
	if name := quoted(words); len(name) > 0 {
		return name[0]
	}
	return "I"
}

func (w *world) execute(who, name, aggregate, rest string) error {
	o, err := w.order([]string{name}, aggregate, rest)
	if err != nil {
		return err
	}
	conn := w.conns["gateway"]
	return w.receive(who, true, func(ctx context.Context) (grpc.ServerStreamingClient[pb.EventBook], error) {
		return pb.NewCommandGatewayClient(conn).Execute(ctx, o.command)
	})
}

// subscribe opens a subscription. One that is not read gets a witness, which
// knows what the other was sent.
func (w *world) subscribe(who, correlation, unread string) error {
	if unread != "" {
		if err := w.subscribe(witness(who), correlation, ""); err != nil {
			return err
		}
	}
	conn, err := w.door("stream")
	if err != nil {
		return err
	}
	return w.receive(who, unread == "", func(ctx context.Context) (grpc.ServerStreamingClient[pb.EventBook], error) {
		stream, err := pb.NewEventStreamClient(conn).Subscribe(ctx, &pb.EventStreamFilter{CorrelationId: correlation})
		if err == nil {
			_, err = stream.Header() // the subscription counts from here on
		}
		return stream, err
	})
}

// receive opens a stream and takes its books in the background.
func (w *world) receive(who string, reads bool, open func(context.Context) (grpc.ServerStreamingClient[pb.EventBook], error)) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	stream, err := open(ctx)
	if err != nil {
		cancel()
		return err
	}
	s := &streamed{cancel: cancel, read: make(chan struct{}), ended: make(chan struct{})}
	if reads {
		close(s.read)
	}
	w.streams[client(who)] = s
	go func() {
		defer close(s.ended)
		select {
		case <-s.read:
		case <-ctx.Done():
		}
		for {
			events, err := stream.Recv()
			if s.note(events, err); err != nil {
				w.happen.fire()
				return
			}
			w.happen.fire()
		}
	}()
	return nil
}

func (s *streamed) note(events *pb.EventBook, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.books = append(s.books, events)
	case !errors.Is(err, io.EOF):
		s.err = err
	}
}

func (s *streamed) so() []*pb.EventBook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*pb.EventBook(nil), s.books...)
}

func (w *world) stream(who string) (*streamed, error) {
	if s, ok := w.streams[client(who)]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("%s has no stream", who)
}

func (w *world) leave(who string) error {
	s, err := w.stream(who)
	if err != nil {
		return err
	}
	s.cancel()
	<-s.ended
	return nil
}

// beginToRead lets a client read after everything there is has been sent to it.
func (w *world) beginToRead(who string) error {
	s, err := w.stream(who)
	if err != nil {
		return err
	}
	seen, err := w.stream(witness(who))
	if err != nil {
		return err
	}
	if err := w.until(func() error { return seen.complete(w.system.Head(w.ctx)) }); err != nil {
		return err
	}
	close(s.read)
	return nil
}

// witness names the client that subscribes beside another one.
func witness(who string) string { return fmt.Sprintf(`client "the witness of %s"`, client(who)) }

// complete says what is missing until a stream has delivered the log's last book,
// or was cut off because it could not follow either.
func (s *streamed) complete(head uint64, err error) error {
	if err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	default:
	}
	books := s.so()
	if len(books) == 0 || books[len(books)-1].Position < head {
		return fmt.Errorf("%d books have been sent", len(books))
	}
	return nil
}

// delivers waits until the stream has delivered these events and no others.
func (w *world) delivers(who string, table *godog.Table) error {
	s, err := w.stream(who)
	if err != nil {
		return err
	}
	return w.until(func() error {
		books := s.so()
		err := compare(table, books)
		if err == nil {
			s.spoken = len(books)
		}
		return err
	})
}

// surplus returns the books that came after those of which the scenario has
// spoken.
func (s *streamed) surplus() error {
	if more := s.so()[s.spoken:]; s.spoken > 0 && len(more) > 0 {
		return fmt.Errorf("a stream has delivered also %v", more)
	}
	return nil
}

func (w *world) endsWith(who, code string) error { return w.endsAndSays(who, code, "") }

func (w *world) endsAndSays(who, code, part string) error {
	s, err := w.stream(who)
	if err != nil {
		return err
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		return errors.New("it does not end")
	}
	return checkStatus(s.err, code, func(found string) bool { return strings.Contains(found, part) })
}

// manyAppends stores books that one correlation joins, on several aggregates
// side by side.
func (w *world) manyAppends(count int, correlation string) error {
	const writers = 50
	failed := make(chan error, writers)
	for writer := range writers {
		go func() { failed <- w.appendMany(writer, count/writers, correlation) }()
	}
	var errs []error
	for range writers {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func (w *world) appendMany(writer, count int, correlation string) error {
	key := book.Key{Domain: w.domains[0].name, Root: uuid.New()}
	for i := range count {
		event := w.event(key, fmt.Sprint("writer-", writer), uint32(i), "Written")
		event.CorrelationID, event.Events = correlation, []eventstore.NewEvent{{
			TypeURL: "type.googleapis.com/Written", Payload: make([]byte, 1024), CreatedAt: time.Now(),
		}}
		if _, err := w.system.Store().Append(w.ctx, event); err != nil {
			return err
		}
	}
	return nil
}
