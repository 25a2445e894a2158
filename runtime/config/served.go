package config

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Roles are the names that angz serve takes, in the order in which a command
// passes them; "all" is every role in one process.
func Roles() []string {
	return []string{"all", "aggregate", "projector", "saga", "gateway", "stream", "log"}
}

// Served returns the services that a process of the role aggregate, projector
// or saga stands beside, with everything about them that other keys say filled
// in: their address, by target.address or their socket, and what they follow, by
// messaging.amqp.domains. It is empty exactly where CheckRole complains about
// that, and for other roles.
func (c *Config) Served(role, name string) []Service {
	return (&loader{config: c, settled: map[string]bool{}, origins: c.origins, doc: c.read}).served(role, name)
}

// listOf returns the services of a role.
func (l *loader) listOf(role string) (services, bool) {
	kind := role
	if role == "aggregate" {
		kind = "domain"
	}
	for _, list := range l.lists() {
		if list.kind == kind {
			return list, true
		}
	}
	return services{}, false
}

// served finds the services of a role, and complains when there are none, or no
// telling which.
func (l *loader) served(role, name string) []Service {
	list, ok := l.listOf(role)
	if !ok {
		return nil
	}
	chosen := l.choose(role, list, name)
	if target := l.config.Target.Address; target != "" && len(chosen) > 1 {
		l.blame("target.address", "target.address: found one address for "+strconv.Itoa(len(chosen))+" domains, expected one domain: name it in target.domain or after angz serve "+role)
		return nil
	}
	complete := true
	for i := range chosen {
		l.fill(list, &chosen[i])
		complete = l.checkAddressed(list, chosen[i]) && complete
	}
	if !complete {
		return nil
	}
	return chosen
}

// checkAddressed finds a service of which nothing says where it answers. What
// only angz dev does is of no help to angz serve.
func (l *loader) checkAddressed(list services, service Service) bool {
	if service.Address != "" {
		return true
	}
	key := l.keyOf(list, service.Name)
	only, or := "", ", target.address (ANGZARR_TARGET__ADDRESS) where it is the only one,"
	if !service.Run.IsZero() {
		only = " (only angz dev starts it by its run)"
	}
	if l.options.Role == "all" {
		or = ""
	}
	l.blame(key, fmt.Sprintf("%s: found no address%s, expected where its service answers: set its address in %s%s or transport.type: uds", describe(list, key, service), only, list.key, or))
	return false
}

// choose picks the entries of a list that one process serves. A sidecar whose
// list is empty is told by target alone what it stands beside.
func (l *loader) choose(role string, list services, name string) []Service {
	wanted := name
	if wanted == "" && (role == "aggregate" || len(list.entries) == 0) {
		wanted = l.config.Target.Domain
	}
	if wanted == "" {
		return l.chooseUnnamed(role, list)
	}
	for _, service := range list.entries {
		if service.Name == wanted {
			return []Service{service}
		}
	}
	key, at := "angz serve "+role, place{origin: "angz serve " + role + " " + printable(name)}
	if name == "" {
		key, at = "target.domain", l.origins["target.domain"]
	}
	if wrong := checkName(wanted); wrong != nil {
		l.complain(key, at, wrong.message())
		return nil
	}
	if len(list.entries) > 0 {
		names := namesOf(list.entries)
		hint := didYouMean(wanted, names)
		if hint == "" {
			hint = "add it to " + list.key
		}
		l.complain(key, at, "found the "+list.kind+" "+quoted(wanted)+", expected "+oneOf(names)+" of "+list.key+"; "+hint)
		return nil
	}
	return []Service{l.newService(wanted)}
}

// chooseUnnamed picks the entries where nothing says which are meant: any number
// of domains, but one projector or saga.
func (l *loader) chooseUnnamed(role string, list services) []Service {
	names := namesOf(list.entries)
	switch {
	case role == "aggregate" && len(names) == 0:
		l.blame(list.key, list.key+": found no domain, expected at least one: add it to the file, or set target.domain and target.address (ANGZARR_TARGET__DOMAIN, ANGZARR_TARGET__ADDRESS)")
	case len(names) == 0:
		l.blame(list.key, list.key+": found no "+list.kind+", expected one: add it to the file, or name it in angz serve "+role+" NAME and set target.address (ANGZARR_TARGET__ADDRESS)")
	case role != "aggregate" && len(names) > 1:
		l.blame(list.key, list.key+": found "+strconv.Itoa(len(names))+", expected the one to serve: say angz serve "+role+" "+names[0]+", or another of "+strings.Join(names[1:min(len(names), 20)], ", "))
	default:
		return slices.Clone(list.entries)
	}
	return nil
}

func namesOf(entries []Service) []string {
	var names []string
	for _, service := range entries {
		names = append(names, service.Name)
	}
	return names
}

