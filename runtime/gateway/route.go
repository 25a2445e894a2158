package gateway

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Router knows which connection serves a domain.
type Router interface {
	// Route returns the connection for a domain, false if there is none.
	Route(domain string) (grpc.ClientConnInterface, bool)
	// Domains lists the domains that are served by name, in order.
	Domains() []string
	// Connections lists all connections, each once.
	Connections() []grpc.ClientConnInterface
}

// AnyDomain is the name in Routes that stands for all domains not named.
const AnyDomain = "*"

// Routes is a Router that does not change: domain, or AnyDomain, to connection.
type Routes map[string]grpc.ClientConnInterface

// Route returns the connection for a domain, else the one for AnyDomain.
func (r Routes) Route(domain string) (grpc.ClientConnInterface, bool) {
	conn, ok := r[domain]
	if !ok || domain == AnyDomain {
		conn, ok = r[AnyDomain]
	}
	return conn, ok
}

// Domains lists the named domains.
func (r Routes) Domains() []string {
	names := slices.Sorted(maps.Keys(r))
	return slices.DeleteFunc(names, func(name string) bool { return name == AnyDomain })
}

// Connections lists the distinct connections in the order of their first names.
func (r Routes) Connections() []grpc.ClientConnInterface {
	var conns []grpc.ClientConnInterface
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if !slices.Contains(conns, r[name]) {
			conns = append(conns, r[name])
		}
	}
	return conns
}

// route returns the connection for a domain or the status that says there is
// none.
func (g *Gateway) route(domain string) (grpc.ClientConnInterface, error) {
	if conn, ok := g.options.Router.Route(domain); ok {
		return conn, nil
	}
	known := strings.Join(g.options.Router.Domains(), ", ")
	if known == "" {
		known = "none"
	}
	return nil, status.Errorf(codes.NotFound, "No service registered for domain: %s (known: %s)", domain, known)
}
