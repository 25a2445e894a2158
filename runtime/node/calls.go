package node

import (
	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/transport"
)

// called returns a connection on which calls are made for a component, as
// Options.Calls wants it.
func (n *Node) called(component string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	if n.options.Calls == nil {
		return conn
	}
	return n.options.Calls(component, conn)
}

// serviceOf returns the connection on which a component's service is called.
func (n *Node) serviceOf(kind, name string, client *transport.Client) grpc.ClientConnInterface {
	return n.called(kind+"/"+name, n.patiently(n.traced(client, name), client, name))
}
