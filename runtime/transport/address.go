// Package transport is how processes and roles reach each other: TCP and Unix
// sockets, connections that wait for a service that is on its way, servers with
// health and reflection that stop gracefully, and gRPC inside one process.
package transport

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// Address is where something listens.
type Address struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket
	TLS     bool   // the address was given as https://
}

// ParseAddress reads host:port, http://host:port (plain), https://host:port
// (TLS), unix:/path, or the path of a socket that begins with "/" or "./".
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return Address{Network: "unix", Address: filepath.Clean("/" + strings.TrimLeft(path, "/"))}, nil
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") {
		return Address{Network: "unix", Address: filepath.Clean(text)}, nil
	}
	rest, secure := strings.CutPrefix(text, "https://")
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "http://"), "/")
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" || port == "" {
		return Address{}, fmt.Errorf("address %q: expected host:port, http://host:port, https://host:port, or the path of a socket", text)
	}
	return Address{Network: "tcp", Address: rest, TLS: secure}, nil
}

// String returns the address as people write it.
func (a Address) String() string {
	if a.TLS {
		return "https://" + a.Address
	}
	return a.Address
}

// target returns the address in the syntax of grpc-go.
func (a Address) target() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return "passthrough:///" + a.Address
}
