package node

import (
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/explore"
	"github.com/angz-dev/angz/runtime/gateway"
)

// buildExplorer makes the role by which people see what there is.
func (n *Node) buildExplorer() {
	if !n.parts.store {
		return
	}
	options := explore.Options{
		Store: n.store, Domains: n.replays, StoreName: n.config.Storage.Type, BusName: n.config.Messaging.Type, Components: components(n.config),
	}
	for _, domain := range n.config.Domains {
		options.Served = append(options.Served, domain.Name)
	}
	n.explorer = explore.New(options)
}

// components describes the services that the configuration names.
func components(c *config.Config) []*pb.Component {
	var all []*pb.Component
	for _, list := range []struct {
		kind     pb.ComponentKind
		services []config.Service
	}{
		{pb.ComponentKind_COMPONENT_KIND_DOMAIN, c.Domains},
		{pb.ComponentKind_COMPONENT_KIND_PROJECTOR, c.Projectors},
		{pb.ComponentKind_COMPONENT_KIND_SAGA, c.Sagas},
	} {
		for _, service := range list.services {
			component := &pb.Component{Kind: list.kind, Name: service.Name, Address: service.Address, From: service.Domains, Synchronous: service.Synchronous}
			if list.kind != pb.ComponentKind_COMPONENT_KIND_DOMAIN && len(component.From) == 0 {
				for _, domain := range c.Domains { // none means all
					component.From = append(component.From, domain.Name)
				}
			}
			all = append(all, component)
		}
	}
	return all
}

// explorerOf returns whom a gateway asks about a domain, nil for one that nobody
// serves.
func explorerOf(routes gateway.Routes) func(domain string) pb.ExplorerClient {
	return func(domain string) pb.ExplorerClient {
		conn, known := routes[domain]
		if !known {
			conn, known = routes[gateway.AnyDomain]
		}
		if !known {
			return nil
		}
		return pb.NewExplorerClient(conn)
	}
}
