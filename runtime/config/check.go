package config

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// services is one of the lists of services with what is called of it.
type services struct {
	key     string // as it is written in the file
	kind    string
	entries []Service
	socket  string // the first word of its sockets' names
}

func (l *loader) lists() []services {
	domains := l.config.written["business_logic"]
	return []services{
		{cmp.Or(domains, "business_logic"), "domain", l.config.Domains, "business"},
		{"projectors", "projector", l.config.Projectors, "projector"},
		{"sagas", "saga", l.config.Sagas, "saga"},
	}
}

// check finds what is wrong or doubtful between values that are each right.
func (l *loader) check() {
	names := l.domainNames()
	for _, list := range l.lists() {
		l.checkNames(list)
		l.checkSubscriptions(list, names)
		for i, service := range list.entries {
			path := fmt.Sprintf("%s[%d]", list.key, i)
			l.checkReach(list, path, service)
			if l.options.Dev && service.Dir != "" {
				l.checkFolder(path+".dir", service.Dir)
			}
		}
	}
	for i, folder := range l.config.Protos {
		if l.options.Dev {
			l.checkFolder(itemOrList(l, "protos", i), folder)
		}
	}
	l.checkGenerate()
	l.checkFallbackDomain()
	l.checkStore()
	l.checkPorts()
	l.checkLength()
	l.checkTLS()
	l.checkAuth()
	l.checkDoubts()
	if l.options.Role != "" {
		l.checkRole(l.options.Role, l.options.Name)
	}
}

// itemOrList returns the key of a list's entry, or the list's own when its
// entries have no places.
func itemOrList(l *loader, list string, index int) string {
	if item := fmt.Sprintf("%s[%d]", list, index); l.given(item) {
		return item
	}
	return list
}

// blame reports a mistake about a key that was said something about.
func (l *loader) blame(key, message string) {
	l.complain(key, l.origins[key], message)
}

// warn remembers a doubt, once.
func (l *loader) warn(format string, values ...any) {
	if text := fmt.Sprintf(format, values...); !slices.Contains(l.config.warnings, text) {
		l.config.warnings = append(l.config.warnings, text)
	}
}

// checkNames finds services without a name and names that are there twice.
func (l *loader) checkNames(list services) {
	first := map[string]int{}
	for i, service := range list.entries {
		path := fmt.Sprintf("%s[%d]", list.key, i)
		if service.Name == "" {
			if !l.settled[path] && !l.settled[path+".name"] {
				l.blame(path, fmt.Sprintf("%s: found no name, expected name: and what the %s is called", path, list.kind))
			}
			continue
		}
		if earlier, twice := first[service.Name]; twice {
			at := l.origins[fmt.Sprintf("%s[%d].name", list.key, earlier)]
			first := fmt.Sprintf("on line %d", at.line)
			if at.line == 0 {
				first = "from " + at.origin
			}
			l.blame(path+".name", fmt.Sprintf("%s.name: found a second %s %q, expected each name once: the first is %s", path, list.kind, service.Name, first))
			continue
		}
		first[service.Name] = i
	}
}

// checkReach finds services that angz can neither start nor reach.
func (l *loader) checkReach(list services, path string, service Service) {
	starts := !service.Run.IsZero()
	if !starts && service.Address == "" && l.config.Transport.Type != "uds" && !l.elsewhere(service) {
		for _, part := range []string{"", ".run", ".address"} {
			if l.settled[path+part] {
				return
			}
		}
		l.blame(path, fmt.Sprintf("%s: found neither run nor address, expected one of them: run starts the service, address says where it already answers", describe(list, path, service)))
		return
	}
	if !starts && !service.Build.IsZero() {
		l.warn("%s has a build but no run: angz does not start it, and so does not build it", describe(list, path, service))
	}
	if !starts && len(service.Watch) > 0 {
		l.warn("%s has watch but no run: angz does not start it, and so cannot restart it", describe(list, path, service))
	}
}

// elsewhere reports whether a service need not be reached by what is to be
// served, or is reached by other keys: checkRole looks at those.
func (l *loader) elsewhere(service Service) bool {
	return !l.options.Dev && (l.options.Role != "" || service.Coordinator != "" || l.config.Target.Address != "")
}

func describe(list services, path string, service Service) string {
	if service.Name == "" {
		return path
	}
	return list.kind + " " + service.Name
}

