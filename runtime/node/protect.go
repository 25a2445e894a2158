package node

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// protect prepares what protects the doors: certificates, and who may do what.
func (n *Node) protect() (err error) {
	files := n.config.Transport.TLS
	logger := observe.Component(n.logger, "transport")
	n.tls, err = transport.OpenTLS(transport.TLSOptions{
		Cert: n.inProject(files.Cert), Key: n.inProject(files.Key), CA: n.inProject(files.CA), ClientCA: n.inProject(files.ClientCA),
		ClientAuth: transport.ClientAuth(files.ClientAuth), ServerName: files.ServerName, Logger: logger,
	})
	if err != nil {
		return err
	}
	n.guard, err = n.newGuard(true)
	if err == nil && n.config.Gateway.Auth.Coordinators {
		n.inner, err = n.newGuard(false)
	}
	return err
}

// newGuard returns who may do what at the gateway, or at the other doors, where
// rates do not count: behind them stand angz's own processes.
func (n *Node) newGuard(rates bool) (*guard.Guard, error) {
	auth := n.config.Gateway.Auth
	options := guard.Options{
		TokensFile: n.inProject(auth.TokensFile), PublicReflection: auth.PublicReflection, Logger: observe.Component(n.logger, "guard"),
	}
	for _, mode := range auth.Mode {
		if mode != "none" {
			options.Modes = append(options.Modes, guard.Mode(mode))
		}
	}
	for _, rule := range auth.Rules {
		options.Rules = append(options.Rules, guard.Rule{Identity: rule.Identity, Commands: rule.Commands, Queries: rule.Queries, Admin: rule.Admin})
	}
	if rates {
		options.RequestsPerSecond, options.Burst = float64(n.config.Limits.RequestsPerSecond), n.config.Limits.Burst
	}
	return guard.New(options)
}

// guardOf returns who watches over a door; nil for nobody.
func (n *Node) guardOf(role string) *guard.Guard {
	if role == "gateway" {
		return n.guard
	}
	return n.inner
}

// serverOptions says how a door is served. What comes first in the chain sees
// everything: traces and logs see the calls that the guard refuses.
func (n *Node) serverOptions(role string) transport.ServerOptions {
	logger := observe.Component(n.logger, role)
	unary := []grpc.UnaryServerInterceptor{n.options.Telemetry.UnaryServer(), observe.UnaryServer(logger)}
	stream := []grpc.StreamServerInterceptor{n.options.Telemetry.StreamServer(), observe.StreamServer(logger)}
	if watch := n.guardOf(role); watch != nil {
		unary, stream = append(unary, watch.Unary()), append(stream, watch.Stream())
	}
	options := transport.ServerOptions{
		MaxMessageBytes: n.config.Limits.MaxMessageBytes, MaxHeaderBytes: n.config.Limits.MaxHeaderBytes,
		MaxConnectionAge: time.Duration(n.config.Limits.MaxConnectionAgeSecs) * time.Second,
		Grace:            n.config.Server.Grace, Logger: logger, Descriptors: n.schema.Descriptors(), TLS: n.tls,
		Unary: append(unary, rpcerr.UnaryServer()), Stream: append(stream, rpcerr.StreamServer()),
	}
	options.Unary = slices.DeleteFunc(options.Unary, func(i grpc.UnaryServerInterceptor) bool { return i == nil })
	options.Stream = slices.DeleteFunc(options.Stream, func(i grpc.StreamServerInterceptor) bool { return i == nil })
	if role == "gateway" {
		options.MaxStreams = n.config.Limits.MaxConcurrentStreams
	}
	return options
}

// describeDoors says for each door where it is and how it is protected. On a
// laptop, whose doors nobody else can reach, that is of no interest.
func (n *Node) describeDoors(ctx context.Context) {
	usual := slog.LevelInfo
	if n.options.Telemetry == nil {
		usual = slog.LevelDebug
	}
	for _, front := range n.fronts {
		for _, listener := range front.listeners {
			text, exposed := guard.Door{Name: front.role, Address: listener.Addr(), TLS: n.tls, Guard: n.guardOf(front.role)}.Describe()
			level := usual
			if exposed {
				level = slog.LevelWarn
			}
			n.logger.Log(ctx, level, text)
		}
	}
}

// dialOptions says how another process is reached.
func (n *Node) dialOptions(name string) transport.DialOptions {
	return transport.DialOptions{Name: name, MaxMessageBytes: n.config.Limits.MaxMessageBytes, TLS: n.tls}
}
