package transport

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// credentials returns how the connection to an address is protected.
func (c *Client) credentials(address Address) (credentials.TransportCredentials, error) {
	if !address.TLS {
		return insecure.NewCredentials(), nil
	}
	used := c.options.TLS
	if used == nil {
		var err error
		if used, err = OpenTLS(TLSOptions{}); err != nil {
			return nil, err
		}
	}
	host, _, err := net.SplitHostPort(address.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", c.options.Name, c.address, err)
	}
	return trusting{tls: used, host: host, client: c}, nil
}

// extra returns the settings of a connection that are not always there.
func (c *Client) extra(address Address) ([]grpc.DialOption, error) {
	var extra []grpc.DialOption
	if c.options.Keepalive > 0 {
		extra = append(extra, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.options.Keepalive, Timeout: 10 * time.Second, PermitWithoutStream: true}))
	}
	if c.options.Token == "" {
		return extra, nil
	}
	if !address.TLS && !staysHere(address) {
		return nil, fmt.Errorf("connect to %s at %s: the token would travel in clear: write the address as https://%s, or go by a Unix socket or localhost", c.options.Name, c.address, c.address)
	}
	return append(extra, grpc.WithPerRPCCredentials(bearer(c.options.Token))), nil
}

// staysHere reports whether what is sent to an address stays on this machine.
func staysHere(address Address) bool {
	if address.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(address.Address)
	return err == nil && IsLoopback(host)
}

// IsLoopback reports whether a host, as it is listened on or connected to, is
// this machine and not to be reached from others.
func IsLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// bearer is a token that goes with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false because Dial has seen to it, and knows of
// Unix sockets as well.
func (bearer) RequireTransportSecurity() bool { return false }
