package main

import (
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/runtime/config"
)

// devPorts are the flags that move the ports of "angz dev", so that several
// projects run side by side.
type devPorts struct {
	offset int
	choice string

	chosen map[string]int // by auto, for the whole run
}

// autoPorts is the value of --ports that leaves the choice to angz.
const autoPorts = "auto"

func (p *devPorts) register(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.IntVar(&p.offset, "port-offset", 0, "add this to every port of angz, so that several projects run side by side")
	flags.StringVar(&p.choice, "ports", "", "\"auto\" has angz choose free ports, the same ones each time if they are free")
	_ = cmd.RegisterFlagCompletionFunc("ports", cobra.FixedCompletions([]string{autoPorts}, cobra.ShellCompDirectiveNoFileComp))
}

func (p *devPorts) check() error {
	switch {
	case p.choice != "" && p.choice != autoPorts:
		return usagef("--ports: found %q, expected \"auto\"; single ports are set in angz.yaml", p.choice)
	case p.choice != "" && p.offset != 0:
		return usagef("--ports and --port-offset exclude each other: name one of them")
	}
	return nil
}

// move changes the ports of a configuration as the flags say.
func (p *devPorts) move(c *config.Config) error {
	ports := []struct {
		key  string
		port *int
	}{
		{"gateway.port", &c.Gateway.Port}, {"stream.port", &c.Stream.Port},
		{"server.aggregate_port", &c.Server.AggregatePort}, {"server.event_query_port", &c.Server.EventQueryPort},
	}
	var picker project.Ports
	for _, each := range ports {
		if *each.port == 0 {
			continue // any free one anyway
		}
		moved, err := p.moved(&picker, c.Dir+" "+each.key, *each.port)
		if err != nil {
			return err
		}
		if moved < 1 || moved > 65535 {
			return usagef("--port-offset: %s would be %d, expected a port from 1 to 65535", each.key, moved)
		}
		*each.port = moved
	}
	return p.moveDebug(&picker, c)
}

// moveDebug moves the port of the debug page, which stands in an address.
func (p *devPorts) moveDebug(picker *project.Ports, c *config.Config) error {
	host, text, err := net.SplitHostPort(c.Debug.Address)
	if err != nil {
		return nil //nolint:nilerr // there is no debug page, or the check of the configuration says more
	}
	port, err := strconv.Atoi(text)
	if err != nil || port == 0 {
		return nil //nolint:nilerr // as before
	}
	moved, err := p.moved(picker, c.Dir+" debug.address", port)
	if err != nil {
		return err
	}
	c.Debug.Address = net.JoinHostPort(host, strconv.Itoa(moved))
	return nil
}

// moved returns the port in the place of another one.
func (p *devPorts) moved(picker *project.Ports, wish string, port int) (int, error) {
	if p.choice != autoPorts {
		return port + p.offset, nil
	}
	if chosen, known := p.chosen[wish]; known {
		return chosen, nil
	}
	address, err := picker.Pick(wish)
	if err != nil {
		return 0, err
	}
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	chosen, err := strconv.Atoi(text)
	if err != nil {
		return 0, err
	}
	if p.chosen == nil {
		p.chosen = map[string]int{}
	}
	p.chosen[wish] = chosen
	return chosen, nil
}
