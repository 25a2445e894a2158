package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
)

// door is a port that angz dev or a service of it listens on.
type door struct {
	key     string
	address string // host:port
	fix     string
}

// doors lists the ports that have to be free for angz dev.
func (o *Options) doors(services []service) (doors []door) {
	c := o.Config
	for _, runtime := range []struct {
		key  string
		port int
	}{
		{"server.aggregate_port", c.Server.AggregatePort}, {"server.event_query_port", c.Server.EventQueryPort},
		{"gateway.port", c.Gateway.Port}, {"stream.port", c.Stream.Port},
	} {
		if runtime.port != 0 {
			doors = append(doors, door{runtime.key, net.JoinHostPort(c.Server.Host, strconv.Itoa(runtime.port)), "stop that, or start with --port-offset 100 or --ports auto"})
		}
	}
	if c.Debug.Address != "off" && c.Debug.Address != "" {
		doors = append(doors, door{"debug.address", c.Debug.Address, "stop that, or set debug.address"})
	}
	for _, s := range services {
		address := withoutScheme(s.Address)
		if _, _, err := net.SplitHostPort(address); err == nil && !s.Run.IsZero() {
			doors = append(doors, door{s.label, address, "stop that, or leave out its address"})
		}
	}
	return doors
}

// ports finds out whether the ports are free. Those of a running emulator are its own.
func (o *Options) ports(running bool, services []service) (findings []Finding) {
	doors := o.doors(services)
	if running {
		return ok("ports", "are those of the running angz dev")
	}
	var free []string
	for _, d := range doors {
		_, port, _ := net.SplitHostPort(d.address)
		listener, err := net.Listen("tcp", d.address)
		switch {
		case err == nil:
			_ = listener.Close() // it was only to be seen whether it can be had
			free = append(free, port)
		case errors.Is(err, syscall.EADDRINUSE):
			holder, known := supervise.Holder(d.address)
			if !known {
				holder = "another program"
			}
			findings = append(findings, problem("port "+port, fmt.Sprintf("(%s) is in use by %s", d.key, holder), d.fix, lookAtPort(port))...)
		default:
			findings = append(findings, problem("port "+port, fmt.Sprintf("(%s) cannot be listened on: %v", d.key, err), "correct server.host or the port", "")...)
		}
	}
	if len(free) > 0 {
		findings = append(ok("ports", strings.Join(free, ", ")+": free"), findings...)
	}
	return findings
}

// lookAtPort returns the command that shows who listens on a port.
func lookAtPort(port string) string {
	if runtime.GOOS == "linux" {
		return "ss -ltnp 'sport = :" + port + "'"
	}
	return "lsof -nP -iTCP:" + port + " -sTCP:LISTEN"
}

func withoutScheme(address string) string {
	for _, scheme := range []string{"http://", "https://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	return strings.TrimSuffix(address, "/")
}

// longestSocket is how long the path of a socket may be everywhere, in bytes.
const longestSocket = 103

// sockets finds paths that no system can open, and sockets that a killed process
// left behind.
func (o *Options) sockets(running bool, services []service) (findings []Finding) {
	for _, path := range o.socketPaths(services) {
		if len(path) > longestSocket {
			findings = append(findings, problem("sockets", fmt.Sprintf("the path %s has %d bytes, and at most %d are possible", path, len(path), longestSocket), "choose a shorter folder or name", "")...)
			continue
		}
		info, err := os.Stat(path)
		if err != nil || running {
			continue
		}
		switch {
		case info.Mode()&os.ModeSocket == 0:
			findings = append(findings, problem("sockets", path+" is there and is no socket", "move it away", "ls -l "+path)...)
		case !answers(path):
			findings = append(findings, warning("sockets", path+" was left behind by a process that was killed", "nothing: angz dev removes it when it starts", "ls -l "+path)...)
		}
	}
	return findings
}

// socketPaths lists the sockets of the project: the services', and the one that
// the emulator is controlled by, which is elsewhere where its path is too long.
func (o *Options) socketPaths(services []service) (paths []string) {
	if own := filepath.Join(o.Config.Dir, ownFolder, "control.sock"); len(own) <= longestSocket {
		paths = append(paths, own)
	}
	for _, s := range services {
		address := project.AbsoluteSocket(o.Config.Dir, s.Address)
		if s.Address == "" && o.Config.Transport.Type == "uds" {
			address = project.Socket(o.inProject(o.Config.Transport.UDS.BasePath), s.kind, s.Name)
		}
		address = strings.TrimPrefix(address, "unix:")
		if filepath.IsAbs(address) && !s.Run.IsZero() {
			paths = append(paths, address)
		}
	}
	return paths
}

func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	return err == nil && conn.Close() == nil
}
