package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/transport"
)

// State says how bad a finding is.
type State string

// The states of findings: all is well; something will hurt one day or is probably
// not meant; something does not work.
const (
	OK      State = "ok"
	Warning State = "warning"
	Problem State = "problem"
)

// Finding is what an examination says about one thing. It never holds a secret.
type Finding struct {
	State State
	What  string // that was examined, in a few words, such as "store"
	Text  string // what was found
	Fix   string // what to do about it; empty when there is nothing to do
	Look  string // a command that investigates further; empty when there is none
}

// Check examines one thing or several. Run ends soon after its context.
type Check struct {
	What string
	Run  func(ctx context.Context) []Finding
}

// ExamineOptions say for what a configuration is examined.
type ExamineOptions struct {
	Config *config.Config
	// Role and Name are those of a process, as in Options.
	Role, Name string
	// Dev says that it is angz dev, which starts services by itself: those are
	// left out.
	Dev bool
}

// Examine returns the checks of everything outside a process that it is
// configured to use: the store, the bus, certificates, services, coordinators
// and whatever else it calls. They change nothing and may run at the same time.
func Examine(options ExamineOptions) []Check {
	e := &examination{options.Config, partsOf(options.Config, options.Role, options.Name), options.Dev}
	var checks []Check
	if e.parts.store {
		checks = append(checks, Check{"store", e.store})
		if e.config.Messaging.Type == "amqp" && (e.parts.consumes() || e.parts.commands) {
			checks = append(checks, Check{"bus", e.bus})
		}
	}
	if t := e.config.Transport.TLS; t.Cert != "" || t.CA != "" || t.ClientCA != "" {
		checks = append(checks, Check{"certificates", e.certificates})
	}
	return slices.Concat(checks, e.services(), e.roles(), e.hooks())
}

// examination is what the checks of one configuration have in common.
type examination struct {
	config *config.Config
	parts  parts
	dev    bool
}

// one returns a finding by itself.
func one(state State, what, text, fix, look string) []Finding {
	return []Finding{{State: state, What: what, Text: text, Fix: fix, Look: look}}
}

// failed turns an error into a finding. Its words hold the next step.
func failed(what string, err error, look string) []Finding {
	return one(Problem, what, err.Error(), "", look)
}

// inProject returns a path of the configuration as seen from its file.
func (e *examination) inProject(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.config.Dir, path)
}

// store examines where the events are kept.
func (e *examination) store(ctx context.Context) []Finding {
	switch path := e.config.Storage.SQLite.Path; {
	case e.config.Storage.Type == "postgres":
		return e.postgres(ctx)
	case e.config.Storage.Type == "memory" || path == "" || path == ":memory:":
		return one(OK, "store", "events are kept in memory, until angz ends", "", "")
	default:
		return examineFile(e.inProject(path))
	}
}

func examineFile(path string) []Finding {
	found, err := sqlite.Examine(path)
	switch {
	case err != nil:
		return failed("store", err, "file "+path)
	case found.Missing:
		return one(OK, "store", found.Path+" is made when angz starts", "", "")
	}
	return one(OK, "store", fmt.Sprintf("%s, %s, is of a format that this angz knows", found.Path, size(found.Bytes)), "", "")
}

// size says a number of bytes as people do.
func size(bytes int64) string {
	amount, units := float64(bytes), []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	for amount >= 1024 && len(units) > 1 {
		amount, units = amount/1024, units[1:]
	}
	return fmt.Sprintf("%.4g %s", amount, units[0])
}

// clockTolerance is how far the clocks of angz and its database may be apart
// before times of events mislead people.
const clockTolerance = 5 * time.Second

func (e *examination) postgres(ctx context.Context) []Finding {
	found, err := postgres.Examine(ctx, e.config.Storage.Postgres.URI)
	what := "PostgreSQL"
	if err != nil {
		look := ""
		if host, port, wrong := net.SplitHostPort(found.Address); wrong == nil {
			look = fmt.Sprintf("pg_isready -h %s -p %s", host, port)
		}
		return one(Problem, what, distinct(err.Error()), "start it, or correct storage.postgres.uri", look)
	}
	where := fmt.Sprintf("version %s at %s, %s", found.Server, found.Address, protection(found.TLS))
	findings := one(OK, what, where, "", "")
	if remote(found.Address) && !found.TLS {
		findings = one(Warning, what, where, "the password and all events travel in clear: add sslmode=verify-full to storage.postgres.uri", "")
	}
	return append(append(findings, tables(found, e.config.Storage.Postgres.Migrate)), clock(found.Ahead)...)
}

