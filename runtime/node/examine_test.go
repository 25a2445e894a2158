package node_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/servertest"
)

// examined loads a configuration and runs what examines it for a role, all checks
// one after the other.
func examined(t *testing.T, role string, set map[string]string, edit func(*config.Config)) []node.Finding {
	t.Helper()
	all := map[string]string{"storage.type": "memory"}
	for key, value := range set {
		all[key] = value
	}
	loaded, err := config.Load(config.Options{Dir: runtimetest.Folder(t), Set: all, NoStore: true})
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(loaded)
	}
	var found []node.Finding
	for _, check := range node.Examine(node.ExamineOptions{Config: loaded, Role: role}) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		found = append(found, check.Run(ctx)...)
		cancel()
	}
	for _, f := range found {
		if text := fmt.Sprint(f); strings.Contains(text, "s3cret") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	return found
}

// finds checks that something was found.
func finds(t *testing.T, found []node.Finding, state node.State, what, text string) {
	t.Helper()
	for _, f := range found {
		if f.What == what && f.State == state && strings.Contains(f.Text+": "+f.Fix, text) {
			return
		}
	}
	t.Errorf("there is no %s about %s that says %q in\n%+v", state, what, text, found)
}

func TestExamineLooksAtADatabase(t *testing.T) {
	t.Parallel()
	server := servertest.NewPostgres()
	t.Cleanup(server.Close)
	uri := server.Use(t)
	at := func(uri string, more ...string) []node.Finding {
		set := map[string]string{"storage.type": "postgres", "storage.postgres.uri": uri}
		for i := 0; i < len(more); i += 2 {
			set[more[i]] = more[i+1]
		}
		return examined(t, "", set, nil)
	}
	found := at(uri)
	finds(t, found, node.OK, "PostgreSQL", "at "+server.Address()+", without TLS")
	finds(t, found, node.OK, "tables", "the first process makes them")
	finds(t, at(uri, "storage.postgres.migrate", "false"), node.Problem, "tables", "run angz migrate")

	if _, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	finds(t, at(uri), node.OK, "tables", "which this angz needs")

	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `UPDATE angz_meta SET value = '99' WHERE key = 'schema_version'`); err != nil {
		t.Fatal(err)
	}
	finds(t, at(uri), node.Problem, "PostgreSQL", "tables are of version 99")

	finds(t, at(strings.Replace(uri, "postgres@", "nobody:s3cret@", 1)), node.Problem, "PostgreSQL", `"nobody" does not exist`)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	finds(t, at(uri), node.Problem, "PostgreSQL", "connection refused")
}

func TestExamineLooksAtABroker(t *testing.T) {
	t.Parallel()
	server := servertest.NewRabbit()
	t.Cleanup(server.Close)
	url := server.Use(t)
	at := func(url string) []node.Finding {
		return examined(t, "", map[string]string{"messaging.type": "amqp", "messaging.amqp.url": url}, nil)
	}
	found := at(url)
	finds(t, found, node.OK, "RabbitMQ", "RabbitMQ ")
	finds(t, found, node.OK, "RabbitMQ", "the exchange is made by the first process")
	finds(t, at("amqp://nobody:s3cret@"+server.Address()+"/"), node.Problem, "RabbitMQ", "check the user and the password")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	finds(t, at(url), node.Problem, "RabbitMQ", "start it, or correct messaging.amqp.url")
}

func TestExamineAsksServicesHowTheyAre(t *testing.T) {
	t.Parallel()
	well := runtimetest.Serve(t, func(grpc.ServiceRegistrar) {})
	silent := runtimetest.Serve(t, func(grpc.ServiceRegistrar) {}, runtimetest.WithoutHealth)
	found := examined(t, "", nil, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "order", Address: well.Address()}, {Name: "stock", Address: silent.Address()}}
		c.Sagas = []config.Service{{Name: "loyalty", Address: "127.0.0.1:1"}}
		c.SagaCompensation.EscalationWebhookURL = "http://angz:s3cret@127.0.0.1:1/s3cret"
	})
	finds(t, found, node.OK, "domain order", "serves at ")
	finds(t, found, node.OK, "domain stock", "has no health service")
	finds(t, found, node.Problem, "saga loyalty", "start it")
	finds(t, found, node.Problem, "webhook", "saga_compensation.escalation_webhook_url at 127.0.0.1:1 cannot be reached")
}

// A gateway has no store and no services, and knows where the other roles are.
func TestExamineLooksAtWhatARoleUses(t *testing.T) {
	t.Parallel()
	coordinator := runtimetest.Serve(t, func(grpc.ServiceRegistrar) {})
	found := examined(t, "gateway", nil, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "order", Address: "127.0.0.1:1", Coordinator: coordinator.Address()}}
		c.Gateway.StreamAddress = "127.0.0.1:1"
	})
	if len(found) != 2 {
		t.Errorf("found %+v, want the coordinator and the stream role", found)
	}
	finds(t, found, node.OK, "coordinator of domain order", "serves at ")
	finds(t, found, node.Problem, "stream role", "start it")
}

func TestExamineLooksAtCertificates(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "authority")
	soon := func(template *x509.Certificate) { template.NotAfter = time.Now().Add(24 * time.Hour) }
	for name, c := range map[string]struct {
		pair  runtimetest.Pair
		state node.State
		says  string
	}{
		"good":         {authority.Issue(t, "good", func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(1, 0, 0) }), node.OK, "is good until"},
		"expires soon": {authority.Issue(t, "soon", soon), node.Warning, "renew it"},
		"expired":      {authority.Issue(t, "expired", runtimetest.Expired), node.Problem, "has expired"},
		"missing":      {runtimetest.Pair{Cert: "nowhere.pem", Key: "nowhere.key"}, node.Problem, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			finds(t, examined(t, "", map[string]string{"transport.tls.cert": c.pair.Cert, "transport.tls.key": c.pair.Key}, nil), c.state, "certificates", c.says)
		})
	}
}
