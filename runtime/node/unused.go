package node

import (
	"github.com/angz-dev/angz/runtime/config"
)

// unused names the keys that somebody has set and that a process of this role
// does not act on. Silence would look like consent.
func unused(c *config.Config, all bool) []string {
	var keys []string
	add := func(set bool, key string) {
		if set {
			keys = append(keys, key)
		}
	}
	for _, service := range c.Domains {
		add(service.Snapshots.Automatic, "business_logic."+service.Name+".snapshots.automatic")
	}
	for _, service := range c.Projectors {
		add(service.StreamOutput, "projectors."+service.Name+".stream_output")
	}
	if all {
		add(len(c.Gateway.StaticEndpoints) > 0, "gateway.static_endpoints")
		add(c.Gateway.CommandAddress != "", "gateway.command_address")
		add(c.Gateway.StreamAddress != "", "gateway.stream_address")
		add(c.Target.Address != "", "target.address")
	}
	add(c.Target.Command != "", "target.command")
	return keys
}
