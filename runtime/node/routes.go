package node

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/discovery"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/transport"
)

// The kinds of dependencies that are not the user's services.
const (
	kindStore       = "store"
	kindCoordinator = "coordinator"
	kindFollower    = "follower"
	kindStream      = "stream"
)

// routes says where the commands of each domain go: in a process with every role
// to itself, else to the coordinators that the configuration names.
func (n *Node) routes() (gateway.Routes, error) {
	unlisted := n.config.SagaCompensation.FallbackDomain
	routes := gateway.Routes{}
	if n.parts.all() {
		for _, domain := range n.parts.domains {
			routes[domain.Name] = n.memory.aggregate
		}
		routes[unlisted] = n.memory.aggregate
		return routes, nil
	}
	addresses := n.config.CommandAddresses()
	for _, domain := range slices.Sorted(maps.Keys(addresses)) {
		name := "the coordinator of domain " + domain
		if domain == gateway.AnyDomain {
			name = "the coordinator of all other domains"
		}
		ring, err := n.ring(kindCoordinator, name, addresses[domain])
		if err != nil {
			return nil, err
		}
		routes[domain] = ring
	}
	if _, known := routes[unlisted]; !known && len(n.others) > 0 {
		everyone, err := n.everyCoordinator()
		if err != nil {
			return nil, err
		}
		routes[unlisted] = everyone
	}
	return routes, nil
}

// everyCoordinator returns a connection to whichever coordinator is there: they
// share one log, so any of them answers queries, and any records what angz
// itself has to say.
func (n *Node) everyCoordinator() (*discovery.Ring, error) {
	var all []string
	for _, addresses := range n.config.CommandAddresses() {
		all = append(all, addresses...)
	}
	slices.Sort(all)
	return n.ring(kindCoordinator, "a coordinator", slices.Compact(all))
}

// ring connects to several instances of a role in another process.
func (n *Node) ring(kind, name string, addresses []string) (*discovery.Ring, error) {
	var members []discovery.Member
	for _, address := range addresses {
		client, known := n.others[address]
		if !known {
			var err error
			if client, err = transport.Dial(address, n.dialOptions(name)); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			n.others[address] = client
			n.dependencies = append(n.dependencies, dependency{kind, watchRole(client)})
		}
		members = append(members, instance{n.traced(client, ""), client})
	}
	return discovery.NewRing(transport.Unreachable, members...), nil
}

// instance is a member of a ring, whose calls are traced.
type instance struct {
	grpc.ClientConnInterface
	client *transport.Client
}

func (i instance) Address() string { return i.client.Address() }
func (i instance) Connected() bool { return i.client.Connected() }

// followers returns whom commands may wait for: this process's projectors and
// sagas, or those of other processes whose addresses are known.
func (n *Node) followers() ([]aggregate.Follower, error) {
	if n.parts.all() {
		return n.ownFollowers(), nil
	}
	var followers []aggregate.Follower
	for _, service := range n.config.Projectors {
		conn, err := n.follower("projector", service)
		if err != nil {
			return nil, err
		}
		if conn != nil {
			followers = append(followers, aggregate.Follower{
				Name: service.Name, Wants: wants(service), Synchronous: service.Synchronous, Projector: pb.NewProjectorCoordinatorClient(conn),
			})
		}
	}
	for _, service := range n.config.Sagas {
		conn, err := n.follower("saga", service)
		if err != nil {
			return nil, err
		}
		if conn != nil {
			followers = append(followers, aggregate.Follower{
				Name: service.Name, Wants: wants(service), Synchronous: service.Synchronous, Saga: pb.NewSagaCoordinatorClient(conn),
			})
		}
	}
	return followers, nil
}

// follower connects to the coordinators of a projector or saga; nil when nothing
// says where they are.
func (n *Node) follower(role string, service config.Service) (grpc.ClientConnInterface, error) {
	addresses := n.config.CoordinatorAddresses(role, service)
	if len(addresses) == 0 {
		return nil, nil
	}
	ring, err := n.ring(kindFollower, fmt.Sprintf("the coordinator of %s %s", role, service.Name), addresses)
	if err != nil {
		return nil, err
	}
	return addressed{ring, service.Name}, nil
}

func wants(service config.Service) func(string) bool {
	return func(domain string) bool { return delivery.Wants(service.Domains, domain) }
}
