package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Execute sends a command and streams its own events, then whatever else its
// correlation causes, each event once. It ends with OK when the workflow has
// settled, or, where that cannot be known, when nothing came for StreamTimeout.
// A rejected command ends it with the command's status. When the client leaves,
// everything that works for it is given up at once; the command stays done.
func (g *Gateway) Execute(command *pb.CommandBook, client grpc.ServerStreamingServer[pb.EventBook]) error {
	to, err := g.prepare(command)
	if err != nil {
		return rpcerr.Status(err)
	}
	if err := to.makeRepeatable(); err != nil {
		return rpcerr.Status(err)
	}
	e := &execution{gateway: g, errand: to, client: client}
	// Nothing that was started for this client outlives the call.
	defer e.work.Wait()
	ctx, cancel := context.WithCancel(observe.Correlate(client.Context(), to.command.CorrelationId))
	defer cancel()
	return rpcerr.Status(e.run(ctx))
}

// ExecuteStream is Execute under its other name.
func (g *Gateway) ExecuteStream(command *pb.CommandBook, client grpc.ServerStreamingServer[pb.EventBook]) error {
	return g.Execute(command, client)
}

// execution is one Execute under way.
type execution struct {
	*errand
	gateway *Gateway
	client  grpc.ServerStreamingServer[pb.EventBook]
	work    sync.WaitGroup
	sent    sent
	own     *pb.EventBook // the command's own events
}

func (e *execution) run(ctx context.Context) error {
	watching, err := e.subscribe(ctx)
	if err != nil {
		return err
	}
	response, err := e.handle(ctx, e.gateway)
	if err != nil {
		return err
	}
	e.own = response.GetEvents()
	if len(e.own.GetPages()) == 0 {
		return nil
	}
	if _, err := e.send(e.own); err != nil {
		return err
	}
	return e.follow(ctx, e.receive(ctx, watching), e.settle(ctx))
}

// send gives the client what it has not been given of a book, and reports
// whether there was any such thing.
func (e *execution) send(events *pb.EventBook) (bool, error) {
	books, err := e.sent.fresh(events)
	if err != nil {
		return false, err
	}
	for _, events := range books {
		if err := e.client.Send(events); err != nil {
			return false, &leftError{err}
		}
	}
	return len(books) > 0, nil
}

// leftError says that the client takes nothing any more.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }

