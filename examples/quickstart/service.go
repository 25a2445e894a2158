// Command todo keeps to-do lists. Its rules are in todo.go; this file is all the
// gRPC around them and needs no change when the rules do.
package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

const (
	maxMessageBytes = 16 << 20
	grace           = 5 * time.Second // for the calls in flight when told to stop
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := serve(ctx); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

// Events are what a command leads to, in order.
type Events []proto.Message

// Reject refuses a command that the state does not allow.
func Reject(format string, words ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, words...)
}

// Invalid refuses a command that no state would allow.
func Invalid(format string, words ...any) error {
	return status.Errorf(codes.InvalidArgument, format, words...)
}

// Unhandled refuses a command that there is no rule for.
func Unhandled(command proto.Message) error {
	return status.Errorf(codes.Unimplemented, "no handler for command %s", command.ProtoReflect().Descriptor().FullName())
}

type aggregate struct {
	pb.UnimplementedAggregateServer
}

// Handle decides the commands of one book, each on what the one before led to.
func (aggregate) Handle(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	list, err := rebuild(request.GetEvents())
	if err != nil {
		return nil, err
	}
	book := &pb.EventBook{Cover: request.GetCommand().GetCover()}
	for _, page := range request.GetCommand().GetPages() {
		events, err := handlePage(page, list)
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			packed, err := anypb.New(event)
			if err != nil {
				return nil, err
			}
			// The page carries no number: angz gives it the next one.
			book.Pages = append(book.Pages, &pb.EventPage{Event: packed})
			Apply(list, event)
		}
	}
	return &pb.BusinessResponse{Result: &pb.BusinessResponse_Events{Events: book}}, nil
}

// Replay makes the list of a history, so that people can look at it: each task, and
// whether it is done.
func (aggregate) Replay(_ context.Context, request *pb.ReplayRequest) (*pb.ReplayResponse, error) {
	list, err := rebuild(request.GetEvents())
	if err != nil {
		return nil, err
	}
	shown := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for task, done := range list {
		shown.Fields[task] = structpb.NewBoolValue(done)
	}
	packed, err := anypb.New(shown)
	return &pb.ReplayResponse{State: packed}, err
}

// rebuild returns the list after a book of events. A snapshot in it is what Replay
// has answered before.
func rebuild(history *pb.EventBook) (List, error) {
	list, before := List{}, new(structpb.Struct)
	if snapshot := history.GetSnapshot().GetState(); snapshot != nil {
		if err := snapshot.UnmarshalTo(before); err != nil {
			return nil, status.Errorf(codes.Internal, "the snapshot cannot be read: %v", err)
		}
	}
	for task, done := range before.Fields {
		list[task] = done.GetBoolValue()
	}
	for _, page := range history.GetPages() {
		event, err := page.Event.UnmarshalNew()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "event %d cannot be read: %v", page.GetNum(), err)
		}
		Apply(list, event)
	}
	return list, nil
}

func handlePage(page *pb.CommandPage, list List) (Events, error) {
	command, err := page.Command.UnmarshalNew()
	if errors.Is(err, protoregistry.NotFound) {
		return nil, status.Errorf(codes.Unimplemented, "no handler for command %s", page.Command.MessageName())
	}
	if err != nil {
		return nil, Invalid("%s cannot be read: %v", page.Command.MessageName(), err)
	}
	return Handle(command, list)
}

// serve answers calls until ctx ends, then finishes those in flight.
func serve(ctx context.Context) error {
	listener, err := listen()
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes))
	pb.RegisterAggregateServer(server, aggregate{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	slog.Info("listening", "address", listener.Addr().String())

	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		defer time.AfterFunc(grace, server.Stop).Stop()
		server.GracefulStop()
	}()
	err = server.Serve(listener)
	cancel()
	<-stopped
	slog.Info("stopped")
	return err
}

// listen opens the place that the environment names: PORT (on loopback, or HOST),
// or a socket in the folder that angz shares with its services.
func listen() (net.Listener, error) {
	if os.Getenv("TRANSPORT_TYPE") == "uds" {
		name := os.Getenv("SERVICE_NAME") + "-" + os.Getenv("DOMAIN") + ".sock"
		return listenUnix(filepath.Join(os.Getenv("UDS_BASE_PATH"), name))
	}
	port := os.Getenv("PORT")
	if port == "" {
		return nil, errors.New("no PORT in the environment; start this service with \"angz dev\", or set PORT")
	}
	return net.Listen("tcp", net.JoinHostPort(cmp.Or(os.Getenv("HOST"), "127.0.0.1"), port))
}

func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// A predecessor that was killed leaves its socket behind.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}
