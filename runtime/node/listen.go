package node

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/transport"
)

// front is one of the node's doors: a server and where it listens.
type front struct {
	door
	listeners []net.Listener
	server    *transport.Server // nil until what is behind the door is ready
}

// door says what one front is to be.
type door struct {
	role    string
	port    int // 0 means any free one
	sockets []string
	// needs names the kinds of dependencies that must all be there for what is
	// behind the door to be of use, and anyOf those of which one is enough.
	needs, anyOf []string
	register     func(grpc.ServiceRegistrar)
}

// noPort is the port of a door that has only a socket.
const noPort = -1

// doors lists the doors of this process.
func (n *Node) doors() []door {
	switch n.options.Role {
	case "aggregate":
		commands := n.commandsDoor()
		commands.port = n.config.RolePort("aggregate", config.Service{})
		return []door{commands, n.queryDoor()}
	case "projector", "saga":
		return n.componentDoor()
	case "gateway":
		return []door{n.gatewayDoor()}
	case "stream":
		streams := n.streamDoor()
		streams.port = n.config.RolePort("stream", config.Service{})
		return []door{streams}
	case "log":
		log := n.logDoor()
		log.port = n.config.RolePort("log", config.Service{})
		return []door{log}
	}
	doors := []door{n.commandsDoor(), n.queryDoor(), n.gatewayDoor(), n.streamDoor()}
	if n.options.Events != nil && n.config.Transport.Type == "uds" {
		doors = append(doors, n.logDoor())
	}
	return doors
}

func (n *Node) commandsDoor() door {
	return door{
		role: "aggregate", port: n.config.Server.AggregatePort, sockets: socketsOf("aggregate-", n.parts.domains), needs: []string{kindStore, "domain"},
		register: func(to grpc.ServiceRegistrar) {
			pb.RegisterAggregateCoordinatorServer(to, n.commands)
			pb.RegisterBusinessCoordinatorServer(to, n.friendly)
			n.registerAdmin(to)
			if n.parts.all() {
				n.registerPeers(to)
			} else {
				pb.RegisterEventQueryServer(to, n.queries)
			}
		},
	}
}

func (n *Node) queryDoor() door {
	return door{role: "query", port: n.config.Server.EventQueryPort, needs: []string{kindStore}, register: func(to grpc.ServiceRegistrar) {
		pb.RegisterEventQueryServer(to, n.queries)
		n.registerAdmin(to)
	}}
}

func (n *Node) gatewayDoor() door {
	made := door{role: "gateway", port: n.config.Gateway.Port, sockets: []string{"gateway"}, register: n.registerDoor}
	if n.parts.all() {
		made.needs = []string{kindStore, "domain"}
	} else {
		made.port, made.anyOf = n.config.RolePort("gateway", config.Service{}), []string{kindCoordinator}
	}
	return made
}

func (n *Node) streamDoor() door {
	return door{role: "stream", port: n.config.Stream.Port, sockets: []string{"stream"}, needs: []string{kindStore}, register: func(to grpc.ServiceRegistrar) {
		pb.RegisterEventStreamServer(to, n.streams)
		pb.RegisterProjectorServer(to, n.streams)
	}}
}

func (n *Node) logDoor() door {
	return door{role: "log", port: noPort, sockets: []string{"log"}, needs: []string{kindStore}, register: func(to grpc.ServiceRegistrar) {
		pb.RegisterProjectorServer(to, n.events)
	}}
}

// componentDoor is the door of a projector's or saga's coordinator.
func (n *Node) componentDoor() []door {
	role, served := n.options.Role, append(append([]config.Service(nil), n.parts.projectors...), n.parts.sagas...)
	if len(served) != 1 {
		return nil // the configuration has been found wanting already
	}
	return []door{{
		role: role, port: n.config.RolePort(role, served[0]), sockets: socketsOf("coordinator-"+role+"-", served), needs: []string{kindStore, role},
		register: func(to grpc.ServiceRegistrar) {
			n.registerPeers(to)
			pb.RegisterEventQueryServer(to, n.queries)
			n.registerAdmin(to)
		},
	}}
}

// socketsOf names the socket of each service's coordinator.
func socketsOf(prefix string, services []config.Service) []string {
	var names []string
	for _, service := range services {
		names = append(names, prefix+service.Name)
	}
	return names
}

// bind binds every address, so that a port in use is found before anything
// else is done.
func (n *Node) bind() error {
	for _, door := range n.doors() {
		opened := &front{door: door}
		n.fronts = append(n.fronts, opened)
		for _, address := range n.addresses(door) {
			listener, err := n.options.Listen(address)
			if err != nil {
				return fmt.Errorf("open the %s door: %w", door.role, err)
			}
			opened.listeners = append(opened.listeners, listener)
		}
	}
	return nil
}

// openDoors puts the roles behind the doors.
func (n *Node) openDoors() {
	for _, front := range n.fronts {
		front.server = transport.NewServer(n.serverOptions(front.role))
		front.register(front.server)
	}
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