// follow streams what the command causes until the workflow has settled.
func (e *execution) follow(ctx context.Context, live *receiver, settled <-chan error) error {
	silence := time.NewTimer(e.gateway.options.StreamTimeout)
	defer silence.Stop()
	var cut error // why the live books ended early
	for {
		select {
		case events := <-live.books:
			fresh, err := e.send(events)
			if err != nil {
				return err
			}
			if fresh {
				silence.Reset(e.gateway.options.StreamTimeout)
			}
		case cut = <-live.ended:
			if settled == nil {
				return cut
			}
		case err := <-settled:
			if err == nil {
				err = e.repair(ctx)
			}
			if done, err := e.conclude(ctx, err, cut); done {
				return err
			}
			settled = nil
		case <-silence.C:
			return cut
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// conclude decides what the end of the settling call means: err nil, everything
// has been sent; else whether to go on with the live books, if those go on.
func (e *execution) conclude(ctx context.Context, err, cut error) (done bool, result error) {
	if left := (*leftError)(nil); err == nil || errors.As(err, &left) || ctx.Err() != nil {
		return true, err
	}
	e.gateway.options.Logger.DebugContext(ctx, "cannot tell when a workflow has settled; its stream ends when no events come",
		"correlation_id", e.command.CorrelationId, "timeout", e.gateway.options.StreamTimeout, "error", err)
	return cut != nil, cut
}

// settle asks the coordinator, beside everything else, to wait for whatever the
// command causes. The command is not done again. The channel gets one answer.
func (e *execution) settle(ctx context.Context) <-chan error {
	settled := make(chan error, 1)
	e.work.Go(func() {
		_, err := e.handleSync(ctx, e.gateway, &pb.SyncCommandBook{
			Command: e.command, SyncMode: pb.SyncMode_SYNC_MODE_CASCADE,
		})
		settled <- err
	})
	return settled
}

// repair sends what the log has of the correlation, from the command's own
// events on, and the client has not been given.
func (e *execution) repair(ctx context.Context) error {
	for _, reader := range e.gateway.readers() {
		after := uint64(0)
		if reader.conn == nil || reader.conn == e.conn {
			after = e.own.Position
		}
		if err := e.repairFrom(ctx, reader.client, after); err != nil {
			return err
		}
	}
	return nil
}

func (e *execution) repairFrom(ctx context.Context, log pb.EventQueryClient, after uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(e.gateway.options.StreamTimeout, cancel)
	defer watchdog.Stop()
	books, err := log.GetEvents(ctx, &pb.Query{CorrelationId: e.command.CorrelationId})
	if err != nil {
		return err
	}
	return each(books, func(events *pb.EventBook) error {
		watchdog.Stop() // a slow client is no fault of the log
		defer watchdog.Reset(e.gateway.options.StreamTimeout)
		// What was there before the command was not caused by it.
		if events.Position != 0 && events.Position < after {
			return nil
		}
		_, err := e.send(events)
		return err
	})
}

// subscribe starts watching for what the command will cause and returns when
// the event stream has said that the subscription counts.
func (e *execution) subscribe(ctx context.Context) (grpc.ServerStreamingClient[pb.EventBook], error) {
	if e.gateway.options.Stream == nil {
		return nil, status.Error(codes.Unavailable,
			"the command was not sent: no event stream is configured; set STREAM_ADDRESS, or use ExecuteSync")
	}
	waiting, cancel := context.WithCancelCause(ctx)
	deadline := time.AfterFunc(subscribeTimeout, func() {
		cancel(fmt.Errorf("no answer within %s", subscribeTimeout))
	})
	books, err := e.gateway.options.Stream.Subscribe(waiting, &pb.EventStreamFilter{CorrelationId: e.command.CorrelationId})
	if err == nil {
		err = accepted(books)
	}
	if deadline.Stop() && err == nil {
		return books, nil
	}
	cause := context.Cause(waiting)
	cancel(nil)
	return nil, notWatched(ctx, err, cause)
}

// subscribeTimeout is how long the event stream may take to accept.
const subscribeTimeout = 10 * time.Second

// accepted waits for the headers of a stream.
func accepted(books grpc.ServerStreamingClient[pb.EventBook]) error {
	header, err := books.Header()
	if err != nil || len(header) > 0 {
		return err
	}
	// A stream without a header has ended, and this says why.
	_, err = books.Recv()
	return endOfStream(err)
}

func notWatched(ctx context.Context, err, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	refused := status.Convert(err)
	code, reason := refused.Code(), refused.Message()
	if cause != nil {
		code, reason = codes.Unavailable, cause.Error()
	}
	return status.Errorf(code, "the command was not sent, because the event stream does not show what it causes: %s", reason)
}

// receiver takes books from the event stream.
type receiver struct {
	books chan *pb.EventBook // unbuffered: the event stream bounds what waits
	ended chan error         // gets one error when no book will come any more
}

func (e *execution) receive(ctx context.Context, watching grpc.ServerStreamingClient[pb.EventBook]) *receiver {
	r := &receiver{books: make(chan *pb.EventBook), ended: make(chan error, 1)}
	e.work.Go(func() { r.ended <- r.run(ctx, watching) })
	return r
}

func (r *receiver) run(ctx context.Context, watching grpc.ServerStreamingClient[pb.EventBook]) error {
	for {
		events, err := watching.Recv()
		if err != nil {
			return endOfStream(err)
		}
		select {
		case r.books <- events:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