// domainNames returns the names of the domains, each once and in order.
func (l *loader) domainNames() []string {
	seen := map[string]bool{"": true}
	var names []string
	for _, domain := range l.config.Domains {
		if !seen[domain.Name] {
			names = append(names, domain.Name)
		}
		seen[domain.Name] = true
	}
	return names
}

// checkSubscriptions finds subscriptions to domains that do not exist. Only a
// project that runs as a whole knows all domains; a process of production may
// follow those of others, so there only slips of the pen are mistakes.
func (l *loader) checkSubscriptions(list services, names []string) {
	known := map[string]bool{l.config.SagaCompensation.FallbackDomain: true}
	for _, name := range names {
		known[name] = true
	}
	for i, service := range list.entries {
		seen := map[string]bool{}
		for j, domain := range service.Domains {
			key := fmt.Sprintf("%s[%d].domains[%d]", list.key, i, j)
			switch {
			case seen[domain]:
				l.blame(key, fmt.Sprintf("%s: found %q a second time, expected each domain once", key, domain))
			case len(names) > 0 && !known[domain] && !strings.HasPrefix(domain, "_projection."):
				l.unknownDomain(key, describe(list, fmt.Sprintf("%s[%d]", list.key, i), service), domain, names)
			}
			seen[domain] = true
		}
	}
}

// unknownDomain reports or warns of a subscription to a domain that is none.
func (l *loader) unknownDomain(key, follower, domain string, names []string) {
	if len(l.mistakes) >= maxMistakes {
		return // finding the nearest of very many takes long
	}
	hint := didYouMean(domain, names)
	if hint == "" && !l.options.Dev {
		l.warn("%s follows the domain %q, which is not in this file: its events must come from another process", follower, domain)
		return
	}
	if hint == "" {
		hint = "add it there, or take it out here"
	}
	l.blame(key, fmt.Sprintf("%s: found %q, which is not among the domains of this file, expected %s; %s", key, domain, oneOf(names), hint))
}

// checkFolder finds folders of the project that are not there.
func (l *loader) checkFolder(key, folder string) {
	path := folder
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.config.Dir, path)
	}
	if !isFolder(path) {
		l.blame(key, fmt.Sprintf("%s: found %s, which is not there, expected a folder seen from %s", key, quoted(folder), l.config.Dir))
	}
}

// Languages are those that angz generates code for.
var Languages = []string{"go", "python", "rust", "typescript", "java", "cpp"}

// checkGenerate finds folders that code cannot be generated into.
func (l *loader) checkGenerate() {
	for folder, language := range l.config.Generate {
		key := "generate." + folder
		if !slices.Contains(Languages, language) {
			hint := ""
			if best, ok := nearest(language, Languages); ok {
				hint = fmt.Sprintf("; did you mean %q?", best)
			}
			l.blame(key, fmt.Sprintf("%s: found the language %q, expected %s%s", key, language, oneOf(Languages), hint))
		}
		if !filepath.IsLocal(folder) {
			l.blame(key, fmt.Sprintf("%s: found a folder outside the project, expected one below %s", key, l.config.Dir))
		}
	}
}

// checkFallbackDomain keeps the user's domains and angz's own apart.
func (l *loader) checkFallbackDomain() {
	domains := l.lists()[0]
	for i, domain := range domains.entries {
		if domain.Name != "" && domain.Name == l.config.SagaCompensation.FallbackDomain {
			key := fmt.Sprintf("%s[%d].name", domains.key, i)
			l.blame(key, fmt.Sprintf("%s: found %q, which is where angz records failed compensations, expected another name: change one of this and saga_compensation.fallback_domain", key, domain.Name))
		}
	}
}

// checkStore asks for a decision where events would be lost without one.
func (l *loader) checkStore() {
	if l.options.Dev || !l.usesStore() || l.config.Storage.Type != "sqlite" || l.given("storage.sqlite.path") || l.settled["storage.type"] {
		return
	}
	at := l.origins["storage.type"]
	l.complain("storage.sqlite.path", at, "storage.sqlite.path: found nothing, expected the file in which SQLite keeps the events: set it in the file or in ANGZARR_STORAGE__SQLITE__PATH, or to :memory: to keep nothing")
}

// usesStore reports whether what is to be served keeps events in a store that it
// may have for itself. A role that is served alone cannot: checkRole says so.
func (l *loader) usesStore() bool {
	return !l.options.NoStore && (l.options.Role == "" || l.options.Role == "all")
}

// checkPorts finds two doors of angz dev with one port. Under angz serve they
// may be those of different processes.
func (l *loader) checkPorts() {
	if !l.options.Dev {
		return
	}
	l.differ(l.allDoors())
}

