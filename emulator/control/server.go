package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/proto/angzpb"
	"github.com/angz-dev/angz/runtime/transport"
)

// grace is how long calls under way may take when the emulator ends.
const grace = time.Second

// Listener is the control socket of a claimed project.
type Listener struct {
	net.Listener
}

// Listen makes the project's control socket, which only its owner can use. Calls
// wait from then on until Serve answers them.
func (c *Claim) Listen() (*Listener, error) {
	path := c.record.Socket
	if filepath.Dir(path) != filepath.Join(c.record.Dir, folderName) {
		if err := makePrivate(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("make the control socket: %w", err)
		}
	}
	// Whoever has the lock has the socket: what is there was left by one that was
	// killed.
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("make the control socket: %s is in the way: remove it", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("make the control socket: %w", err)
		}
	}
	listener, err := transport.Listen(transport.Address{Network: "unix", Address: path})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	return &Listener{listener}, nil
}

// Serve answers those who look at the emulator or steer it until the context
// ends. It removes the socket. Those who watch are told that the emulator has
// ended.
func (l *Listener) Serve(ctx context.Context, emulator Emulator, logger *slog.Logger) error {
	server := transport.NewServer(transport.ServerOptions{Grace: grace, Logger: logger})
	angzpb.RegisterControlServer(server, &service{emulator: emulator, ended: ctx.Done()})
	server.SetServing(true)
	return server.Run(ctx, l)
}

// service translates between the wire and the emulator.
type service struct {
	angzpb.UnimplementedControlServer
	emulator Emulator
	ended    <-chan struct{} // closed when the emulator stops serving
}

// GetStatus implements angzpb.ControlServer.
func (s *service) GetStatus(context.Context, *angzpb.StatusQuery) (*angzpb.Status, error) {
	return statusMessage(s.emulator.Status()), nil
}

// WatchStatus implements angzpb.ControlServer.
func (s *service) WatchStatus(_ *angzpb.StatusQuery, stream grpc.ServerStreamingServer[angzpb.Status]) error {
	for {
		changed := s.emulator.Changed()
		if err := stream.Send(statusMessage(s.emulator.Status())); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.ended:
			return nil
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// Restart implements angzpb.ControlServer.
func (s *service) Restart(ctx context.Context, request *angzpb.RestartRequest) (*angzpb.RestartAccepted, error) {
	now, names := s.emulator.Status(), request.GetServices().GetNames()
	if err := s.check(names, now.serviceNames()); err != nil {
		return nil, err
	}
	for _, each := range now.Services {
		if each.Elsewhere && slices.Contains(names, each.Name) {
			return nil, status.Errorf(codes.FailedPrecondition, "%s has no \"run\" in angz.yaml: you start it, so restart it where you did", each.Name)
		}
	}
	if err := s.emulator.Restart(ctx, names, request.GetReason()); err != nil {
		return nil, failure(err)
	}
	return &angzpb.RestartAccepted{}, nil
}

// Pause implements angzpb.ControlServer.
func (s *service) Pause(_ context.Context, selection *angzpb.ServiceSelection) (*angzpb.PauseAccepted, error) {
	if err := s.check(selection.GetNames(), s.emulator.Status().serviceNames()); err != nil {
		return nil, err
	}
	return &angzpb.PauseAccepted{}, failure(s.emulator.Pause(selection.GetNames()...))
}

// Resume implements angzpb.ControlServer.
func (s *service) Resume(_ context.Context, selection *angzpb.ServiceSelection) (*angzpb.ResumeAccepted, error) {
	if err := s.check(selection.GetNames(), s.emulator.Status().serviceNames()); err != nil {
		return nil, err
	}
	return &angzpb.ResumeAccepted{}, failure(s.emulator.Resume(selection.GetNames()...))
}

// Stop implements angzpb.ControlServer.
func (s *service) Stop(context.Context, *angzpb.StopRequest) (*angzpb.StopAccepted, error) {
	s.emulator.Stop()
	return &angzpb.StopAccepted{}, nil
}

// ReadLogs implements angzpb.ControlServer.
func (s *service) ReadLogs(query *angzpb.LogQuery, stream grpc.ServerStreamingServer[angzpb.LogLine]) error {
	filter := filterOf(query)
	now := s.emulator.Status()
	if err := s.check(filter.Names, append(now.serviceNames(), now.OtherLogs...)); err != nil {
		return err
	}
	reading, stop := context.WithCancel(stream.Context())
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.ended:
			stop()
		case <-reading.Done():
		}
	}()
	err := s.emulator.Logs(reading, filter, func(line LogLine) error { return stream.Send(lineMessage(line)) })
	stop()
	<-watched
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return failure(err)
}

func (s *service) check(names, known []string) error {
	if err := checkNames(names, known); err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	return nil
}

// failure gives an error of the emulator a code, unless it has one.
func failure(err error) error {
	if _, has := status.FromError(err); has {
		return err
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}
