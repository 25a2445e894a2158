package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	firstPoll   = 2 * time.Millisecond
	longestPoll = 100 * time.Millisecond
	askTime     = 2 * time.Second // for one answer about the service's health
)

// split says how an address is dialled.
func split(address string) (network, dialled string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	if strings.HasPrefix(address, "/") || strings.HasPrefix(address, ".") {
		return "unix", address
	}
	for _, scheme := range []string{"http://", "https://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	return "tcp", strings.TrimSuffix(address, "/")
}

// vacate makes sure that the service about to be started can have its address:
// a socket that a killed process left behind goes; somebody who answers there
// would be taken for the service, and is refused.
func vacate(address string) error {
	network, dialled := split(address)
	conn, err := net.DialTimeout(network, dialled, time.Second)
	if err == nil {
		_ = conn.Close()
		holder := "another program"
		if found, ok := Holder(dialled); ok && network == "tcp" {
			holder = found
		}
		return fmt.Errorf("its address %s is in use by %s: stop that, or configure another address", dialled, holder)
	}
	if network != "unix" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dialled), 0o700); err != nil {
		return fmt.Errorf("make the folder of its socket: %w", err)
	}
	return removeSocket(dialled)
}

// removeSocket removes a socket at which nobody answers.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale socket: %w", err)
	}
	return nil
}

// probe finds out when a service is ready.
type probe struct {
	address string
	ready   chan struct{} // closed when the service is ready
	done    chan struct{} // closed when the probe has ended

	mu      sync.Mutex
	problem string // why it was not ready when last asked
}

func newProbe(address string) *probe {
	return &probe{address: address, ready: make(chan struct{}), done: make(chan struct{})}
}

// run asks until the service is ready or the context ends.
func (p *probe) run(ctx context.Context) {
	defer close(p.done)
	for wait := firstPoll; ctx.Err() == nil; wait = min(wait*5/4, longestPoll) {
		err := p.ask(ctx)
		if err == nil {
			close(p.ready)
			return
		}
		p.mu.Lock()
		p.problem = err.Error()
		p.mu.Unlock()
		pause(ctx, jitter(wait))
	}
}

// why returns why the service was not ready when last asked.
func (p *probe) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problem
}

// ask returns nil if the service is ready: it says so, or it accepts
// connections and has no health service to ask.
func (p *probe) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	network, dialled := split(p.address)
	conn, err := (&net.Dialer{}).DialContext(ctx, network, dialled)
	if err != nil {
		return fmt.Errorf("nothing accepts connections at %s", dialled)
	}
	if strings.HasPrefix(p.address, "https://") {
		return conn.Close()
	}
	return askHealth(ctx, conn)
}

func askHealth(ctx context.Context, conn net.Conn) error {
	once := make(chan net.Conn, 1)
	once <- conn
	client, err := grpc.NewClient("passthrough:///service",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case conn := <-once:
				return conn, nil
			default:
				return nil, errors.New("the connection was lost")
			}
		}))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer conn.Close() // of no effect if the client has done it
	defer client.Close()
	answer, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil
	case err != nil:
		return fmt.Errorf("it accepts connections, but its health service fails: %s", status.Convert(err).Message())
	case answer.Status != healthpb.HealthCheckResponse_SERVING:
		return fmt.Errorf("its health service says %s", answer.Status)
	}
	return nil
}
