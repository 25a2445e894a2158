package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// DefaultDebugAddress is where a process in production shows its metrics when
// nothing else is said: the port that OpenTelemetry gave to Prometheus, on the
// loopback address.
const DefaultDebugAddress = "127.0.0.1:9464"

// DebugOptions describe the page behind the scenes of one process.
type DebugOptions struct {
	// Address is host:port; empty for no such page.
	Address string
	// Chosen says that a person chose the address. One that nobody chose may be
	// taken by another process of this machine, which is told and no mistake.
	Chosen bool
	// Missing names what the process waits for, nothing when it is ready. Nil is
	// ready at all times.
	Missing func() []string
	Metrics *Metrics
	Logger  *slog.Logger
}

// Debug serves a process's metrics, health and profiles over HTTP:
//
//	/metrics       in Prometheus's form
//	/healthz       200 while the process lives
//	/readyz        200 when it is ready, else 503 with what it waits for
//	/debug/pprof/  profiles, for go tool pprof
//
// It is for people and machines that may know everything about the process, so it
// belongs on a loopback address. A nil Debug serves nothing.
type Debug struct {
	listener net.Listener
	server   *http.Server
}

// ListenDebug takes the address and returns a Debug to be run; nil when there is
// none to take.
func ListenDebug(options DebugOptions) (*Debug, error) {
	if options.Address == "" {
		return nil, nil
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", options.Address)
	if err != nil && !options.Chosen && errors.Is(err, syscall.EADDRINUSE) {
		options.Logger.Warn("the address for metrics is taken, so this process shows none; give each process of a machine its own debug.address",
			KeyAddress, options.Address)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("show metrics: %w; choose another debug.address, or off", err)
	}
	local := isLoopback(listener.Addr())
	if !local {
		options.Logger.Warn("metrics and profiles are shown to the network without any protection; debug.address should be a loopback address",
			KeyAddress, listener.Addr().String())
	}
	server := &http.Server{
		Handler: options.routes(local), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(options.Logger.Handler(), slog.LevelDebug),
	}
	return &Debug{listener, server}, nil
}

func isLoopback(address net.Addr) bool {
	found, err := netip.ParseAddrPort(address.String())
	return err == nil && found.Addr().IsLoopback()
}

// Address returns where it listens; "" for nil.
func (d *Debug) Address() string {
	if d == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// Close gives the address back when Run will not be called.
func (d *Debug) Close() error {
	if d == nil {
		return nil
	}
	return d.listener.Close()
}

// Run serves until the context ends and returns nil then. Requests under way are
// cut: none of them changes anything.
func (d *Debug) Run(ctx context.Context) error {
	if d == nil {
		<-ctx.Done()
		return nil
	}
	requests, cut := context.WithCancel(ctx)
	defer cut()
	d.server.BaseContext = func(net.Listener) context.Context { return requests }
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = d.server.Close()
	})
	err := d.server.Serve(d.listener)
	if stop() {
		return fmt.Errorf("show metrics on %s: %w", d.listener.Addr(), err)
	}
	<-stopped
	return nil
}

func (o DebugOptions) routes(local bool) http.Handler {
	mux := http.NewServeMux()
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics.Handler())
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", o.readiness)
	profiles(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "/metrics\n/healthz\n/readyz\n/debug/pprof/")
	})
	if local {
		return forThisMachine(mux)
	}
	return mux
}

func (o DebugOptions) readiness(w http.ResponseWriter, _ *http.Request) {
	if o.Missing != nil {
		if missing := o.Missing(); len(missing) > 0 {
			say(w, http.StatusServiceUnavailable, "waiting for "+strings.Join(missing, ", "))
			return
		}
	}
	say(w, http.StatusOK, "ready")
}

// say answers with plain text.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text) // the caller has left if it fails
}

// forThisMachine refuses requests for a name that somebody else has made to mean
// this machine, so that no page in a browser can read what only this machine may.
func forThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil && host != "localhost" {
			say(w, http.StatusForbidden, "ask for an IP address or localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}