// keyedPort is a port with the key that says it.
type keyedPort struct {
	key  string
	port int
}

// allDoors returns the doors of a process with every role.
func (l *loader) allDoors() []keyedPort {
	c := l.config
	return []keyedPort{
		{"server.aggregate_port", c.Server.AggregatePort}, {"server.event_query_port", c.Server.EventQueryPort},
		{"gateway.port", c.Gateway.Port}, {"stream.port", c.Stream.Port},
	}
}

// differ finds doors with one port.
func (l *loader) differ(doors []keyedPort) {
	taken := map[int]string{}
	for _, door := range doors {
		other, twice := taken[door.port]
		taken[door.port] = door.key
		if !twice || door.port == 0 {
			continue
		}
		key := door.key
		if !l.given(key) {
			key, other = other, key // blame what was written, not the default
		}
		l.blame(key, fmt.Sprintf("%s: found %d, which is also %s, expected a port of its own", key, door.port, other))
	}
}

// checkLength finds sockets whose path no system can open.
func (l *loader) checkLength() {
	const longest = 103 // macOS; Linux has four more
	if l.config.Transport.Type != "uds" {
		return
	}
	names := []string{"gateway"}
	for _, list := range l.lists() {
		for _, service := range list.entries {
			names = append(names, list.socket+"-"+service.Name)
			if list.kind != "domain" && l.options.Role == list.kind {
				names = append(names, "coordinator-"+list.kind+"-"+service.Name)
			}
		}
	}
	for _, domain := range l.config.Domains {
		names = append(names, "aggregate-"+domain.Name)
	}
	longestName := slices.MaxFunc(names, func(a, b string) int { return len(a) - len(b) })
	path := filepath.Join(l.config.Transport.UDS.BasePath, longestName+".sock")
	if len(path) > longest {
		l.blame("transport.uds.base_path", fmt.Sprintf("transport.uds.base_path: found a folder in which the socket %s has a path of %d bytes, expected at most %d: choose a shorter folder or name", longestName+".sock", len(path), longest))
	}
}

// checkDoubts warns about what is accepted but probably not meant.
func (l *loader) checkDoubts() {
	c := l.config
	if c.Transport.TCP.Port != 0 && (l.options.Role == "" || l.options.Role == "all") {
		l.warn("transport.tcp.port is for a role that is served alone: angz dev and angz serve all listen on server.aggregate_port, server.event_query_port, gateway.port and stream.port")
	}
	if host := c.Server.Host; l.options.Dev && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		l.warn("server.host is %s: angz dev can be reached from other machines, without any check of who calls", host)
	}
	if c.Storage.Type == "memory" && !l.options.Dev && l.usesStore() {
		l.warn("storage.type is memory: all events are lost when the process ends")
	}
	if c.SagaCompensation.FallbackEscalate && c.SagaCompensation.EscalationWebhookURL == "" {
		l.warn("saga_compensation.fallback_escalate is true without an escalation_webhook_url: failed compensations are only logged")
	}
	l.warnSharedAddresses()
}

// warnSharedAddresses finds two services that are to be started on one address.
func (l *loader) warnSharedAddresses() {
	first := map[string]string{}
	for _, list := range l.lists() {
		for i, service := range list.entries {
			if service.Run.IsZero() || service.Address == "" {
				continue
			}
			name := describe(list, fmt.Sprintf("%s[%d]", list.key, i), service)
			if other, twice := first[service.Address]; twice {
				l.warn("%s and %s are both started on %s: one of them cannot listen there", other, name, maskCredentials(service.Address))
				continue
			}
			first[service.Address] = name
		}
	}
}

// CheckDrivers reports, with their places, the kinds of store and bus that were
// asked for and are not among those that the caller can open. Its error is an
// *Errors.
func (c *Config) CheckDrivers(stores, buses []string) error {
	l := &loader{config: c, doc: c.read, origins: c.origins, settled: map[string]bool{}}
	for _, choice := range []struct {
		key, kind string
		have      []string
	}{{"storage.type", c.Storage.Type, stores}, {"messaging.type", c.Messaging.Type, buses}} {
		if !slices.Contains(choice.have, choice.kind) {
			l.blame(choice.key, fmt.Sprintf("%s: found %q, for which this version of angz has no driver yet, expected %s", choice.key, choice.kind, oneOf(choice.have)))
		}
	}
	if len(l.mistakes) == 0 {
		return nil
	}
	return &Errors{List: l.mistakes}
}
