package gateway

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// AnyDomain is the name in Routes that stands for all domains not named.
const AnyDomain = "*"

// Routes says which connection serves a domain, or AnyDomain. Several domains
// may share a connection.
type Routes map[string]grpc.ClientConnInterface

// to returns the connection for a domain, else the one for AnyDomain.
func (r Routes) to(domain string) (grpc.ClientConnInterface, bool) {
	conn, ok := r[domain]
	if !ok || domain == AnyDomain {
		conn, ok = r[AnyDomain]
	}
	return conn, ok
}

// domains lists the named domains except the unlisted ones.
func (r Routes) domains(unlisted []string) []string {
	names := slices.Sorted(maps.Keys(r))
	return slices.DeleteFunc(names, func(name string) bool { return name == AnyDomain || slices.Contains(unlisted, name) })
}

// connections lists the distinct connections in the order of their first names.
func (r Routes) connections() []grpc.ClientConnInterface {
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
	if conn, ok := g.options.Routes.to(domain); ok {
		return conn, nil
	}
	known := strings.Join(g.options.Routes.domains(g.options.Unlisted), ", ")
	if known == "" {
		known = "none"
	}
	return nil, status.Errorf(codes.NotFound, "No service registered for domain: %s (known: %s)", domain, known)
}
