package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// needs says what a role cannot do without.
type needs struct {
	store    bool // events, which several processes share unless the role is all
	commands bool // where commands go
	stream   bool // where the stream role is
}

// needsOf returns what a role cannot do without.
func needsOf(role string) needs {
	switch role {
	case "saga":
		return needs{store: true, commands: true}
	case "gateway":
		return needs{commands: true, stream: true}
	}
	return needs{store: true}
}

// CheckRole reports everything that one role lacks, or that does not fit
// together, each with its place. name is the component that the process serves,
// empty if the configuration leaves no choice. Its error is an *Errors. Load
// does the same together with its own checks when it is told the role.
func (c *Config) CheckRole(role, name string) error {
	l := &loader{options: Options{Role: role, Name: name}, config: c, doc: c.read, origins: c.origins, settled: map[string]bool{}}
	l.checkRole(role, name)
	if len(l.mistakes) == 0 {
		return nil
	}
	inOrder(l.mistakes)
	return &Errors{List: l.mistakes}
}

// checkRole finds what a role lacks.
func (l *loader) checkRole(role, name string) {
	if !slices.Contains(Roles(), role) {
		l.complain("role", place{origin: strings.TrimSpace("angz serve " + printable(role))}, strings.TrimSuffix(fmt.Sprintf("found the role %s, expected %s; %s", quoted(role), oneOf(Roles()), didYouMean(role, Roles())), "; "))
		return
	}
	_, hasComponents := l.listOf(role)
	if name != "" && !hasComponents {
		l.complain("name", place{origin: "angz serve " + role + " " + printable(name)}, fmt.Sprintf("found the name %s, expected none: that role serves every domain", quoted(name)))
	}
	need := needsOf(role)
	if need.store {
		l.checkSharedStore(role)
		l.checkURLs()
	}
	served := l.served(role, name)
	for _, service := range served {
		l.checkOwnDoor(role, service)
	}
	switch role {
	case "all":
		l.checkAllAddressed()
	case "aggregate":
		l.checkReachableFollowers(served)
	}
	if need.commands {
		l.checkCommands(role)
	}
	if need.stream && len(l.config.StreamAddresses()) == 0 {
		l.blame("gateway.stream_address", "gateway.stream_address: found nothing, expected where the gateway finds the stream role: set it in the file or in STREAM_ADDRESS")
	}
	l.checkRolePorts(role)
	l.checkAdvertise()
	if (role == "log" || role == "all") && l.config.LogRole.DescriptorPath != "" {
		l.checkDescriptors()
	}
}

// byDefault returns what follows a value in a message when nobody chose it.
func (l *loader) byDefault(key string) string {
	if l.given(key) {
		return ""
	}
	return " (the default)"
}

// checkSharedStore finds roles of their own over stores that only one process
// can have.
func (l *loader) checkSharedStore(role string) {
	kind := l.config.Storage.Type
	if role == "all" || kind != "sqlite" && kind != "memory" || l.settled["storage.type"] {
		return
	}
	l.blame("storage.type", fmt.Sprintf("storage.type: found %s%s, which one process has for itself, expected postgres: set storage.type and storage.postgres.uri, or serve every role in one process with angz serve all",
		kind, l.byDefault("storage.type")))
}

// checkURLs finds URLs of the chosen store and bus that cannot be right. None is
// shown, since they may hold passwords.
func (l *loader) checkURLs() {
	c := l.config
	if c.Storage.Type == "postgres" && !isPostgres(c.Storage.Postgres.URI) {
		l.blame("storage.postgres.uri", "storage.postgres.uri: found a value that is not shown here, expected postgres://user:password@host:port/database, or host=… dbname=…; characters such as / and # in a password are written as %2F and %23")
	}
	if c.Messaging.Type == "amqp" && !isURL(c.Messaging.AMQP.URL, "amqp", "amqps") {
		l.blame("messaging.amqp.url", "messaging.amqp.url: found a value that is not shown here, expected amqp://user:password@host:port/vhost or amqps://…; characters such as / and # in a password are written as %2F and %23")
	}
	if queue := c.SagaCompensation.DeadLetterQueueURL; queue != "" && !isURL(queue, "http", "https", "amqp", "amqps") {
		l.blame("saga_compensation.dead_letter_queue_url", "saga_compensation.dead_letter_queue_url: found a value that is not shown here, expected a URL that begins with https://, http://, amqps:// or amqp://")
	}
	if hook := c.SagaCompensation.EscalationWebhookURL; hook != "" && !isURL(hook, "http", "https") {
		l.blame("saga_compensation.escalation_webhook_url", "saga_compensation.escalation_webhook_url: found a value that is not shown here, expected a URL that begins with https:// or http://")
	}
}

// isPostgres reports whether a text can be a connection string of PostgreSQL,
// in either of its two forms.
func isPostgres(text string) bool {
	if !strings.Contains(text, "://") {
		return strings.Contains(text, "=")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return false
	}
	// A host may be left to the query or to libpq's defaults, and there may be several.
	for host := range strings.SplitSeq(parsed.Host, ",") {
		if !portIsRight(host) {
			return false
		}
	}
	return true
}

// isURL reports whether a text is a URL with a host and one of the schemes.
func isURL(text string, schemes ...string) bool {
	parsed, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, parsed.Scheme) && parsed.Hostname() != "" && portIsRight(parsed.Host)
}