// newService returns a service with the defaults.
func (l *loader) newService(name string) Service {
	made := Service{Name: name}
	value := reflect.ValueOf(&made).Elem()
	setDefaults(value, l.options.Dev)
	for _, key := range slices.Sorted(maps.Keys(l.config.everywhere)) {
		if f, ok := find(fieldsOf(value.Type(), ""), key); ok {
			_ = f.setText(value.Field(f.index), l.config.everywhere[key]) // it was checked when it was read
		}
	}
	return made
}

// fill sets what other keys say about a service that is served alone.
func (l *loader) fill(list services, service *Service) {
	c := l.config
	switch {
	case c.Target.Address != "":
		service.Address = c.Target.Address
	case service.Address == "" && c.Transport.Type == "uds":
		service.Address = c.socket(list.socket + "-" + service.Name)
	}
	if list.kind == "domain" || len(service.Domains) > 0 || c.Messaging.Type != "amqp" {
		return
	}
	for _, domain := range append([]string{c.Messaging.AMQP.Domain}, c.Messaging.AMQP.Domains...) {
		if domain != "" && !slices.Contains(service.Domains, domain) {
			service.Domains = append(slices.Clip(service.Domains), domain)
		}
	}
}

// socket returns the path of a socket.
func (c *Config) socket(name string) string {
	return filepath.Join(c.Transport.UDS.BasePath, name+".sock")
}

// CommandAddresses returns where the commands of each domain go, for processes
// that have no aggregates of their own; the domain * stands for all others. What
// names a domain in gateway.static_endpoints goes before its own coordinator.
func (c *Config) CommandAddresses() map[string][]string {
	routes := map[string][]string{}
	for _, domain := range c.Domains {
		if addresses := c.CoordinatorAddresses("aggregate", domain); len(addresses) > 0 {
			routes[domain.Name] = addresses
		}
	}
	if c.Gateway.CommandAddress != "" {
		routes["*"] = SplitAddresses(c.Gateway.CommandAddress)
	}
	for domain, text := range c.Gateway.StaticEndpoints {
		routes[domain] = SplitAddresses(text)
	}
	return routes
}

// CoordinatorAddresses returns where the coordinators of a service answer when
// they are processes of their own, one address for each instance; none if the
// configuration does not say. The role is aggregate, projector or saga.
func (c *Config) CoordinatorAddresses(role string, service Service) []string {
	if service.Coordinator != "" {
		return SplitAddresses(service.Coordinator)
	}
	if c.Transport.Type != "uds" {
		return nil
	}
	prefix := "coordinator-" + role
	if role == "aggregate" {
		prefix = role // the name that the seed gave it
	}
	return []string{c.socket(prefix + "-" + service.Name)}
}

// StreamAddresses returns where the stream role answers when it is a process of
// its own; none if the configuration does not say.
func (c *Config) StreamAddresses() []string {
	if c.Gateway.StreamAddress != "" {
		return SplitAddresses(c.Gateway.StreamAddress)
	}
	if c.Transport.Type == "uds" {
		return []string{c.socket("stream")}
	}
	return nil
}

// RolePort returns the TCP port of a role that is served alone; 0 means any free
// one. A projector's or saga's is that of its coordinator's address.
func (c *Config) RolePort(role string, service Service) int {
	if port := c.Transport.TCP.Port; port != 0 {
		return port
	}
	switch role {
	case "aggregate":
		return c.Server.AggregatePort
	case "gateway":
		return c.Gateway.Port
	case "stream":
		return c.Stream.Port
	}
	port, _ := coordinatorPort(service)
	return port
}

// coordinatorPort returns the port that all addresses of a service's
// coordinators have in common, 0 if they are sockets or not said, and whether
// they do have one in common.
func coordinatorPort(service Service) (port int, ok bool) {
	for i, address := range SplitAddresses(service.Coordinator) {
		_, text, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"), "/"))
		if err != nil {
			text = "0" // a socket
		}
		number, err := strconv.Atoi(text)
		if err != nil || i > 0 && number != port {
			return 0, false
		}
		port = number
	}
	return port, true
}

// AdvertisedAddress returns the address under which other instances reach a
// process that listens on a port, and also on a socket if that is not empty.
func (c *Config) AdvertisedAddress(port int, socket string) string {
	switch {
	case c.Server.Advertise != "":
		return c.Server.Advertise
	case socket != "":
		return socket
	}
	host := c.Server.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil && checkHost(name) == nil {
			host = name
		}
	}
	return c.scheme() + net.JoinHostPort(host, strconv.Itoa(port))
}

// scheme returns what addresses of this process's ports begin with.
func (c *Config) scheme() string {
	if c.Transport.TLS.Cert != "" {
		return "https://"
	}
	return ""
}
