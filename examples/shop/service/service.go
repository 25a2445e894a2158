// Package service is all the gRPC that the shop's Go components need, so that
// their own files hold nothing but business rules.
package service

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
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	maxMessageBytes = 16 << 20
	grace           = 5 * time.Second // for the calls in flight when told to stop
)

// run serves what register registers until the process is told to stop.
func run(register func(grpc.ServiceRegistrar)) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := listen()
	if err == nil {
		slog.Info("listening", "address", listener.Addr().String())
		err = serve(ctx, listener, register)
	}
	if err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
	slog.Info("stopped")
}

// serve answers calls until ctx ends, then finishes those in flight.
func serve(ctx context.Context, listener net.Listener, register func(grpc.ServiceRegistrar)) error {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes))
	register(server)
	healthpb.RegisterHealthServer(server, health.NewServer())

	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		defer time.AfterFunc(grace, server.Stop).Stop()
		server.GracefulStop()
	}()
	err := server.Serve(listener)
	cancel()
	<-stopped
	return err
}

// listen opens the place that the environment names: PORT (on loopback, or HOST),
// or a socket in the folder that angz shares with its services.
func listen() (net.Listener, error) {
	if os.Getenv("TRANSPORT_TYPE") == "uds" {
		kind := os.Getenv("SERVICE_NAME")
		name := os.Getenv(map[string]string{"business": "DOMAIN", "saga": "SAGA_NAME", "projector": "PROJECTOR_NAME"}[kind])
		return listenUnix(filepath.Join(os.Getenv("UDS_BASE_PATH"), kind+"-"+name+".sock"))
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
