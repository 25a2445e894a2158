package emulator

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// plan is a project with everything decided that its configuration leaves open.
type plan struct {
	config   *config.Config // with an absolute address for every service
	services []plannedService
	environ  []string
	doors    *doors
	data     string // where services may keep files
}

// doors knows where the runtime listens, which is the same for all plans of one
// run.
type doors struct {
	opened chan struct{} // closed when it is first known

	mu        sync.Mutex
	endpoints []node.Endpoint
}

// open tells where the runtime listens. It reports whether that was known and is
// different now.
func (d *doors) open(endpoints []node.Endpoint) (moved bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.endpoints
	d.endpoints = endpoints
	if before == nil {
		close(d.opened)
		return false
	}
	return !slices.Equal(before, endpoints)
}

// all returns where the runtime listens.
func (d *doors) all() []node.Endpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.endpoints
}

// client returns the port at which clients on this machine reach a role.
func (d *doors) client(role string) string {
	for _, endpoint := range d.all() {
		if endpoint.Role == role && !strings.HasPrefix(endpoint.Address, "/") {
			return reachable(endpoint.Address)
		}
	}
	return ""
}

// plannedService is one service as it is run and shown.
type plannedService struct {
	label    string // unique among all services
	kind     project.Kind
	language string
	config   config.Service
	dir      string
	listen   []string // the variables that say where it listens
	given    bool     // its address is the project's, not angz's choice
}

// chosen returns the address that angz chose for a service in this plan.
func (p *plan) chosen(kind project.Kind, name, transport string) (address string, known bool) {
	if p == nil || p.config.Transport.Type != transport {
		return "", false
	}
	for _, service := range p.services {
		if service.kind == kind && service.config.Name == name && !service.given {
			return service.config.Address, true
		}
	}
	return "", false
}

// kindNames are the words of people for the kinds of services.
var kindNames = map[project.Kind]string{project.Business: "domain", project.Projector: "projector", project.Saga: "saga"}

// newPlan decides where each service listens: where it did in the plan before, if
// there is one, so that what has not changed need not be started again.
func newPlan(loaded *config.Config, environ []string, before *plan) (*plan, error) {
	return newPlanWith(loaded, environ, before, filepath.Join(loaded.Dir, project.Folder))
}

