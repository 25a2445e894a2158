package node

import "github.com/angz-dev/angz/runtime/config"

// parts says which roles a process has, and for which of the user's services.
type parts struct {
	domains, projectors, sagas []config.Service
	commands                   bool // decides commands
	gateway                    bool // is the clients' door
	stream                     bool // lets clients watch correlations
	log                        bool // prints events
	store                      bool // reads or writes the log by itself
}

// partsOf returns what a process of a role has.
func partsOf(c *config.Config, role, name string) parts {
	switch role {
	case "aggregate":
		return parts{domains: c.Served(role, name), commands: true, store: true}
	case "projector":
		return parts{projectors: c.Served(role, name), store: true}
	case "saga":
		return parts{sagas: c.Served(role, name), store: true}
	case "gateway":
		return parts{gateway: true}
	case "stream":
		return parts{stream: true, store: true}
	case "log":
		return parts{log: true, store: true}
	}
	return parts{
		domains: c.Domains, projectors: c.Projectors, sagas: c.Sagas,
		commands: true, gateway: true, stream: true, log: true, store: true,
	}
}

// all reports whether the process has every role, so that nothing goes over the
// network but what clients and the user's services say.
func (p parts) all() bool { return p.commands && p.gateway }

// consumes reports whether something in the process takes events from the bus.
func (p parts) consumes() bool {
	return p.stream || p.log || len(p.projectors) > 0 || len(p.sagas) > 0
}
