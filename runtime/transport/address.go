// Package transport is how processes and roles reach each other: TCP and Unix
// sockets, connections that wait for a service that is on its way, servers with
// health and reflection that stop gracefully, and gRPC inside one process.
package transport

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
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
	path, named := strings.CutPrefix(text, "unix:")
	if named && strings.HasPrefix(path, "//") {
		path = path[2:] // unix:///path, as URLs write it
	}
	if strings.HasPrefix(path, "/") || strings.HasPrefix(path, "./") {
		return Address{Network: "unix", Address: filepath.Clean(path)}, nil
	}
	rest, secure := strings.CutPrefix(text, "https://")
	if !secure {
		rest = strings.TrimPrefix(rest, "http://")
	}
	rest = strings.TrimSuffix(rest, "/")
	if !isHostPort(rest) {
		return Address{}, fmt.Errorf("address %q: expected host:port, http://host:port, https://host:port, or the path of a socket that begins with / or ./", text)
	}
	return Address{Network: "tcp", Address: rest, TLS: secure}, nil
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "/?#@ ") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// String returns the address as people write it.
func (a Address) String() string {
	switch {
	case a.TLS:
		return "https://" + a.Address
	case a.Network == "unix" && !filepath.IsAbs(a.Address):
		return "./" + a.Address
	}
	return a.Address
}

// target returns the address in the syntax of grpc-go, which only reads from it
// under which name the other side is addressed: connections are made by the
// client's own dialer.
func (a Address) target() string {
	if a.Network == "unix" {
		return "passthrough:///localhost"
	}
	return "passthrough:///" + url.PathEscape(a.Address)
}
