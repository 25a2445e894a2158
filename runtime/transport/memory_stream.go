package transport

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// window is how many messages may be on their way in either direction before the
// sender waits, as the flow control of a socket lets some pass.
const window = 16

// NewStream begins a stream. The handler runs on a goroutine of its own, which
// ends when the handler returns; the handler learns from its context that the
// caller has left.
func (m *Memory) NewStream(ctx context.Context, called *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	service, name, err := m.find(method)
	if err != nil {
		return nil, err
	}
	desc, ok := service.streams[name]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown stream %s", method)
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	handling, end := context.WithCancel(incoming(ctx))
	p := &pipe{
		ctx: ctx, handling: handling, single: !called.ServerStreams,
		up: make(chan any, window), down: make(chan any, window), halfClosed: make(chan struct{}), headed: make(chan struct{}), ended: make(chan struct{}),
	}
	server := serverEnd{p}
	p.handling = grpc.NewContextWithServerTransportStream(handling, streamCall{server, method})
	m.handlers.Go(func() {
		defer end()
		p.finish(m.handle(method, func() error { return desc.Handler(service.implementation, server) }))
	})
	return clientEnd{p}, nil
}

// pipe is what both ends of a stream share.
type pipe struct {
	ctx      context.Context //nolint:containedctx // of the caller, for this stream
	handling context.Context //nolint:containedctx // of the handler, for this stream
	single   bool            // the caller expects one answer and then the end

	up, down   chan any
	halfClosed chan struct{} // closed when the caller sends no more
	headed     chan struct{} // closed when header is final
	ended      chan struct{} // closed when the handler has returned

	mu              sync.Mutex
	header, trailer metadata.MD
	isHeaded        bool
	isHalfClosed    bool
	result          error // io.EOF or a status, once ended

	answered atomic.Bool // a single answer has been read
}

func (m *Memory) handle(method string, handle func() error) (err error) {
	defer m.recovered(method, &err)
	return handle()
}

func (p *pipe) finish(err error) {
	p.mu.Lock()
	if !p.isHeaded {
		p.header, p.isHeaded = nil, true
		close(p.headed)
	}
	p.mu.Unlock()
	p.result = io.EOF
	if err != nil {
		p.result = asStatus(err)
	}
	close(p.ended)
}

func (p *pipe) sendHeader(md metadata.MD) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isHeaded {
		return
	}
	p.header = metadata.Join(p.header, md)
	p.isHeaded = true
	close(p.headed)
}

// clientEnd is the caller's end.
type clientEnd struct{ *pipe }

func (c clientEnd) Context() context.Context { return c.ctx }

// Header waits for the headers. A stream that ends without any has none, and
// RecvMsg says why.
func (c clientEnd) Header() (metadata.MD, error) {
	select {
	case <-c.headed:
		return c.header, nil
	case <-c.ctx.Done():
		return nil, status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c clientEnd) Trailer() metadata.MD {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trailer
}

func (c clientEnd) CloseSend() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isHalfClosed {
		c.isHalfClosed = true
		close(c.halfClosed)
	}
	return nil
}

func (c clientEnd) SendMsg(message any) error {
	select {
	case <-c.ended:
		return io.EOF
	default:
	}
	select {
	case c.up <- message:
		return nil
	case <-c.ended:
		return io.EOF
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c clientEnd) RecvMsg(into any) error {
	select {
	case message := <-c.down:
		return c.received(into, message)
	case <-c.ended:
		// What was sent before the end comes before the end.
		select {
		case message := <-c.down:
			return c.received(into, message)
		default:
			return c.over()
		}
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

// over says how a call ended of which all messages have been read. One answer is
// owed to who expects only one.
func (c clientEnd) over() error {
	if c.single && !c.answered.Load() && c.result == io.EOF {
		return status.Error(codes.Internal, "the handler ended without an answer")
	}
	return c.result
}

// received hands over a message. Where only one is expected, how the call ended
// belongs to it.
func (c clientEnd) received(into, message any) error {
	if c.single {
		select {
		case <-c.ended:
		case <-c.ctx.Done():
			return status.FromContextError(c.ctx.Err()).Err()
		}
		if c.result != io.EOF {
			return c.result
		}
		c.answered.Store(true)
	}
	return handOver(into, message)
}

// serverEnd is the handler's end.
type serverEnd struct{ *pipe }

func (s serverEnd) Context() context.Context { return s.handling }

func (s serverEnd) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isHeaded {
		return status.Error(codes.Internal, "the headers have been sent")
	}
	s.header = metadata.Join(s.header, md)
	return nil
}

func (s serverEnd) SendHeader(md metadata.MD) error {
	s.sendHeader(md)
	return nil
}

func (s serverEnd) SetTrailer(md metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
}

func (s serverEnd) SendMsg(message any) error {
	s.sendHeader(nil)
	select {
	case s.down <- message:
		return nil
	case <-s.handling.Done():
		return status.FromContextError(s.handling.Err()).Err()
	}
}

func (s serverEnd) RecvMsg(into any) error {
	select {
	case message := <-s.up:
		return handOver(into, message)
	case <-s.halfClosed:
		select {
		case message := <-s.up:
			return handOver(into, message)
		default:
			return io.EOF
		}
	case <-s.handling.Done():
		return status.FromContextError(s.handling.Err()).Err()
	}
}

// streamCall lets grpc.SetHeader and its like find the stream in a context.
type streamCall struct {
	serverEnd
	method string
}

func (c streamCall) Method() string { return c.method }

func (c streamCall) SetTrailer(md metadata.MD) error {
	c.serverEnd.SetTrailer(md)
	return nil
}