// newPlanWith is newPlan with another folder for what services keep. Ports that
// are chosen depend on it.
func newPlanWith(loaded *config.Config, environ []string, before *plan, data string) (*plan, error) {
	decided := *loaded
	p := &plan{config: &decided, environ: servicesEnviron(environ), doors: &doors{opened: make(chan struct{})}, data: data}
	if before != nil {
		p.doors = before.doors
	}
	if base := decided.Transport.UDS.BasePath; !filepath.IsAbs(base) {
		decided.Transport.UDS.BasePath = filepath.Join(decided.Dir, base)
	}
	var ports project.Ports
	for _, port := range []int{decided.Gateway.Port, decided.Stream.Port, decided.Server.AggregatePort, decided.Server.EventQueryPort} {
		ports.Keep(net.JoinHostPort("", strconv.Itoa(port))) // they are angz's own, in a moment
	}
	for _, list := range []struct {
		kind     project.Kind
		services *[]config.Service
	}{{project.Business, &decided.Domains}, {project.Projector, &decided.Projectors}, {project.Saga, &decided.Sagas}} {
		*list.services = slices.Clone(*list.services)
		for i := range *list.services {
			service := &(*list.services)[i]
			given := service.Address != ""
			if chosen, known := before.chosen(list.kind, service.Name, decided.Transport.Type); known && !given {
				service.Address = chosen
				ports.Keep(chosen)
			}
			if err := p.add(list.kind, service, given, &ports); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// add gives a service an address and puts it into the plan.
func (p *plan) add(kind project.Kind, service *config.Service, given bool, ports *project.Ports) (err error) {
	switch {
	case service.Address != "":
		service.Address = project.AbsoluteSocket(p.config.Dir, service.Address)
	case p.config.Transport.Type == "uds":
		service.Address = project.Socket(p.config.Transport.UDS.BasePath, kind, service.Name)
	default:
		if service.Address, err = ports.Pick(p.data + " " + string(kind) + " " + service.Name); err != nil {
			return err
		}
	}
	planned := plannedService{label: p.label(kind, service.Name), kind: kind, config: *service, dir: p.config.Dir, given: given}
	if service.Dir != "" {
		planned.dir = service.Dir
		if !filepath.IsAbs(planned.dir) {
			planned.dir = filepath.Join(p.config.Dir, service.Dir)
		}
	}
	if !service.Run.IsZero() {
		planned.language = project.Language(planned.dir, text(service.Run), text(service.Build))
		if planned.listen, err = project.ListenVariables(kind, service.Name, service.Address); err != nil {
			return err
		}
	}
	p.services = append(p.services, planned)
	return nil
}

// label returns the name of a service, made different from those of other kinds.
func (p *plan) label(kind project.Kind, name string) string {
	taken := func(label string) bool {
		return slices.Contains(ownNames, label) || slices.ContainsFunc(p.services, func(s plannedService) bool { return s.label == label })
	}
	for taken(name) {
		name += "-" + kindNames[kind]
	}
	return name
}

func text(command config.Command) string {
	return supervise.Command(command).String()
}

// names lists the labels of all services.
func (p *plan) names() []string {
	var names []string
	for _, service := range p.services {
		names = append(names, service.label)
	}
	return names
}

// checkShown makes sure that lines are asked for of services that there are.
func (p *plan) checkShown(names []string) error {
	known := slices.Concat(p.names(), ownNames)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("--logs: found %q, expected some of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// specs describes the services to the supervisor.
func (p *plan) specs() []supervise.Spec {
	var specs []supervise.Spec
	for _, service := range p.services {
		spec := supervise.Spec{
			Name: service.label, Dir: service.dir, Address: service.config.Address,
			Build: supervise.Command(service.config.Build), Run: supervise.Command(service.config.Run),
			RunEnv: func(ctx context.Context) []string { return p.runEnv(ctx, service) },
			Check:  service.check,
		}
		for _, name := range slices.Sorted(maps.Keys(service.config.Env)) {
			spec.Env = append(spec.Env, name+"="+service.config.Env[name])
		}
		specs = append(specs, spec)
	}
	return specs
}

// runEnv waits until the runtime listens and returns the variables that tell a
// service where it listens itself and where the others are.
func (p *plan) runEnv(ctx context.Context, service plannedService) []string {
	select {
	case <-p.doors.opened:
	case <-ctx.Done():
		return nil
	}
	return slices.Concat(service.listen, p.doors.variables(), []string{"ANGZ_DATA=" + p.data})
}

// variables tell where the runtime is.
func (d *doors) variables() (variables []string) {
	for _, door := range []struct{ role, variable string }{
		{"gateway", "COMMAND_ADDRESS"}, {"query", "EVENT_QUERY_ADDRESS"}, {"stream", "STREAM_ADDRESS"},
	} {
		if address := d.client(door.role); address != "" {
			variables = append(variables, door.variable+"="+address)
		}
	}
	return variables
}

// reachable turns an address to listen on into one to call.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// sockets lists the runtime's own sockets.
func (p *plan) sockets() []string {
	if p.config.Transport.Type != "uds" {
		return nil
	}
	names := []string{"gateway", "stream", "log"}
	for _, domain := range p.config.Domains {
		names = append(names, "aggregate-"+domain.Name)
	}
	var sockets []string
	for _, name := range names {
		sockets = append(sockets, filepath.Join(p.config.Transport.UDS.BasePath, name+".sock"))
	}
	return sockets
}

// servicesEnviron takes out what was meant for angz itself, and has Python print
// its lines when they are made.
func servicesEnviron(environ []string) []string {
	kept := []string{"PYTHONUNBUFFERED=1"}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !slices.Contains(project.ListenNames, name) {
			kept = append(kept, variable)
		}
	}
	return kept
}

func (s plannedService) isDomain() bool { return s.kind == project.Business }
