package node

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
	"google.golang.org/grpc"
)

// front is one of the node's doors: a server and where it listens.
type front struct {
	role      string
	server    *transport.Server
	listeners []net.Listener
}

// needsServices reports whether what is behind the door is of no use while the
// domains' services are away.
func (f *front) needsServices() bool { return f.role == "aggregate" || f.role == "gateway" }

// door says what one front is to be.
type door struct {
	role     string
	port     int // 0 means any free one
	sockets  []string
	register func(grpc.ServiceRegistrar)
}

// noPort is the port of a door that has only a socket.
const noPort = -1

// listen binds every address and puts the roles behind it.
func (n *Node) listen() error {
	doors := []door{
		{"aggregate", n.config.Server.AggregatePort, n.domainSockets(), func(to grpc.ServiceRegistrar) {
			pb.RegisterAggregateCoordinatorServer(to, n.commands)
			pb.RegisterBusinessCoordinatorServer(to, n.friendly)
		}},
		{"query", n.config.Server.EventQueryPort, nil, func(to grpc.ServiceRegistrar) {
			pb.RegisterEventQueryServer(to, n.queries)
		}},
		{"gateway", n.config.Gateway.Port, []string{"gateway"}, n.registerDoor},
		{"stream", n.config.Stream.Port, []string{"stream"}, func(to grpc.ServiceRegistrar) {
			pb.RegisterEventStreamServer(to, n.streams)
			pb.RegisterProjectorServer(to, n.streams)
		}},
	}
	if n.events != nil && n.config.Transport.Type == "uds" {
		doors = append(doors, door{"log", noPort, []string{"log"}, func(to grpc.ServiceRegistrar) {
			pb.RegisterProjectorServer(to, n.events)
		}})
	}
	for _, door := range doors {
		if err := n.open(door); err != nil {
			return err
		}
	}
	return nil
}

// domainSockets names the socket of each domain's coordinator.
func (n *Node) domainSockets() []string {
	var names []string
	for _, domain := range n.config.Domains {
		names = append(names, "aggregate-"+domain.Name)
	}
	return names
}

// open makes one door.
func (n *Node) open(door door) error {
	opened := &front{role: door.role, server: transport.NewServer(transport.ServerOptions{
		MaxMessageBytes: n.config.Limits.MaxMessageBytes, Logger: observe.Component(n.logger, door.role), Descriptors: n.schema.Descriptors(),
		Unary: []grpc.UnaryServerInterceptor{rpcerr.UnaryServer()}, Stream: []grpc.StreamServerInterceptor{rpcerr.StreamServer()},
	})}
	door.register(opened.server)
	n.fronts = append(n.fronts, opened)
	for _, address := range n.addresses(door) {
		listener, err := transport.Listen(address)
		if err != nil {
			return fmt.Errorf("open the %s door: %w", door.role, err)
		}
		opened.listeners = append(opened.listeners, listener)
	}
	return nil
}

func (n *Node) addresses(door door) []transport.Address {
	var addresses []transport.Address
	if door.port != noPort {
		addresses = append(addresses, transport.Address{Network: "tcp", Address: net.JoinHostPort(n.config.Server.Host, strconv.Itoa(door.port))})
	}
	if n.config.Transport.Type == "uds" {
		for _, name := range door.sockets {
			addresses = append(addresses, transport.Address{Network: "unix", Address: filepath.Join(n.config.Transport.UDS.BasePath, name+".sock")})
		}
	}
	return addresses
}