// portIsRight reports whether what stands after a host, if anything, is a port.
func portIsRight(host string) bool {
	if !strings.Contains(host[strings.LastIndexByte(host, ']')+1:], ":") {
		return true
	}
	_, port, err := net.SplitHostPort(host)
	if port == "" {
		return err == nil
	}
	number, wrong := strconv.ParseUint(port, 10, 16)
	return err == nil && wrong == nil && number > 0
}

// checkAllAddressed finds services that one process with every role cannot reach.
func (l *loader) checkAllAddressed() {
	for _, list := range l.lists() {
		for _, service := range list.entries {
			if l.config.Transport.Type == "uds" {
				continue // it has a socket
			}
			l.checkAddressed(list, service)
		}
	}
}

// keyOf returns the key of the service of a list that has a name, or of the list
// itself.
func (l *loader) keyOf(list services, name string) string {
	for i, service := range list.entries {
		if service.Name == name {
			return fmt.Sprintf("%s[%d]", list.key, i)
		}
	}
	return list.key
}

// checkOwnDoor finds coordinators of which it cannot be told where they listen.
func (l *loader) checkOwnDoor(role string, service Service) {
	if _, same := coordinatorPort(service); same || role == "aggregate" || l.config.Transport.TCP.Port != 0 {
		return
	}
	list, _ := l.listOf(role)
	key := l.keyOf(list, service.Name) + ".coordinator"
	l.blame(key, key+": found addresses with several ports, expected one port for all, or transport.tcp.port to say which of them this process listens on")
}

// checkReachableFollowers finds projectors and sagas for which commands are to
// wait, but which the aggregate cannot reach.
func (l *loader) checkReachableFollowers(served []Service) {
	for _, role := range []string{"projector", "saga"} {
		list, _ := l.listOf(role)
		for i, service := range list.entries {
			if len(l.config.CoordinatorAddresses(role, service)) > 0 || !followsAny(service, served) {
				continue
			}
			key := fmt.Sprintf("%s[%d]", list.key, i)
			what := describe(list, key, service)
			if service.Synchronous {
				l.blame(key+".synchronous", fmt.Sprintf("%s: found synchronous without coordinator, expected where angz serve %s %s is reached, so that commands can wait for it: set coordinator", what, role, service.Name))
				continue
			}
			l.warn("%s has no coordinator: commands that ask to wait for it cannot reach angz serve %s %s", what, role, service.Name)
		}
	}
}

// followsAny reports whether a service gets the events of one of the domains.
func followsAny(service Service, domains []Service) bool {
	return len(service.Domains) == 0 || slices.ContainsFunc(domains, func(domain Service) bool {
		return slices.Contains(service.Domains, domain.Name)
	})
}

// checkCommands finds domains of which it is not said where their commands go.
func (l *loader) checkCommands(role string) {
	routes := l.config.CommandAddresses()
	if _, all := routes["*"]; all {
		return
	}
	list := l.lists()[0]
	if len(routes) == 0 && len(list.entries) == 0 {
		l.blame("gateway.command_address", fmt.Sprintf("gateway.command_address: found nothing, expected where the %s sends commands: set it in the file or in COMMAND_ADDRESS, or name the address of each domain in gateway.static_endpoints (ANGZARR_STATIC_ENDPOINTS)", role))
		return
	}
	for i, domain := range list.entries {
		if _, known := routes[domain.Name]; known {
			continue
		}
		key := fmt.Sprintf("%s[%d]", list.key, i)
		l.blame(key, fmt.Sprintf("%s: found no coordinator, expected where angz serve aggregate is reached for this domain: set coordinator here, gateway.static_endpoints, or gateway.command_address (COMMAND_ADDRESS) for all domains", describe(list, key, domain)))
	}
}

// checkRolePorts finds two doors of one process with one port.
func (l *loader) checkRolePorts(role string) {
	c := l.config
	switch role {
	case "all":
		l.differ(l.allDoors())
	case "aggregate":
		commands := keyedPort{"server.aggregate_port", c.Server.AggregatePort}
		if c.Transport.TCP.Port != 0 {
			commands = keyedPort{"transport.tcp.port", c.Transport.TCP.Port}
		}
		l.differ([]keyedPort{commands, {"server.event_query_port", c.Server.EventQueryPort}})
	}
}

// checkAdvertise finds an address that nobody else can connect to.
func (l *loader) checkAdvertise() {
	address := l.config.Server.Advertise
	host, _, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"), "/"))
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		l.blame("server.advertise", fmt.Sprintf("server.advertise: found %s, which means every address of this machine, expected the one that other instances connect to, such as its host name or IP address", quoted(address)))
	}
}

// checkDescriptors finds a file of descriptors that is not there.
func (l *loader) checkDescriptors() {
	path := l.config.LogRole.DescriptorPath
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.config.Dir, path)
	}
	if !isFile(path) {
		l.blame("log_role.descriptor_path", fmt.Sprintf("log_role.descriptor_path: found %s, where there is no file, expected a FileDescriptorSet seen from %s: protoc --include_imports --descriptor_set_out writes one", quoted(l.config.LogRole.DescriptorPath), l.config.Dir))
	}
}
