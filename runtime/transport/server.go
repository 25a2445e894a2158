package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// ServerOptions describe a server. Zero values mean the defaults given.
type ServerOptions struct {
	MaxMessageBytes int           // of one message either way; 16 MiB
	Grace           time.Duration // for calls under way when the server stops; 5 s
	Logger          *slog.Logger
	Unary           []grpc.UnaryServerInterceptor
	Stream          []grpc.StreamServerInterceptor
	// Descriptors adds the project's own types to what reflection knows.
	Descriptors protodesc.Resolver
	// TLS protects every listener but Unix sockets, if it has a certificate.
	TLS *TLS
	// MaxStreams is how many calls one connection may have under way; zero is any
	// number. A caller's further calls wait.
	MaxStreams int
	// MaxHeaderBytes bounds the metadata of one call; 64 KiB.
	MaxHeaderBytes int
	// MaxConnectionAge is how long a caller may stay before it is asked to
	// connect again, and so to show its certificate again; zero is for ever.
	MaxConnectionAge time.Duration
}

// Server is a gRPC server with health and reflection. Services are registered on
// it before Run.
type Server struct {
	*grpc.Server
	options ServerOptions
	health  *watchable
}

// NewServer returns a server that is not serving yet.
func NewServer(options ServerOptions) *Server {
	if options.MaxMessageBytes == 0 {
		options.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if options.Grace == 0 {
		options.Grace = 5 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: options, health: newWatchable()}
	s.Server = grpc.NewServer(append(options.protection(),
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{s.recoverUnary}, options.Unary...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{s.recoverStream}, options.Stream...)...),
		grpc.MaxRecvMsgSize(options.MaxMessageBytes), grpc.MaxSendMsgSize(options.MaxMessageBytes),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20),
	)...)
	s.SetServing(false)
	healthpb.RegisterHealthServer(s, s.health)
	reflected := reflection.ServerOptions{Services: s, DescriptorResolver: descriptors{options.Descriptors}}
	reflectionpb.RegisterServerReflectionServer(s, reflection.NewServerV1(reflected))
	reflectionalphapb.RegisterServerReflectionServer(s, reflection.NewServer(reflected))
	return s
}

// protection returns what keeps a server from callers that mean harm or have
// died.
func (o ServerOptions) protection() []grpc.ServerOption {
	if o.MaxHeaderBytes == 0 {
		o.MaxHeaderBytes = 64 << 10
	}
	options := []grpc.ServerOption{
		grpc.MaxHeaderListSize(uint32(o.MaxHeaderBytes)),
		grpc.ConnectionTimeout(10 * time.Second), // until the caller has said what it wants
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: time.Minute, Timeout: 20 * time.Second, // of a caller that says nothing and may be gone
			MaxConnectionAge: o.MaxConnectionAge, MaxConnectionAgeGrace: o.Grace,
		}),
	}
	if o.MaxStreams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(o.MaxStreams)))
	}
	if o.TLS.Serves() {
		options = append(options, grpc.Creds(secured{o.TLS}))
	}
	return options
}

// SetServing says whether the server is ready for requests, for those who ask
// its health service about all of it or about one of its services.
func (s *Server) SetServing(serving bool) {
	now := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		now = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", now)
	for name := range s.GetServiceInfo() {
		s.health.SetServingStatus(name, now)
	}
}

// Run serves on the listeners until the context ends, lets the calls under way
// finish within the grace period, and returns nil. It returns an error when a
// listener fails. It closes the listeners.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, listener := range listeners {
		group.Go(func() error {
			if err := s.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		s.stop()
		return nil
	})
	return group.Wait()
}

func (s *Server) stop() {
	s.health.letGo()
	timer := time.AfterFunc(s.options.Grace, s.Stop)
	defer timer.Stop()
	s.GracefulStop()
}

func (s *Server) recoverUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	defer func() {
		if found := recover(); found != nil {
			err = panicked(s.options.Logger, info.FullMethod, found)
		}
	}()
	return handler(ctx, request)
}

func (s *Server) recoverStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		if found := recover(); found != nil {
			err = panicked(s.options.Logger, info.FullMethod, found)
		}
	}()
	return handler(server, stream)
}

// panicked logs a panic where it was found and returns what the caller is told.
func panicked(logger *slog.Logger, method string, found any) error {
	if logger != nil {
		logger.Error("a request made the server panic", "method", method, "error", fmt.Sprint(found), "stack", string(debug.Stack()))
	}
	return status.Errorf(codes.Internal, "%s failed because of a defect in angz; the log has the details", method)
}

// descriptors looks among the project's types first and then among those that
// are built in.
type descriptors struct{ project protodesc.Resolver }

func (d descriptors) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if file, err := protoregistry.GlobalFiles.FindFileByPath(path); err == nil || d.project == nil {
		return file, err
	}
	return d.project.FindFileByPath(path)
}

func (d descriptors) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err == nil || d.project == nil {
		return found, err
	}
	return d.project.FindDescriptorByName(name)
}
