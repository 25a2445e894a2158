package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/transport"
)

// saySoon is when a call that waits for a service is told of.
const saySoon = 300 * time.Millisecond

// patient is a connection to one of the user's services that comes and goes while
// somebody works on it. Calls wait for it, see transport.Client; this says so in
// the log, once for each time that it is away.
type patient struct {
	grpc.ClientConnInterface
	client *transport.Client
	name   string // of the service
	logger *slog.Logger

	mu      sync.Mutex
	waiting int  // calls that wait
	told    bool // that they wait
}

// patiently wraps a connection to a service when the node is to be patient.
func (n *Node) patiently(conn grpc.ClientConnInterface, client *transport.Client, name string) grpc.ClientConnInterface {
	if n.options.Patience == 0 {
		return conn
	}
	return &patient{ClientConnInterface: conn, client: client, name: name, logger: n.logger}
}

func (p *patient) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	soon := time.AfterFunc(saySoon, p.notice)
	defer soon.Stop()
	p.count(1)
	defer p.count(-1)
	return p.ClientConnInterface.Invoke(ctx, method, request, response, options...)
}

func (p *patient) count(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += by
	if p.waiting == 0 || p.client.Connected() {
		p.told = false
	}
}

// notice says that calls wait, if that is why one takes long.
func (p *patient) notice() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told || p.client.Connected() {
		return
	}
	p.told = true
	p.logger.Info("calls wait for "+p.name+" until it is back", "component", p.name, "count", p.waiting)
}
