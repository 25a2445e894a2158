package guard

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// identify finds out who calls. A token that is shown counts alone: one that is
// wrong is not made good by a certificate.
func (g *Guard) identify(ctx context.Context) (names []string, err error) {
	shown := metadata.ValueFromIncomingContext(ctx, "authorization")
	if g.tokens != nil && len(shown) > 0 {
		return g.byToken(shown)
	}
	for _, mode := range g.options.Modes {
		if mode != MTLS {
			continue
		}
		if names := byCertificate(ctx); len(names) > 0 {
			return names, nil
		}
	}
	return nil, status.Error(codes.Unauthenticated, "who calls is not known: "+g.wanted())
}

func (g *Guard) byToken(shown []string) ([]string, error) {
	if len(shown) > 1 {
		return nil, status.Errorf(codes.Unauthenticated, "found %d times authorization in the metadata, expected it once", len(shown))
	}
	scheme, token, _ := strings.Cut(shown[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return nil, status.Error(codes.Unauthenticated, "authorization in the metadata is of another kind, expected: Bearer, a space and the token")
	}
	name, known := g.tokens.find(strings.TrimSpace(token))
	if !known {
		return nil, status.Error(codes.Unauthenticated, "the bearer token is not known here: it may have been replaced; ask the operator of this system for the current one")
	}
	return []string{name}, nil
}

// wanted says what a caller is to show.
func (g *Guard) wanted() string {
	var ways []string
	for _, mode := range g.options.Modes {
		switch mode {
		case Token:
			ways = append(ways, "send a token in the metadata, as authorization: Bearer TOKEN")
		case MTLS:
			ways = append(ways, "connect with a client certificate that holds a name")
		}
	}
	return strings.Join(ways, ", or ")
}

// byCertificate returns the names in the verified certificate of a caller: those
// of its subject alternative names, or else its common name, which an authority
// does not always check.
func byCertificate(ctx context.Context) []string {
	caller, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := caller.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return nil
	}
	return namesIn(info.State.VerifiedChains[0][0])
}

func namesIn(certificate *x509.Certificate) []string {
	var names []string
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	names = append(append(names, certificate.DNSNames...), certificate.EmailAddresses...)
	if len(names) == 0 && certificate.Subject.CommonName != "" {
		names = []string{certificate.Subject.CommonName}
	}
	return names
}

// address returns what tells callers apart whom nobody knows: the address of
// their machine, or of their network where one machine has very many.
func address(ctx context.Context) string {
	caller, ok := peer.FromContext(ctx)
	if !ok || caller.Addr == nil {
		return "here" // in this process
	}
	if caller.Addr.Network() == "unix" {
		return "socket"
	}
	host, _, err := net.SplitHostPort(caller.Addr.String())
	if err != nil {
		return caller.Addr.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is6() {
		const network = 64
		if prefix, err := ip.WithZone("").Prefix(network); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

// mostNames is how many names of one caller are told.
const mostNames = 3

// called says who a caller is, for people.
func called(names []string) string {
	var quoted []string
	for _, name := range names[:min(len(names), mostNames)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	if len(names) > mostNames {
		quoted = append(quoted, fmt.Sprintf("%d other names", len(names)-mostNames))
	}
	return strings.Join(quoted, ", ")
}
