package transport

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Memory is gRPC without a socket: services are registered on it, and clients
// made over it call them in the same process. It keeps what a caller relies on
// (deadlines, cancelling, metadata, statuses, headers, streams). Two things
// differ: a unary handler runs on the caller's goroutine, and nobody may change a
// message after handing it over, because both sides see the same inner messages.
//
// All services must be registered before the first call; calls are then safe for
// concurrent use.
type Memory struct {
	// Logger hears of handlers that panic; nil for nobody.
	Logger *slog.Logger

	unary    grpc.UnaryServerInterceptor // nil for none
	services map[string]registered
	handlers sync.WaitGroup // of streams
}

type registered struct {
	implementation any
	methods        map[string]*grpc.MethodDesc
	streams        map[string]*grpc.StreamDesc
}

var (
	_ grpc.ServiceRegistrar    = (*Memory)(nil)
	_ grpc.ClientConnInterface = (*Memory)(nil)
)

// NewMemory returns a connection without services. The interceptors, the
// outermost first, see every unary call.
func NewMemory(unary ...grpc.UnaryServerInterceptor) *Memory {
	return &Memory{unary: chain(unary), services: map[string]registered{}}
}

func chain(interceptors []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	switch len(interceptors) {
	case 0:
		return nil
	case 1:
		return interceptors[0]
	}
	first, rest := interceptors[0], chain(interceptors[1:])
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return first(ctx, request, info, func(ctx context.Context, request any) (any, error) {
			return rest(ctx, request, info, handler)
		})
	}
}

// RegisterService adds a service.
func (m *Memory) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	added := registered{implementation, map[string]*grpc.MethodDesc{}, map[string]*grpc.StreamDesc{}}
	for i := range desc.Methods {
		added.methods[desc.Methods[i].MethodName] = &desc.Methods[i]
	}
	for i := range desc.Streams {
		added.streams[desc.Streams[i].StreamName] = &desc.Streams[i]
	}
	m.services[desc.ServiceName] = added
}

// Wait returns when no stream's handler is at work any more, after all callers
// have left or been answered. Nobody may begin a stream meanwhile. Whoever closes
// what the handlers use waits here first.
func (m *Memory) Wait() { m.handlers.Wait() }

// find returns the service that a full method name begins with, and the rest.
func (m *Memory) find(method string) (registered, string, error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	found, ok := m.services[service]
	if !ok {
		return found, "", status.Errorf(codes.Unimplemented, "unknown service %s", service)
	}
	return found, name, nil
}

// incoming returns the context as the handler is to see it: what the caller
// sends has arrived, and nothing is on its way further.
func incoming(ctx context.Context) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewOutgoingContext(metadata.NewIncomingContext(ctx, sent), metadata.MD{})
}

// Invoke calls a unary method.
func (m *Memory) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) (err error) {
	service, name, err := m.find(method)
	if err != nil {
		return err
	}
	desc, ok := service.methods[name]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	defer m.recovered(method, &err)
	call := &unaryCall{method: method}
	defer call.deliver(options)
	decode := func(into any) error { return handOver(into, request) }
	answer, err := desc.Handler(service.implementation, grpc.NewContextWithServerTransportStream(incoming(ctx), call), decode, m.unary)
	if err != nil {
		return asStatus(err)
	}
	return handOver(response, answer)
}

// asStatus returns what a gRPC server would have sent for a handler's error.
func asStatus(err error) error {
	if said, ok := status.FromError(err); ok {
		return said.Err()
	}
	return status.FromContextError(err).Err()
}

// recovered turns a panic of a handler into a status.
func (m *Memory) recovered(method string, err *error) {
	if found := recover(); found != nil {
		*err = panicked(m.Logger, method, found)
	}
}

// unaryCall carries the headers and trailers of one unary call, which a handler
// may set on goroutines of its own.
type unaryCall struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
}

func (c *unaryCall) Method() string { return c.method }

func (c *unaryCall) SetHeader(md metadata.MD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = metadata.Join(c.header, md)
	return nil
}

func (c *unaryCall) SendHeader(md metadata.MD) error { return c.SetHeader(md) }

func (c *unaryCall) SetTrailer(md metadata.MD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trailer = metadata.Join(c.trailer, md)
	return nil
}

// deliver gives headers and trailers to a caller who asked for them.
func (c *unaryCall) deliver(options []grpc.CallOption) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, option := range options {
		switch wanted := option.(type) {
		case grpc.HeaderCallOption:
			*wanted.HeaderAddr = c.header
		case grpc.TrailerCallOption:
			*wanted.TrailerAddr = c.trailer
		}
	}
}

// handOver makes one message look like another by copying its outermost level.
func handOver(into, from any) error {
	target, ok1 := into.(proto.Message)
	source, ok2 := from.(proto.Message)
	if !ok1 || !ok2 {
		return status.Errorf(codes.Internal, "hand over a %T as a %T: not messages", from, into)
	}
	to, given := target.ProtoReflect(), source.ProtoReflect()
	if to.Descriptor() != given.Descriptor() {
		return status.Errorf(codes.Internal, "hand over a %s as a %s", given.Descriptor().FullName(), to.Descriptor().FullName())
	}
	given.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	to.SetUnknown(given.GetUnknown())
	return nil
}
