package sqlite

import (
	"context"
	"errors"
	"sync"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// pool lends connections, at most a fixed number at once, and opens them when
// they are first needed. A connection on which something failed is not used
// again.
type pool struct {
	tickets chan struct{} // one for each connection that may be lent
	open    func(context.Context) (*conn, error)

	mu   sync.Mutex
	idle []*conn
}

// newPool returns a pool of up to size connections. Without open it only lends
// what it is given, and keeps it whatever happens.
func newPool(size int, open func(context.Context) (*conn, error)) *pool {
	p := &pool{tickets: make(chan struct{}, size), open: open}
	for range size {
		p.tickets <- struct{}{}
	}
	return p
}

// get lends a connection until put. It waits for one until the context ends.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case _, open := <-p.tickets:
		if !open {
			return nil, eventstore.ErrClosed
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := p.pop(); c != nil {
		return c, nil
	}
	c, err := p.open(context.WithoutCancel(ctx))
	if err != nil {
		p.tickets <- struct{}{}
		return nil, err
	}
	return c, nil
}

// pop prefers the connection used last: its cache is warm, and the others need
// not be opened at all.
func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

// put takes a connection back; err is what the work with it ended with.
func (p *pool) put(c *conn, err error) {
	if p.open != nil && errors.Is(err, eventstore.ErrUnavailable) {
		_ = c.close() // the caller already has the error that matters
	} else {
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	}
	p.tickets <- struct{}{}
}

// close waits for all connections to come back and closes them. Later calls of
// get fail with ErrClosed.
func (p *pool) close() error {
	for range cap(p.tickets) {
		<-p.tickets
	}
	close(p.tickets)
	var failed error
	for c := p.pop(); c != nil; c = p.pop() {
		failed = errors.Join(failed, c.close())
	}
	return failed
}