// distinct returns a text without the lines that say again what one before said:
// a connection is tried in several ways.
func distinct(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !slices.ContainsFunc(lines, func(before string) bool { return strings.HasSuffix(before, line) }) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// tables says whether the tables of a database are those that this version needs.
// Newer ones have been refused before.
func tables(found postgres.Examined, migrates bool) Finding {
	finding := Finding{State: OK, What: "tables", Look: "angz migrate --dry-run"}
	switch {
	case found.Tables == found.Wanted:
		finding.Text, finding.Look = fmt.Sprintf("of version %d, which this angz needs", found.Tables), ""
	case found.Tables == 0:
		finding.Text = "there are none yet; the first process makes them"
	default:
		finding.Text = fmt.Sprintf("of version %d, and this angz needs version %d; the first process migrates them", found.Tables, found.Wanted)
	}
	if found.Tables != found.Wanted && !migrates {
		finding.State, finding.Fix = Problem, "run angz migrate, since storage.postgres.migrate is false"
		finding.Text, _, _ = strings.Cut(finding.Text, ";")
	}
	return finding
}

func clock(ahead time.Duration) []Finding {
	if ahead.Abs() <= clockTolerance {
		return nil
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	return one(Warning, "clock", fmt.Sprintf("the database's is %s %s this machine's", ahead.Abs().Round(time.Second), direction),
		"have both set by a time service: the times of events come from this machine", "timedatectl")
}

func protection(secured bool) string {
	if secured {
		return "over TLS"
	}
	return "without TLS"
}

// remote reports whether an address is of another machine.
func remote(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && !transport.IsLoopback(host)
}

// bus examines the broker.
func (e *examination) bus(ctx context.Context) []Finding {
	configured := e.config.Messaging.AMQP
	return broker(ctx, "RabbitMQ", "messaging.amqp.url", amqp.Options{
		URL: configured.URL, Exchange: configured.Exchange, QueuePrefix: configured.QueuePrefix, QueueType: configured.QueueType,
		Prefetch: configured.Prefetch, ConnectionName: "angz doctor",
	})
}

func broker(ctx context.Context, what, key string, options amqp.Options) []Finding {
	found, err := amqp.Examine(ctx, options)
	if err != nil {
		fix := "start it, or correct " + key
		if strings.Contains(err.Error(), "; ") {
			fix = "" // the error says it
		}
		return one(Problem, what, err.Error(), fix, "rabbitmq-diagnostics check_port_connectivity")
	}
	text := fmt.Sprintf("%s at %s, %s", found.Server, found.Address, protection(found.TLS))
	if found.Missing {
		text += "; the exchange is made by the first process"
	}
	if remote(found.Address) && !found.TLS {
		return one(Warning, what, text, "the password and all events travel in clear: use amqps:// in "+key, "")
	}
	return one(OK, what, text, "", "")
}

// secure opens the certificates of the configuration.
func (e *examination) secure() (*transport.TLS, error) {
	files := e.config.Transport.TLS
	return transport.OpenTLS(transport.TLSOptions{
		Cert: e.inProject(files.Cert), Key: e.inProject(files.Key), CA: e.inProject(files.CA), ClientCA: e.inProject(files.ClientCA),
		ClientAuth: transport.ClientAuth(files.ClientAuth), ServerName: files.ServerName,
	})
}

// renewal is how long before its end people are told to renew a certificate.
const renewal = 14 * 24 * time.Hour

func (e *examination) certificates(context.Context) []Finding {
	const what = "certificates"
	files := e.config.Transport.TLS
	look := ""
	if files.Cert != "" {
		look = "openssl x509 -noout -text -in " + e.inProject(files.Cert)
	}
	held, err := e.secure()
	if err != nil {
		return failed(what, err, look)
	}
	until, own := held.ValidUntil()
	switch left := time.Until(until); {
	case !own:
		return one(OK, what, "those of transport.tls can be read", "", "")
	case left < renewal:
		return one(Warning, what, "transport.tls.cert expires on "+until.UTC().Format(time.DateOnly), "renew it; angz reads the file again by itself", look)
	}
	return one(OK, what, "transport.tls.cert is good until "+until.UTC().Format(time.DateOnly), "", "")
}

// services returns the checks of the user's services that somebody else starts.
func (e *examination) services() (checks []Check) {
	c := e.config
	for _, list := range []struct {
		kind, prefix string
		services     []config.Service
	}{{"domain", "business", e.parts.domains}, {"projector", "projector", e.parts.projectors}, {"saga", "saga", e.parts.sagas}} {
		for _, service := range list.services {
			address := service.Address
			if address == "" && c.Transport.Type == "uds" {
				address = filepath.Join(c.Transport.UDS.BasePath, list.prefix+"-"+service.Name+".sock")
			}
			if address == "" || e.dev && !service.Run.IsZero() {
				continue
			}
			checks = append(checks, e.answering(list.kind+" "+service.Name, e.inProjectSocket(address)))
		}
	}
	return checks
}

// inProjectSocket makes the path of a socket absolute; other addresses stay.
func (e *examination) inProjectSocket(address string) string {
	if strings.HasPrefix(address, "./") {
		return e.inProject(address)
	}
	return address
}

// roles returns the checks of angz's other processes that this one calls. One
// with every role calls none.
func (e *examination) roles() (checks []Check) {
	if e.parts.all() {
		return nil
	}
	c := e.config
	called := map[string]string{} // what is at each address
	add := func(what string, addresses []string) {
		for _, address := range addresses {
			called[address] = cmp.Or(called[address], what)
		}
	}
	if e.parts.gateway || len(e.parts.sagas) > 0 {
		for domain, addresses := range c.CommandAddresses() {
			what := "coordinator of domain " + domain
			if domain == gateway.AnyDomain {
				what = "coordinator of all other domains"
			}
			add(what, addresses)
		}
	}
	if e.parts.gateway {
		add("stream role", c.StreamAddresses())
	}
	if e.parts.commands {
		for _, service := range c.Projectors {
			add("coordinator of projector "+service.Name, c.CoordinatorAddresses("projector", service))
		}
		for _, service := range c.Sagas {
			add("coordinator of saga "+service.Name, c.CoordinatorAddresses("saga", service))
		}
	}
	for _, address := range slices.Sorted(maps.Keys(called)) {
		checks = append(checks, e.answering(called[address], address))
	}
	return checks
}

// answering returns the check of whether a gRPC server is there and well.
func (e *examination) answering(what, address string) Check {
	return Check{what, func(ctx context.Context) []Finding {
		secure, err := e.secure()
		if err != nil {
			secure = nil // which is a finding of its own
		}
		client, err := transport.Dial(address, transport.DialOptions{Name: what, ReadyWait: askTime, TLS: secure})
		if err != nil {
			return failed(what, err, "")
		}
		defer client.Close()
		answer, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{})
		return health(what, client.Address(), answer, err)
	}}
}

// askTime is how long a connection may take, less than the whole check.
const askTime = 2 * time.Second

// health says what an answer of a health service means.
func health(what, address string, answer *healthpb.HealthCheckResponse, err error) []Finding {
	look := "grpcurl " + grpcurlFlag(address) + address + " list"
	switch {
	case status.Code(err) == codes.Unimplemented:
		return one(OK, what, "answers at "+address+", and has no health service", "", "")
	case err != nil:
		return one(Problem, what, strings.TrimSuffix(status.Convert(err).Message(), "; is it running?"), "start it, or correct its address", look)
	case answer.Status != healthpb.HealthCheckResponse_SERVING:
		return one(Problem, what, fmt.Sprintf("its health service at %s says %s", address, answer.Status), "see its log", look)
	}
	return one(OK, what, "serves at "+address, "", "")
}

// grpcurlFlag says how grpcurl is told to connect as angz does.
func grpcurlFlag(address string) string {
	switch {
	case filepath.IsAbs(address):
		return "-plaintext -unix "
	case strings.HasPrefix(address, "https://"):
		return ""
	}
	return "-plaintext "
}

// hooks returns the checks of what is told about failed compensations, and of
// where traces go. URLs may hold secrets: only their hosts are shown.
func (e *examination) hooks() (checks []Check) {
	compensation := e.config.SagaCompensation
	if len(e.parts.sagas) == 0 {
		compensation = config.SagaCompensation{} // only those who run sagas compensate
	}
	for _, hook := range []struct{ what, key, url string }{
		{"webhook", "saga_compensation.escalation_webhook_url", compensation.EscalationWebhookURL},
		{"dead letters", "saga_compensation.dead_letter_queue_url", compensation.DeadLetterQueueURL},
		{"traces", "tracing.endpoint", e.config.Tracing.Endpoint},
	} {
		switch {
		case strings.HasPrefix(hook.url, "amqp"):
			checks = append(checks, Check{hook.what, func(ctx context.Context) []Finding {
				return broker(ctx, hook.what, hook.key, amqp.Options{URL: hook.url, ConnectionName: "angz doctor"})
			}})
		case hook.url != "":
			checks = append(checks, Check{hook.what, func(ctx context.Context) []Finding { return reach(ctx, hook.what, hook.key, hook.url) }})
		}
	}
	return checks
}

// reach connects to the host of a URL, with TLS where it says so, and asks nothing.
func reach(ctx context.Context, what, key, text string) []Finding {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" {
		return one(Problem, what, key+" cannot be read", "expected https://host/path", "")
	}
	port := cmp.Or(parsed.Port(), map[string]string{"https": "443"}[parsed.Scheme], "80")
	address := net.JoinHostPort(parsed.Hostname(), port)
	conn, err := connect(ctx, parsed.Scheme == "https", address)
	if err != nil {
		var cause *net.OpError
		if errors.As(err, &cause) && cause.Err != nil {
			err = cause.Err
		}
		return one(Problem, what, fmt.Sprintf("%s at %s cannot be reached: %v", key, address, err), "start it, or correct the URL", "curl -v "+parsed.Scheme+"://"+parsed.Host)
	}
	_ = conn.Close() // it was only to be seen whether it comes up
	return one(OK, what, key+" can be reached at "+address, "", "")
}

func connect(ctx context.Context, secured bool, address string) (net.Conn, error) {
	if secured {
		return (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}
