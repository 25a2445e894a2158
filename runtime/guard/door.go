package guard

import (
	"fmt"
	"net"
	"strings"

	"github.com/angz-dev/angz/runtime/transport"
)

// Door is a place where callers come in, for the log of a process that starts.
type Door struct {
	Name    string // "gateway"
	Address net.Addr
	TLS     *transport.TLS // nil for none
	Guard   *Guard         // nil for none
}

// Describe says where a door is, who can reach it and what protects it. exposed
// says that other machines can reach it, and that it either does not ask who
// calls or lets others listen.
func (d Door) Describe() (text string, exposed bool) {
	if d.Address.Network() == "unix" {
		return fmt.Sprintf("%s on the socket %s: for this user of this machine, without TLS, %s", d.Name, d.Address, d.Guard), false
	}
	host, _, err := net.SplitHostPort(d.Address.String())
	here := err == nil && transport.IsLoopback(host)
	where := "on one of its interfaces, for other machines"
	switch {
	case here:
		where = "for this machine only"
	case net.ParseIP(host).IsUnspecified():
		where = "on all interfaces, for other machines"
	}
	asks := d.TLS.ClientAuth() == transport.ClientAuthRequire || d.Guard.Checks()
	exposed = !here && (!d.TLS.Serves() || !asks)
	return fmt.Sprintf("%s on %s: %s, %s, %s", d.Name, d.Address, where, d.TLS, d.Guard), exposed
}

// String says what a guard asks of callers.
func (g *Guard) String() string {
	if !g.Checks() {
		return "anybody may do everything"
	}
	var ways []string
	for _, mode := range g.options.Modes {
		switch mode {
		case Token:
			ways = append(ways, "a token")
		case MTLS:
			ways = append(ways, "a client certificate")
		}
	}
	return fmt.Sprintf("callers show %s and may do what %d rules say", strings.Join(ways, " or "), len(g.options.Rules))
}
