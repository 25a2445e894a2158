package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Hold answers on listeners behind which nothing is ready yet, until the context
// ends: the health service says NOT_SERVING, and every other call is told why and
// that it has not been looked at, as if nobody were there. The listeners stay
// open, and a server may be run on them afterwards.
func Hold(ctx context.Context, options ServerOptions, why string, listeners ...net.Listener) error {
	state := health.NewServer()
	state.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer(append(options.protection(), grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return withReason(reasonUnreachable, why)
	}))...)
	healthpb.RegisterHealthServer(server, state)
	held := make([]*held, len(listeners))
	group, ctx := errgroup.WithContext(ctx)
	for i, listener := range listeners {
		held[i] = hold(listener)
		group.Go(func() error {
			if err := server.Serve(held[i]); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		// Calls are answered at once, so there is nothing to wait for.
		server.Stop()
		return nil
	})
	err := group.Wait()
	for _, listener := range held {
		err = errors.Join(err, listener.release())
	}
	return err
}

// held is a listener that can be closed and used again.
type held struct {
	net.Listener
	closed chan struct{}
	close  func()
}

func hold(listener net.Listener) *held {
	h := &held{Listener: listener, closed: make(chan struct{})}
	h.close = sync.OnceFunc(func() {
		close(h.closed)
		_ = h.setDeadline(time.Now()) // what cannot be woken ends with its listener
	})
	return h
}

// Accept returns net.ErrClosed once Close has been called.
func (h *held) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	select {
	case <-h.closed:
		if err == nil {
			_ = conn.Close() // its client connects again
		}
		return nil, net.ErrClosed
	default:
	}
	return conn, err
}

// Close ends Accept and leaves the listener open.
func (h *held) Close() error {
	h.close()
	return nil
}

// release makes the listener usable again.
func (h *held) release() error {
	h.close()
	return h.setDeadline(time.Time{})
}

func (h *held) setDeadline(at time.Time) error {
	for inner := h.Listener; ; {
		switch listener := inner.(type) {
		case interface{ SetDeadline(time.Time) error }:
			return listener.SetDeadline(at)
		case interface{ Unwrap() net.Listener }:
			inner = listener.Unwrap()
		default:
			return fmt.Errorf("a listener of type %T cannot be held: %w", inner, os.ErrNoDeadline)
		}
	}
}

// Doors keeps addresses open while the servers behind them are replaced: what
// connects in between waits until the next one accepts. It is for one goroutine
// at a time.
type Doors struct {
	open []*openDoor
}

// openDoor is a listener that outlives its servers.
type openDoor struct {
	asked    Address // as it was asked for, perhaps with port 0
	listener net.Listener
	inUse    bool
}

// Listen is the function Listen for a server that may be replaced: closing what
// it returns leaves the address open for the next one who asks for it.
func (d *Doors) Listen(address Address) (net.Listener, error) {
	for _, door := range d.open {
		if door.asked == address && !door.inUse {
			door.inUse = true
			return hold(door.listener), nil
		}
	}
	listener, err := Listen(address)
	if err != nil {
		return nil, err
	}
	d.open = append(d.open, &openDoor{address, listener, true})
	return hold(listener), nil
}

// Change begins a replacement: the servers before have ended, and whatever they
// listened on may be asked for again.
func (d *Doors) Change() error {
	var errs []error
	for _, door := range d.open {
		door.inUse = false
		errs = append(errs, (&held{Listener: door.listener}).setDeadline(time.Time{}))
	}
	return errors.Join(errs...)
}

// Prune closes the addresses that nobody has asked for since Change.
func (d *Doors) Prune() error {
	var errs []error
	var used []*openDoor
	for _, door := range d.open {
		if door.inUse {
			used = append(used, door)
			continue
		}
		errs = append(errs, door.listener.Close())
	}
	d.open = used
	return errors.Join(errs...)
}

// Close closes all addresses.
func (d *Doors) Close() error {
	for _, door := range d.open {
		door.inUse = false
	}
	return d.Prune()
}
