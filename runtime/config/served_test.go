package config_test

import (
	"os"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/config"
)

// production loads an angz.yaml for angz serve with a store that can be shared.
func production(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	environ = append(environ, "ANGZARR_STORAGE__TYPE=postgres")
	return load(t, config.Options{Dir: project(t, map[string]string{"angz.yaml": text}), Environ: environ})
}

func TestASidecarIsToldByItsTargetWhatItStandsBeside(t *testing.T) {
	t.Parallel()
	got := production(t, "", "ANGZARR_TARGET__ADDRESS=localhost:5", "ANGZARR_TARGET__DOMAIN=order", "STREAM_OUTPUT=true",
		"ANGZARR_MESSAGING__TYPE=amqp", "ANGZARR_MESSAGING__AMQP__DOMAIN=order", "ANGZARR_MESSAGING__AMQP__DOMAINS=order,customer")
	service := config.Service{Name: "order", Address: "localhost:5", Timeout: 30 * time.Second, History: "new", StreamOutput: true}
	same(t, "aggregate", []config.Service{service}, got.Served("aggregate", ""))
	service.Name, service.Domains = "receipt", []string{"order", "customer"}
	same(t, "projector", []config.Service{service}, got.Served("projector", "receipt"))
	same(t, "gateway", []config.Service(nil), got.Served("gateway", ""))
}

func TestATargetGoesBeforeTheAddressOfTheFile(t *testing.T) {
	t.Parallel()
	got := production(t, "projectors: [{name: a, address: 'a:1', domains: [x]}, {name: b}]", "ANGZARR_TARGET__ADDRESS=localhost:5")
	want := config.Service{Name: "a", Address: "localhost:5", Timeout: 30 * time.Second, History: "new", Domains: []string{"x"}}
	same(t, "served", []config.Service{want}, got.Served("projector", "a"))
	same(t, "one must be named", []config.Service(nil), got.Served("projector", ""))
	same(t, "the file's stays as it is", "a:1", got.Projectors[0].Address)
}

func TestServedServicesHaveTheirSockets(t *testing.T) {
	t.Parallel()
	got := production(t, "transport: {type: uds, uds: {base_path: /run/s}}\ndomains: [{name: a}, {name: b, address: 'b:1'}]\nsagas: [{name: c}]")
	var addresses []string
	for _, service := range append(got.Served("aggregate", ""), got.Served("saga", "")...) {
		addresses = append(addresses, service.Address)
	}
	same(t, "addresses", []string{"/run/s/business-a.sock", "b:1", "/run/s/saga-c.sock"}, addresses)
	same(t, "commands", map[string][]string{"a": {"/run/s/aggregate-a.sock"}, "b": {"/run/s/aggregate-b.sock"}}, got.CommandAddresses())
	same(t, "saga", []string{"/run/s/coordinator-saga-c.sock"}, got.CoordinatorAddresses("saga", got.Sagas[0]))
	same(t, "stream", []string{"/run/s/stream.sock"}, got.StreamAddresses())
}

func TestStaticEndpointsGoBeforeCoordinators(t *testing.T) {
	t.Parallel()
	got := production(t, `
gateway: {command_address: 'rest:1|rest:2', stream_address: 's:1 | s:2', static_endpoints: {a: 'a:1|a:2', c: /c.sock}}
domains: [{name: a, coordinator: 'other:1'}, {name: b, coordinator: 'b:1'}, {name: d, address: 'd:1'}]`)
	want := map[string][]string{"a": {"a:1", "a:2"}, "b": {"b:1"}, "c": {"/c.sock"}, "*": {"rest:1", "rest:2"}}
	same(t, "routes", want, got.CommandAddresses())
	same(t, "stream", []string{"s:1", "s:2"}, got.StreamAddresses())
	same(t, "no coordinator", []string(nil), got.CoordinatorAddresses("aggregate", got.Domains[2]))
}

func TestARoleThatIsServedAloneHasItsPort(t *testing.T) {
	t.Parallel()
	got := production(t, "")
	none := config.Service{}
	ports := func() []int {
		return []int{
			got.RolePort("aggregate", none), got.RolePort("gateway", none), got.RolePort("stream", none), got.RolePort("log", none),
			got.RolePort("projector", none), got.RolePort("projector", config.Service{Coordinator: "a:1320|http://b:1320/"}),
			got.RolePort("saga", config.Service{Coordinator: "/run/x.sock"}), got.RolePort("saga", config.Service{Coordinator: "a:1|b:2"}),
		}
	}
	same(t, "their own", []int{1313, 1316, 50051, 0, 0, 1320, 0, 0}, ports())
	got = production(t, "", "ANGZARR_TRANSPORT__TCP__PORT=7")
	same(t, "transport.tcp.port", []int{7, 7, 7, 7, 7, 7, 7, 7}, ports())
}

