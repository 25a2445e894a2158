package payload

import (
	"context"
	"sync"

	"github.com/jhump/protoreflect/v2/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/runtime/book"
)

// Remote knows the types that a server describes by gRPC reflection. It asks for
// each type once. It may be shared between goroutines.
type Remote struct {
	client *grpcreflect.Client

	mu    sync.Mutex
	known map[protoreflect.FullName]protoreflect.MessageDescriptor // nil for types the server does not know
}

// FromReflection returns a Remote for the server at the other end of conn. It
// asks nothing yet. The context bounds the life of the Remote: when it ends,
// types that have not been asked for are unknown. Close releases the stream to
// the server.
func FromReflection(ctx context.Context, conn grpc.ClientConnInterface) *Remote {
	return &Remote{
		client: grpcreflect.NewClientAuto(ctx, conn, grpcreflect.WithAllowMissingFileDescriptors(),
			grpcreflect.WithFallbackResolvers(protoregistry.GlobalFiles, protoregistry.GlobalTypes)),
		known: map[protoreflect.FullName]protoreflect.MessageDescriptor{},
	}
}

// Close ends the conversation with the server. The types known so far stay.
func (r *Remote) Close() { r.client.Reset() }

// Message returns the type that a type URL or full name stands for. It may ask
// the server, and then blocks until it answers.
func (r *Remote) Message(typeURLOrName string) (protoreflect.MessageDescriptor, bool) {
	name := protoreflect.FullName(book.TypeName(typeURLOrName))
	if message, ok := builtIn(name); ok {
		return message, true
	}
	if !name.IsValid() {
		return nil, false
	}
	r.mu.Lock()
	message, asked := r.known[name]
	r.mu.Unlock()
	if !asked {
		message = r.ask(name)
		r.mu.Lock()
		r.known[name] = message
		r.mu.Unlock()
	}
	return message, message != nil
}

// ask returns the server's description of a message, nil when it has none or
// does not answer: people then see the raw bytes.
func (r *Remote) ask(name protoreflect.FullName) protoreflect.MessageDescriptor {
	file, err := r.client.FileContainingSymbol(name)
	if err != nil {
		return nil
	}
	return messageIn(file, name)
}

// messageIn finds a message, which may be nested in others, in a file.
func messageIn(file protoreflect.FileDescriptor, name protoreflect.FullName) protoreflect.MessageDescriptor {
	var in interface {
		Messages() protoreflect.MessageDescriptors
	} = file
	if parent := name.Parent(); parent != file.Package() {
		if parent == "" {
			return nil
		}
		outer := messageIn(file, parent)
		if outer == nil {
			return nil
		}
		in = outer
	}
	return in.Messages().ByName(name.Name())
}

// JSON is Schema.JSON with the server's types. The error is always nil.
func (r *Remote) JSON(message *anypb.Any) (json []byte, known bool, err error) {
	json, known = encodeJSON(message, r.Message, protoregistry.GlobalTypes)
	return json, known, nil
}
