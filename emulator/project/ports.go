package project

import (
	"errors"
	"hash/fnv"
	"net"
	"strconv"
)

// The ports given to services lie below those that systems hand out by
// themselves, so that no outgoing connection can take one between its choice and
// its use.
const (
	firstPort = 21000
	portCount = 4000
)

// Ports gives ports of the loopback interface to services that name none. The
// zero value is ready. It is for one goroutine.
type Ports struct {
	given map[int]bool
}

// Pick returns the address of a free port. The same wish gets the same port as
// long as that is free, so that ports do not move under people's feet.
func (p *Ports) Pick(wish string) (string, error) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(wish))
	start := int(hash.Sum32() % portCount)
	for i := range portCount {
		port := firstPort + (start+i)%portCount
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if p.given[port] || !isFree(address) {
			continue
		}
		p.take(port)
		return address, nil
	}
	return "", errors.New("no free port for a service: set its address")
}

// Keep notes that an address has been given already.
func (p *Ports) Keep(address string) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return // a socket
	}
	if port, err := strconv.Atoi(text); err == nil {
		p.take(port)
	}
}

func (p *Ports) take(port int) {
	if p.given == nil {
		p.given = map[int]bool{}
	}
	p.given[port] = true
}

func isFree(address string) bool {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
