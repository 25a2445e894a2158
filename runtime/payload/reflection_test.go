package payload_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/runtime/payload"
)

// serve runs a gRPC server over memory and returns a connection to it.
func serve(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(options...)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestTypesComeFromAServersReflection(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	message, err := schema.Encode("customer", "CustomerCreated", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	for name, register := range map[string]func(*grpc.Server){
		"v1": func(s *grpc.Server) {
			reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{Services: s, DescriptorResolver: schema.Descriptors()}))
		},
		"v1alpha": func(s *grpc.Server) {
			reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(reflection.ServerOptions{Services: s, DescriptorResolver: schema.Descriptors()}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remote := payload.FromReflection(t.Context(), serve(t, register))
			defer remote.Close()
			got, known, err := remote.JSON(message)
			if err != nil || !known || string(got) != full {
				t.Errorf("got %s, %v, %v, want %s", got, known, err, full)
			}
			line := &anypb.Any{TypeUrl: "x/shop.customer.v1.CustomerCreated.Line", Value: []byte{16, 7}}
			if got, known, _ := remote.JSON(line); string(got) != `{"quantity":7}` || !known {
				t.Errorf("a nested type: got %s, %v", got, known)
			}
		})
	}
}

func TestAServerIsAskedForATypeOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	count := grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, countingStream{stream, &asked})
	})
	remote := payload.FromReflection(t.Context(), serve(t, func(s *grpc.Server) {
		reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{Services: s}))
	}, count))
	defer remote.Close()
	unknown := &anypb.Any{TypeUrl: "x/no.such.Type", Value: []byte{1}}
	remote.JSON(unknown)
	first := asked.Load()
	for range 10 {
		if got, known, _ := remote.JSON(unknown); known || string(got) != `{"@type":"x/no.such.Type","@value":"AQ=="}` {
			t.Fatalf("got %s, %v", got, known)
		}
	}
	if asked.Load() != first || first == 0 {
		t.Errorf("the server was asked %d times, then %d times more, want some and none", first, asked.Load()-first)
	}
}

type countingStream struct {
	grpc.ServerStream
	received *atomic.Int32
}

func (s countingStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.received.Add(1)
	}
	return err
}

func TestWithoutReflectionPayloadsStayBytes(t *testing.T) {
	t.Parallel()
	remote := payload.FromReflection(t.Context(), serve(t, func(*grpc.Server) {}))
	defer remote.Close()
	if got, known, _ := remote.JSON(&anypb.Any{TypeUrl: "a.B", Value: []byte{1}}); known || string(got) != `{"@type":"a.B","@value":"AQ=="}` {
		t.Errorf("got %s, %v", got, known)
	}
	for _, name := range []string{"", ".", "..", "a..b", "\xff", "a.B.C.D"} {
		if _, ok := remote.Message(name); ok {
			t.Errorf("%q is a type", name)
		}
	}
	if got, known, _ := remote.JSON(&anypb.Any{TypeUrl: "x/google.protobuf.StringValue", Value: []byte{10, 1, 'a'}}); !known || string(got) != `"a"` {
		t.Errorf("a well-known type: got %s, %v", got, known)
	}
}