func TestOthersReachAProcessWhereItSays(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Skip("a machine without a name")
	}
	for text, want := range map[string]string{
		"":                                    "127.0.0.1:5",
		"server: {host: '::'}":                host + ":5",
		"transport: {tls: {cert: c, key: k}}": "https://" + host + ":5",
		"server: {host: 10.0.0.1}":            "10.0.0.1:5",
		"server: {advertise: 'pod:1313'}":     "pod:1313",
	} {
		same(t, text, want, production(t, text).AdvertisedAddress(5, ""))
	}
	same(t, "socket", "/run/x.sock", production(t, "").AdvertisedAddress(5, "/run/x.sock"))
	same(t, "said before socket", "pod:1", production(t, "server: {advertise: 'pod:1'}").AdvertisedAddress(5, "/run/x.sock"))
}

func TestVariablesMakeAndChangeLists(t *testing.T) {
	t.Parallel()
	got := loadText(t, "projectors: [{name: a, run: x, domains: [o]}]",
		"ANGZARR_PROJECTORS__0__DOMAINS=p,q", "ANGZARR__PROJECTORS__0__TIMEOUT=5s", "ANGZARR_PROJECTORS__1__NAME=b", "ANGZARR_PROJECTORS__1__RUN=go run .",
		"ANGZARR_BUSINESS_LOGIC__0__DOMAIN=q", "ANGZARR_DOMAINS__0__ADDRESS=q:1", "ANGZARR_DOMAINS__0__SNAPSHOTS__AUTOMATIC=true", "ANGZARR_DOMAINS__1__NAME=p",
		"ANGZARR_DOMAINS__1__ADDRESS=p:1", "ANGZARR_DOMAINS__0__ENV=A=1,B=2", "ANGZARR_PROJECTORS__1__STREAM_OUTPUT=true",
		"ANGZARR_STORAGE__TYPE=memory", "ANGZARR__STORAGE__TYPE=memory")
	same(t, "projectors", []config.Service{
		{Name: "a", Run: config.Command{Shell: "x"}, Domains: []string{"p", "q"}, Timeout: 5 * time.Second, History: "new"},
		{Name: "b", Run: config.Command{Shell: "go run ."}, Timeout: 30 * time.Second, History: "new", StreamOutput: true},
	}, got.Projectors)
	same(t, "domains", []config.Service{
		{Name: "q", Address: "q:1", Env: map[string]string{"A": "1", "B": "2"}, Timeout: 30 * time.Second, History: "new", Snapshots: config.Snapshots{Automatic: true}},
		{Name: "p", Address: "p:1", Timeout: 30 * time.Second, History: "new"},
	}, got.Domains)
	same(t, "warnings", []string(nil), got.Warnings())
	same(t, "origin in the file", got.File+":1:21", got.Origin("projectors[0].name"))
	same(t, "origin in a variable", "environment variable ANGZARR_PROJECTORS__0__DOMAINS", got.Origin("projectors[0].domains"))
}

func TestVariablesThatMeanNothingAreWarnedAbout(t *testing.T) {
	t.Parallel()
	got := loadText(t, "", "ANGZARR_STORAGE_TYPE=sqlite", "ANGZARR_LOGS=debug", "ANGZARR_FOO=1", "ANGZ_STORAGE__TYPE=memory", "ANGZARR_BUSINESS_LOGIC=x",
		// What Kubernetes makes of services called angzarr-gateway and angzarr-stream:
		"ANGZARR_GATEWAY_PORT=tcp://10.0.0.1:1316", "ANGZARR_GATEWAY_SERVICE_HOST=10.0.0.1", "ANGZARR_GATEWAY_SERVICE_PORT=1316",
		"ANGZARR_GATEWAY_SERVICE_PORT_GRPC=1316", "ANGZARR_GATEWAY_PORT_1316_TCP=tcp://10.0.0.1:1316", "ANGZARR_STREAM_PORT_50051_TCP_ADDR=10.0.0.1",
		// Not angz's own:
		"ANGZ_SUPERVISED=1", "ANGZARRESQUE=1", "STORAGE__TYPE=x", "ANGZARR_LOG=info", "ANGZARR_CONFIG=", "ANGZARR_EMPTY=")
	same(t, "warnings", []string{
		`environment variable ANGZARR_BUSINESS_LOGIC means nothing to angz; did you mean "ANGZARR_BUSINESS_LOGIC__0__RUN"?`,
		`environment variable ANGZARR_FOO means nothing to angz; variables for keys are called ANGZARR_SECTION__KEY`,
		`environment variable ANGZARR_LOGS means nothing to angz; did you mean "ANGZARR_LOG"?`,
		`environment variable ANGZARR_STORAGE_TYPE means nothing to angz; did you mean "ANGZARR_STORAGE__TYPE"?`,
		`environment variable ANGZ_STORAGE__TYPE means nothing to angz; did you mean "ANGZARR_STORAGE__TYPE"?`,
	}, got.Warnings())
	same(t, "a port by its wrong name", []string{`environment variable ANGZARR_GATEWAY_PORT means nothing to angz; did you mean "ANGZARR_GATEWAY__PORT"?`},
		loadText(t, "", "ANGZARR_GATEWAY_PORT=5").Warnings())
}
