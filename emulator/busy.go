package emulator

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
)

// ExplainPorts adds to an error of the runtime which of its ports others have,
// and who; other errors pass. After those the ports may still be the runtime's
// own, which has only just closed them.
func ExplainPorts(c *config.Config, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	var lines []string
	for _, door := range []struct {
		key  string
		port int
	}{
		{"server.aggregate_port", c.Server.AggregatePort}, {"server.event_query_port", c.Server.EventQueryPort},
		{"gateway.port", c.Gateway.Port}, {"stream.port", c.Stream.Port},
	} {
		address := net.JoinHostPort(c.Server.Host, strconv.Itoa(door.port))
		if door.port == 0 || !isTaken(address) {
			continue
		}
		holder, known := supervise.Holder(address)
		if !known {
			holder = "another program"
		}
		lines = append(lines, fmt.Sprintf("port %d is in use by %s: stop that, or set %s to another port (0 is any free one)", door.port, holder, door.key))
	}
	if len(lines) == 0 {
		return err
	}
	return errors.New(strings.Join(lines, "\n"))
}

func isTaken(address string) bool {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	return listener.Close() != nil
}
