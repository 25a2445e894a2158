package supervise

import (
	"net"
	"strconv"
)

// portOf returns the port of host:port.
func portOf(address string) (uint16, bool) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil
}
