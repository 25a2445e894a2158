// Package runtimetest stands in for the services that users write: real gRPC
// servers on Unix sockets whose rules are given as functions, and a gallery of
// services as other people write them, good ones and bad ones.
package runtimetest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Service is a running stand-in. Its methods are safe for concurrent use.
type Service struct {
	t        testing.TB
	network  string
	address  string
	options  []grpc.ServerOption
	register func(grpc.ServiceRegistrar)
	health   bool

	mu     sync.Mutex
	server *grpc.Server
	done   chan struct{}
	calls  []proto.Message
}

// Option changes how a stand-in is served.
type Option func(*Service)

// WithoutHealth leaves out the health service.
func WithoutHealth(s *Service) { s.health = false }

// OverTCP serves on a free port of the loopback interface.
func OverTCP(s *Service) { s.network, s.address = "tcp", "127.0.0.1:0" }

// WithServerOptions serves with options of grpc-go, such as another codec.
func WithServerOptions(options ...grpc.ServerOption) Option {
	return func(s *Service) { s.options = append(s.options, options...) }
}

// Serve starts a stand-in with the services that register adds. It stops with
// the test.
func Serve(t testing.TB, register func(grpc.ServiceRegistrar), options ...Option) *Service {
	t.Helper()
	s := &Service{t: t, network: "unix", address: filepath.Join(Folder(t), "service.sock"), register: register, health: true}
	for _, option := range options {
		option(s)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Folder returns a new folder whose path is short enough for sockets. It goes
// with the test.
func Folder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "angz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// Start serves again after Stop, at the same address.
func (s *Service) Start() {
	s.t.Helper()
	listener, err := net.Listen(s.network, s.Address())
	if err != nil {
		s.t.Fatal(err)
	}
	server, done := grpc.NewServer(append(s.options, grpc.ChainUnaryInterceptor(s.note))...), make(chan struct{})
	if s.health {
		healthpb.RegisterHealthServer(server, health.NewServer())
	}
	s.register(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = listener.Addr().String()
	s.server, s.done = server, done
	go func() {
		defer close(done)
		// Stopped before it began is stopped.
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.t.Errorf("serve %s: %v", listener.Addr(), err)
		}
	}()
}

// Stop ends the stand-in and all calls to it at once.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return
	}
	s.server.Stop()
	<-s.done
	s.server = nil
}

// Restart stops the stand-in and starts it again at the same address.
func (s *Service) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Calls returns what the stand-in has been asked so far, in the order of
// arrival, except for its health. Nobody may change the messages.
func (s *Service) Calls() []proto.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// note remembers a request. The handler is given the same message, so rules that
// change what they are asked have to work on a copy.
func (s *Service) note(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	switch message := request.(type) {
	case *healthpb.HealthCheckRequest:
	case proto.Message:
		s.mu.Lock()
		s.calls = append(s.calls, message)
		s.mu.Unlock()
	}
	return handler(ctx, request)
}

// Address returns where the stand-in listens.
func (s *Service) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// Rules is the business logic of an aggregate's service.
type Rules func(context.Context, *pb.ContextualCommand) (*pb.BusinessResponse, error)

// Aggregate starts an aggregate's service.
func Aggregate(t testing.TB, rules Rules, options ...Option) *Service {
	t.Helper()
	return Serve(t, func(to grpc.ServiceRegistrar) { pb.RegisterAggregateServer(to, aggregate{rules: rules}) }, options...)
}

type aggregate struct {
	pb.UnimplementedAggregateServer
	rules Rules
}

func (a aggregate) Handle(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	return a.rules(ctx, request)
}

// Projector starts a projector's service.
func Projector(t testing.TB, project func(context.Context, *pb.EventBook) (*pb.Projection, error), options ...Option) *Service {
	t.Helper()
	return Serve(t, func(to grpc.ServiceRegistrar) { pb.RegisterProjectorServer(to, projector{project: project}) }, options...)
}

type projector struct {
	pb.UnimplementedProjectorServer
	project func(context.Context, *pb.EventBook) (*pb.Projection, error)
}

func (p projector) Handle(ctx context.Context, events *pb.EventBook) (*pb.Projection, error) {
	return p.project(ctx, events)
}

// Saga starts a saga's service.
func Saga(t testing.TB, react func(context.Context, *pb.EventBook) (*pb.SagaResponse, error), options ...Option) *Service {
	t.Helper()
	return Serve(t, func(to grpc.ServiceRegistrar) { pb.RegisterSagaServer(to, saga{react: react}) }, options...)
}

type saga struct {
	pb.UnimplementedSagaServer
	react func(context.Context, *pb.EventBook) (*pb.SagaResponse, error)
}

func (s saga) Handle(ctx context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	return s.react(ctx, events)
}
